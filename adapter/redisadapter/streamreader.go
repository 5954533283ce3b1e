package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/internal/envelope"
	"github.com/sockeye-io/sockeye/internal/seldom"
)

// streamReader reads one stream on a connection of its own, from the end that the stream had when it was first reached,
// and later from where it was. It delivers on the goroutine that reads: what a node cannot keep up with waits in the
// stream.
type streamReader struct {
	// Static after construction.
	ctx     context.Context // ends when nobody needs it any more
	streams *streams
	stream  string
	pace    *pace         // of those who write to it here
	ready   chan struct{} // closed when the stream was reached and those that waited for it listen

	// Owned by read, which runs on one goroutine.
	last   string // id of the last entry that was read, or that does not count; "" until the stream was reached
	passed int64  // how many entries the stream has ever had up to last, as far as Redis tells: version 7 does
	broken bool   // nothing could be read since the last complaint
	untold int64  // how many entries were lost of which the log does not know yet

	position atomic.Pointer[string] // last, for others; nil until the stream was reached

	breaks breaks        // something that came before is not in the stream, or not any more
	holes  atomic.Uint64 // how many breaks of others were read, and how often something may have been removed unread

	trimmed, back seldom.Counted

	// Guarded by mu.
	mu      sync.Mutex
	located bool
	waiting map[*streamsBus]struct{} // those that listen when last is known
}

func newStreamReader(ctx context.Context, s *streams, stream string) *streamReader {
	return &streamReader{ctx: ctx, streams: s, stream: stream, pace: s.paceOf(stream), breaks: newBreaks(), ready: make(chan struct{}), waiting: make(map[*streamsBus]struct{})}
}

// whenLocated lets a bus listen when nothing that is written from then on can be missed.
func (r *streamReader) whenLocated(b *streamsBus) {
	r.mu.Lock()
	if !r.located {
		r.waiting[b] = struct{}{}
		r.mu.Unlock()
		return
	}
	r.mu.Unlock()
	b.listen()
}

// forget takes back what whenLocated was asked for.
func (r *streamReader) forget(b *streamsBus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, b)
}

// read connects and reads until something goes wrong, or ctx ends.
func (r *streamReader) read(ctx context.Context) error {
	rdb, err := r.connect(ctx)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { rdb.Close() })() // interrupts the command that waits for entries
	defer rdb.Close()
	if err = r.locate(ctx, rdb); err == nil {
		err = r.follow(ctx, rdb)
	}
	if ctx.Err() == nil {
		r.complain(err)
		r.streams.stats.streamRestarts.Add(1)
		if run := r.streams.running(); run != nil {
			// The stream may have another master by now.
			reload, cancel := context.WithTimeout(ctx, run.servers.answer)
			defer cancel()
			_ = run.servers.reload(reload)
		}
	}
	return err
}

// complain tells once, until something could be read again, that nothing can.
func (r *streamReader) complain(err error) {
	level := slog.LevelWarn
	if r.broken {
		level = slog.LevelDebug
	}
	r.broken = true
	r.streams.hub.opts.Logger.Log(context.Background(), level, "redis stream cannot be read, will go on from where it was", "stream", r.stream, "entry", r.last, "error", err)
}

// connect returns a client with a single connection to the server of the stream.
func (r *streamReader) connect(ctx context.Context) (*redis.Client, error) {
	server, err := r.streams.server(ctx, r.stream)
	if err != nil {
		return nil, err
	}
	opts := ownOptions(server)
	opts.ReadTimeout = r.streams.opts.BlockTime + time.Second
	return redis.NewClient(opts), nil
}

// locate finds the end of the stream the first time, and later looks whether something is missing between the last
// entry and those that are there.
func (r *streamReader) locate(ctx context.Context, rdb *redis.Client) error {
	info, err := rdb.XInfoStream(ctx, r.stream).Result()
	switch {
	case err != nil && isNoKey(err):
		r.last, r.passed = r.begin(ctx, rdb)
	case err != nil:
		return fmt.Errorf("find the position in stream %s: %w", r.stream, err)
	case r.last == "":
		r.last, r.passed = info.LastGeneratedID, info.EntriesAdded
	case before(info.LastGeneratedID, r.last):
		r.gone(info.LastGeneratedID)
		r.last, r.passed = info.LastGeneratedID, info.EntriesAdded
	default:
		there, err := r.has(ctx, rdb, info)
		if err != nil {
			return err
		}
		if !there {
			r.gone(info.LastGeneratedID)
			r.passed = info.EntriesAdded - 1 // a guess: what is new will be read
		}
		r.audit(info)
	}
	last := r.last
	r.position.Store(&last)
	r.keep()
	r.mu.Lock()
	waiting, first := r.waiting, !r.located
	r.located, r.waiting = true, nil
	r.mu.Unlock()
	for b := range waiting {
		b.listen()
	}
	if first {
		close(r.ready)
	}
	return nil
}

// noEntry is the place before all entries of a stream.
const noEntry = "0-0"

// begin makes a stream that is not there, if clients come back to it: then its end is the place of an entry, as everybody's is who has an
// offset in it.
func (r *streamReader) begin(ctx context.Context, rdb *redis.Client) (last string, passed int64) {
	if !r.streams.keeps.Load() {
		return noEntry, 0 // whatever is written will be new
	}
	cmd := redis.NewStringCmd(ctx, xadd(ctx, r.stream, r.streams.opts.MaxLen, beginEntry).Args()...)
	if rdb.Process(ctx, cmd) != nil { // Redis takes nothing, see keep
		return noEntry, 0
	}
	return cmd.Val(), 1
}

// keep has the stream get an entry if it has none and clients come back to it.
func (r *streamReader) keep() {
	if id := r.position.Load(); id != nil && *id == noEntry && r.streams.keeps.Load() {
		r.breaks.want()
	}
}

// has reports whether the last entry that was read is in a stream that goes on behind it. One that was removed from the front is no
// loss of what came before others.
func (r *streamReader) has(ctx context.Context, rdb *redis.Client, info *redis.XInfoStream) (bool, error) {
	if info.LastGeneratedID == r.last || info.Length == 0 || !before(info.FirstEntry.ID, r.last) {
		return true, nil
	}
	found, err := rdb.XRange(ctx, r.stream, r.last, r.last).Result()
	if err != nil {
		return false, fmt.Errorf("look for the position in stream %s: %w", r.stream, err)
	}
	return len(found) > 0, nil
}

// gone notes that Redis has lost the end of the stream, up to an entry that was read, and perhaps has a new one.
func (r *streamReader) gone(to string) {
	r.streams.stats.logBroken.Add(1)
	if held, ok := r.back.Pass(inflow.TellEvery); ok {
		r.streams.hub.opts.Logger.Warn("redis stream has gone back", "stream", r.stream, "from", r.last, "to", to, "notLogged", held)
	}
	r.breaks.want()
}

// Entries that are no messages have no namespace, so that Node.js passes over them.
var (
	beginEntry = envelope.Entry{Type: "begin"}
	breakEntry = envelope.Entry{Type: "break"} // nobody goes on from before it
)

func isBreak(x *redis.XMessage) bool {
	e := entryOf(x)
	return e.Namespace == "" && e.Type == breakEntry.Type
}

// appendBreak returns nil when Redis has taken a break.
func (r *streamReader) appendBreak() error {
	rdb, err := r.streams.server(r.ctx, r.stream)
	if err != nil {
		return err
	}
	return rdb.Process(r.ctx, xadd(r.ctx, r.stream, r.streams.opts.MaxLen, breakEntry))
}

func isNoKey(err error) bool { return isReply(err) && strings.Contains(err.Error(), "no such key") }

// audit compares what has been read with what the stream says about itself, and tells what was removed unread.
func (r *streamReader) audit(info *redis.XInfoStream) {
	var lost int64
	switch {
	case info.LastGeneratedID == r.last:
		if info.EntriesAdded > 0 {
			lost, r.passed = info.EntriesAdded-r.passed, info.EntriesAdded
		}
	case info.Length == 0 || before(r.last, info.FirstEntry.ID):
		// Everything up to the first entry is gone.
		gone := info.EntriesAdded - info.Length
		if info.EntriesAdded == 0 { // before Redis 7, which does not count
			lost = 1
		} else if gone > r.passed {
			lost, r.passed = gone-r.passed, gone
		}
	}
	if lost > 0 {
		r.holes.Add(1)
		r.streams.stats.streamLost.Add(uint64(lost))
		r.untold += lost
		if _, ok := r.trimmed.Pass(inflow.TellEvery); ok {
			r.streams.hub.opts.Logger.Error("redis stream was trimmed before it was read: messages are lost; raise MaxLen", "stream", r.stream, "at_least", r.untold)
			r.untold = 0
		}
	}
}

// catchUp is how many times ReadCount is read at once by who is behind.
const catchUp = 16

// follow reads entries until something goes wrong.
func (r *streamReader) follow(ctx context.Context, rdb *redis.Client) error {
	opts := &r.streams.opts
	unsure, count := false, opts.ReadCount // unsure whether the trimming has overtaken us
	for {
		many := min(count, opts.MaxLen) // who reads so much at once may have been overtaken by the trimming
		// Not rdb.XRead, which would wait ten seconds longer than BlockTime.
		cmd := redis.NewXStreamSliceCmd(ctx, "xread", "count", count, "block", opts.BlockTime.Milliseconds(), "streams", r.stream, r.last)
		if err := rdb.Process(ctx, cmd); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		r.broken = false
		n := 0
		for _, stream := range cmd.Val() {
			n += len(stream.Messages)
			if n >= many && r.streams.keeps.Load() && !r.unbroken(ctx, rdb) {
				r.holes.Add(1)
			}
			for i := range stream.Messages {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				r.take(ctx, &stream.Messages[i])
			}
		}
		r.pace.reached(idOf(r.last), n)
		if n >= many {
			unsure, count = true, min(2*count, catchUp*opts.ReadCount)
			continue
		}
		count = opts.ReadCount
		if unsure {
			info, err := rdb.XInfoStream(ctx, r.stream).Result()
			if err != nil {
				return err
			}
			r.audit(info)
			unsure = info.LastGeneratedID != r.last // only at the end the numbers tell
		}
	}
}

// unbroken reports whether the last entry that was taken is still there, or one before it: then nothing behind it was removed unread.
func (r *streamReader) unbroken(ctx context.Context, rdb *redis.Client) bool {
	first, err := rdb.XRangeN(ctx, r.stream, "-", "+", 1).Result()
	return err == nil && len(first) > 0 && !before(r.last, first[0].ID)
}

// entryOf returns what an entry of a stream says.
func entryOf(m *redis.XMessage) envelope.Entry {
	field := func(name string) string {
		text, _ := m.Values[name].(string)
		return text
	}
	return envelope.Entry{UID: field("uid"), Namespace: field("nsp"), Type: field("type"), Data: field("data")}
}

func (r *streamReader) take(ctx context.Context, m *redis.XMessage) {
	e := entryOf(m)
	if isBreak(m) {
		r.holes.Add(1)
	}
	r.streams.stats.received.Add(1)
	r.streams.stats.receivedBytes.Add(uint64(len(e.Data)))
	r.streams.deliver(ctx, r.stream, m.ID, e)
	r.last = m.ID
	r.position.Store(&m.ID)
	r.passed++
}

// before tells whether an entry's id is smaller than another one.
func before(a, b string) bool { return idOf(a).before(idOf(b)) }

func splitID(id string) (ms, seq uint64) {
	head, tail, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(head, 10, 64)
	seq, _ = strconv.ParseUint(tail, 10, 64)
	return ms, seq
}
