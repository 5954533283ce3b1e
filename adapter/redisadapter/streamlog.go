package redisadapter

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

const (
	// historyPage is how many entries of a stream are read at once for a client that comes back, historyEntries how many at most.
	historyPage    = 200
	historyEntries = 100_000
)

// InOrder implements adapter.Sequencer.
func (b *streamsBus) InOrder() {
	b.recording.Store(true)
	b.streams.keeps.Store(true)
	if r := b.streams.readerOf(b.stream); r != nil {
		r.keep()
	}
}

// Record implements adapter.Recorder: the stream is the log, and the ids of its entries are the offsets, as in Node.
func (b *streamsBus) Record(adapter.HistoryOptions) (adapter.Log, adapter.SessionStore, error) {
	return streamLog{b}, sessionStore{b.streams.rdb, b.streams.opts.SessionKeyPrefix, b.local.Name()}, nil
}

// openEntry hands an entry on.
func (b *streamsBus) openEntry(stream, id string, e envelope.Entry) {
	codec, recording := b.codec, b.recording.Load()
	if e.UID == string(b.uid) {
		if !recording {
			return
		}
		codec = b.history
	}
	m, err := codec.OpenEntry(e)
	if recording && err == nil {
		if m == nil {
			m = new(adapter.Message)
		}
		if m.Kind == 0 { // nobody here needs it; it may have a number
			m.Unopened = &adapter.Unopened{Size: len(e.Data), Open: func() (*adapter.Message, error) { return b.history.OpenEntry(e) }}
		}
		m.Offset = id
	}
	b.deliver(m, err, stream+" "+id)
}

// streamLog is the log of a namespace.
type streamLog struct{ b *streamsBus }

func (l streamLog) Read() string {
	if r := l.b.streams.readerOf(l.b.stream); r != nil {
		if id := r.position.Load(); id != nil && *id != noEntry {
			return *id
		}
	}
	return ""
}

// Break implements adapter.LogBreaker, for all namespaces of the stream.
func (l streamLog) Break() {
	if r := l.b.streams.readerOf(l.b.stream); r != nil {
		r.breaks.want()
	}
}

func (l streamLog) Compare(a, b string) int { return compareIDs(a, b) }

// compareIDs tells which of two ids comes first. What is none comes before all.
func compareIDs(a, b string) int {
	switch x, y := idOf(a), idOf(b); {
	case x.before(y):
		return -1
	case y.before(x):
		return 1
	}
	return 0
}

// isID reports whether a text has the form of an entry's id.
func isID(text string) bool {
	ms, seq, ok := strings.Cut(text, "-")
	digits := func(s string) bool { return s != "" && len(s) <= 20 && strings.Trim(s, "0123456789") == "" }
	return ok && digits(ms) && digits(seq)
}

// Ready implements adapter.Log.
func (l streamLog) Ready(ctx context.Context) error {
	if r := l.b.streams.readerOf(l.b.stream); r == nil || r.breaks.wanted() {
		return adapter.ErrHistoryGap
	}
	return l.b.streams.settled(ctx)
}

// Breaks implements adapter.Log.
func (l streamLog) Breaks() uint64 {
	if r := l.b.streams.readerOf(l.b.stream); r != nil {
		return r.breaks.asked.Load() + r.holes.Load()
	}
	return 0
}

func (l streamLog) After(ctx context.Context, offset string, each func(m *adapter.Message) bool) (end string, err error) {
	if err := l.Ready(ctx); err != nil {
		return "", err
	}
	if !isID(offset) {
		return "", adapter.ErrHistoryGap
	}
	rdb, err := l.b.streams.server(ctx, l.b.stream)
	if err != nil {
		return "", err
	}
	end = offset
	for read := 0; ; {
		entries, err := rdb.XRangeN(ctx, l.b.stream, "("+end, "+", historyPage).Result()
		if err != nil {
			return "", fmt.Errorf("read stream %s: %w", l.b.stream, unavailable(err))
		}
		for i := range entries {
			end = entries[i].ID
			if isBreak(&entries[i]) {
				return "", adapter.ErrHistoryGap
			}
			if m := l.open(&entries[i]); m != nil && !each(m) {
				return end, l.complete(ctx, rdb, offset)
			}
		}
		if len(entries) < historyPage {
			break
		}
		if read += len(entries); read >= historyEntries {
			return "", adapter.ErrHistoryLimit
		}
	}
	return end, l.complete(ctx, rdb, offset)
}

// open returns the broadcast that an entry is, nil if it is none of the namespace.
func (l streamLog) open(x *redis.XMessage) *adapter.Message {
	e := entryOf(x)
	if e.Namespace != l.b.local.Name() {
		return nil
	}
	m, err := l.b.history.OpenEntry(e)
	if err != nil || m == nil || m.Kind != adapter.KindBroadcast {
		return nil
	}
	m.Offset = x.ID
	return m
}

// complete returns an error unless everything after an offset is still in the stream: then the entry that has the offset is, too. It is
// asked when that has been read: entries are removed from the front.
func (l streamLog) complete(ctx context.Context, rdb *redis.Client, offset string) error {
	found, err := rdb.XRange(ctx, l.b.stream, offset, offset).Result()
	switch {
	case err != nil:
		return fmt.Errorf("look for entry %s of stream %s: %w", offset, l.b.stream, unavailable(err))
	case len(found) > 0:
		return nil
	}
	info, err := rdb.XInfoStream(ctx, l.b.stream).Result()
	switch {
	case err != nil && isNoKey(err):
		return adapter.ErrHistoryGap
	case err != nil:
		return fmt.Errorf("look at stream %s: %w", l.b.stream, unavailable(err))
	case info.LastGeneratedID == offset: // everything has been removed, and nothing has come since
		return nil
	}
	return adapter.ErrHistoryGap
}
