package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
	"github.com/sockeye-io/sockeye/internal/seldom"
)

// pubLog is the log of a namespace beside pub/sub: a stream, for clients that come back. Every broadcast that is kept is appended and
// published by one script, and what is published ends in a note: who has sent it, the id of its entry, and the id of the entry before.
// Node.js ignores the note. The ids are the offsets.
//
// Why there is never a hole, and nothing comes twice:
//
//   - Ids that follow each other are a chain, in the log as well as in what a node hears. It is broken wherever something is missing: an
//     entry that was trimmed, a message that this node has not heard, a stream that was emptied or has gone back to what it was before
//     Redis failed. No number of entries, no clock and no look at the stream's state has to be trusted.
//   - All that is kept is heard by all nodes that keep, whatever rooms they have: broadcasts to one room, too, which go through the
//     namespace's own channel where rooms have channels of their own. So the order in which a node hears them is that of the log, and
//     the last one that it has handed on is a position before all that it will hand on.
//   - When a message does not continue the chain, this node goes on from the log, up to its end, and drops what it hears of that later. A
//     mark that is published when the subscription is (again) in place, with the id of the last entry, shows what was missed if nothing
//     follows.
//   - What was delivered anywhere and is not in the log, as that of Node.js nodes and emitters, or what Redis has not taken or has
//     forgotten, puts a break into the log: an entry behind which nobody goes on from before it.
type pubLog struct {
	// Static after construction.
	hub       *hub
	namespace string
	uid       string
	names     pubLogNames
	maxLen    int
	entry     func(body string) (*adapter.Message, error) // opens a message of whichever node for whatever room
	receive   func(m *adapter.Message, err error, source string)
	ctx       context.Context // ends with close
	stop      context.CancelFunc
	running   sync.WaitGroup
	kicked    chan struct{} // capacity 1; told when the log has to be looked at

	read atomic.Pointer[string] // id of the last message that was handed on; nil until the first place in the log is known

	marked  chan uint64 // capacity 1; the last mark that has come back
	marks   uint64      // owned by watch
	breaks  breaks
	others  atomic.Uint64   // how many breaks were handed on
	writers map[string]bool // those whose broadcasts have come with notes; owned by who hands on
	stuck   time.Time       // since when the log could not be read, for messages; owned by who hands on
	trouble seldom.Counted
}

// stuckAfter is how long messages that do not continue the chain wait for the log, which cannot be read.
const stuckAfter = 5 * time.Second

func newPubLog(h *hub, namespace, uid string, names pubLogNames, maxLen int) *pubLog {
	l := &pubLog{
		hub: h, namespace: namespace, uid: uid, names: names, maxLen: maxLen,
		kicked: make(chan struct{}, 1), breaks: newBreaks(), marked: make(chan uint64, 1), writers: make(map[string]bool),
	}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l
}

// start subscribes to the notes and begins to watch. to is the sink of the notes.
func (l *pubLog) start(to sink) {
	l.hub.loadScripts()
	for _, s := range pubLogScripts {
		_ = l.hub.send(redis.NewStringCmd(l.ctx, "script", "load", s.text), post{namespace: l.namespace, key: l.names.stream})
	}
	l.hub.subscribe(l.namespace, l.names.space, l.names.notes, to)
	l.running.Go(l.watch)
	l.running.Go(func() { l.breaks.work(l.ctx, l.appendBreak) })
}

func (l *pubLog) close() {
	l.stop()
	l.hub.unsubscribe(l.namespace, l.names.space, l.names.notes)
}

// publish appends a message and publishes it on a channel.
func (l *pubLog) publish(channel string, body []byte, m *adapter.Message, how post) error {
	f := formOf(body)
	how.key = l.names.stream
	l.hub.countReceivers(l.names.space, &how)
	return l.hub.send(redis.NewStringCmd(context.Background(), "evalsha", appendScript.sha, 2, l.names.stream, l.names.last,
		l.names.verb(), channel, l.maxLen, pubLogExpiry.Milliseconds(), l.uid, m.Seq, f.head, f.open, f.close), how)
}

// take takes what has been published with a note, "" if it is a break. open decodes it, nil if it is not for this node; it is not called for
// this node's own.
func (l *pubLog) take(n note, body string, open func() (*adapter.Message, error)) {
	switch read := l.position(); {
	case read == "": // the first
	case n.before == read:
	case !before(read, n.id): // it came from the log
		return
	case l.catchUp():
		return
	default:
		if l.stuck.IsZero() {
			l.stuck = time.Now()
		}
		if time.Since(l.stuck) < stuckAfter {
			l.kick()
			return
		}
		l.broken(read, n.before) // better a hole that is known than nothing any more
	}
	l.handOn(n, body, open)
}

// handOn hands a message on in its place.
func (l *pubLog) handOn(n note, body string, open func() (*adapter.Message, error)) {
	l.stuck = time.Time{}
	if body == "" {
		l.others.Add(1)
	}
	var m *adapter.Message
	var err error
	if n.uid == l.uid {
		m = &adapter.Message{Kind: adapter.KindBroadcast}
	} else if open != nil {
		m, err = open()
	}
	if m == nil {
		m = new(adapter.Message)
	}
	m.Seq, m.Offset = n.seq, n.id
	if m.Packet == nil && err == nil && body != "" { // this node's own, or for nobody here
		m.Unopened = &adapter.Unopened{Size: len(body), Open: func() (*adapter.Message, error) { return l.entry(body) }}
	}
	if m.From == "" {
		m.From = adapter.NodeID(n.uid)
	}
	l.know(n.uid)
	l.receive(m, nil, "")
	if err != nil {
		l.receive(nil, err, l.names.stream+" "+n.id)
	}
	l.read.Store(&n.id)
}

// maxWriters is how many writers are remembered: whoever can publish can invent some.
const maxWriters = 4096

func (l *pubLog) know(uid string) {
	if !l.writers[uid] {
		if len(l.writers) >= maxWriters {
			clear(l.writers)
		}
		l.writers[uid] = true
	}
}

// heard looks at a message without a note, decoded if it is for this node. If its sender keeps nothing, and it is one that would have been
// kept, there is something that is not in the log.
func (l *pubLog) heard(m *adapter.Message, body string) {
	if m == nil || m.Kind == 0 && !l.writers[string(m.From)] {
		m, _ = l.entry(body)
	}
	if m != nil && m.Logged() && !l.writers[string(m.From)] {
		l.Break()
	}
}

// note takes what is said on the channel of the notes, breaks and marks, and messages that nobody here needs.
func (l *pubLog) note(body string) {
	if m, ok := parseMark(body); ok {
		if m.uid == l.uid && l.settle(m.last) {
			select {
			case <-l.marked:
			default:
			}
			l.marked <- m.number
		}
		return
	}
	if n, ok := noteOf(body); ok {
		l.take(n, body, nil)
	} else if n, ok := parseNote(body); ok {
		l.take(n, "", nil)
	}
}

// settle makes sure that everything up to the last entry has been handed on.
func (l *pubLog) settle(last string) bool {
	switch l.position() {
	case last:
	case "":
		l.read.Store(&last)
	default:
		return l.catchUp()
	}
	return true
}

// catchUp hands on what is in the log behind what has been handed on. It reports false if the log could not be read.
func (l *pubLog) catchUp() bool {
	for read := l.position(); ; read = l.position() {
		last, entries, err := l.page(l.ctx, read)
		if err != nil || last == "" { // emptied a moment ago; the next mark will tell
			return false
		}
		for _, e := range entries {
			if read = l.position(); e.before != read {
				l.broken(read, e.id)
			}
			l.handOn(e.note, e.whole(), func() (*adapter.Message, error) { return l.open(e) })
		}
		if len(entries) < historyPage {
			if len(entries) == 0 && last != read {
				l.broken(read, last)
				l.read.Store(&last)
			}
			return true
		}
	}
}

// broken notes that the chain of entries is broken behind one of them.
func (l *pubLog) broken(read, next string) {
	l.hub.stats.logBroken.Add(1)
	if held, ok := l.trouble.Pass(inflow.TellEvery); ok {
		l.hub.opts.Logger.Warn("the log of broadcasts has a hole: clients that have to go on from before it start anew",
			"namespace", l.namespace, "behind", read, "next", next, "notLogged", held)
	}
	l.Break()
}

// open decodes an entry; nil is a break.
func (l *pubLog) open(e pubLogEntry) (*adapter.Message, error) {
	if e.body == "" {
		return nil, nil
	}
	return l.entry(e.whole())
}

func (l *pubLog) position() string {
	if read := l.read.Load(); read != nil {
		return *read
	}
	return ""
}

// pushed has the log looked at if there was no room for what has come.
func (l *pubLog) pushed(queued bool) {
	if !queued {
		l.kick()
	}
}

func (l *pubLog) kick() {
	select {
	case l.kicked <- struct{}{}:
	default:
	}
}

// watch has a mark published whenever the subscription is (again) in place or something has not been heard.
func (l *pubLog) watch() {
	for l.ctx.Err() == nil && l.hub.running() != nil {
		moved := l.hub.moved()
		if l.hub.wait(l.ctx, l.names.space, l.names.notes) != nil {
			return
		}
		if !l.mark() {
			_ = brokerstate.Pause(l.ctx, 100*time.Millisecond)
			continue
		}
		select {
		case <-l.ctx.Done():
		case <-moved:
		case <-l.kicked:
		}
	}
}

// mark publishes a mark and waits until it has come back and everything before it is handed on.
func (l *pubLog) mark() bool {
	l.marks++
	n := l.marks
	err := l.hub.send(redis.NewStringCmd(l.ctx, "evalsha", markScript.sha, 2, l.names.stream, l.names.last,
		l.names.verb(), l.names.notes, pubLogExpiry.Milliseconds(), l.uid, n), post{namespace: l.namespace, passing: true, key: l.names.stream})
	if err != nil {
		return false
	}
	timer := time.NewTimer(outflow.PassingAge)
	defer timer.Stop()
	for {
		select {
		case came := <-l.marked:
			if came == n {
				return true
			}
		case <-timer.C:
			return false
		case <-l.ctx.Done():
			return false
		}
	}
}

// Break implements adapter.LogBreaker.
func (l *pubLog) Break() { l.breaks.want() }

// appendBreak returns nil when Redis has taken a break.
func (l *pubLog) appendBreak() error {
	sent := make(chan error, 1)
	err := l.hub.send(redis.NewStringCmd(l.ctx, "evalsha", appendScript.sha, 2, l.names.stream, l.names.last,
		l.names.verb(), l.names.notes, l.maxLen, pubLogExpiry.Milliseconds(), l.uid, 0, "", "", ""),
		post{namespace: l.namespace, key: l.names.stream, sent: func(r adapter.Receipt) { sent <- r.Err }})
	if err != nil {
		return err
	}
	select {
	case err = <-sent:
		return err
	case <-l.ctx.Done():
		return context.Cause(l.ctx)
	}
}

// Read implements adapter.Log.
func (l *pubLog) Read() string { return l.position() }

// Compare implements adapter.Log.
func (l *pubLog) Compare(a, b string) int { return compareIDs(a, b) }

// Exclusive implements adapter.ExclusiveLog.
func (l *pubLog) Exclusive() {}

// Ready implements adapter.Log.
func (l *pubLog) Ready(ctx context.Context) error {
	if l.breaks.wanted() {
		return adapter.ErrHistoryGap
	}
	return l.hub.settled(ctx)
}

// Breaks implements adapter.Log.
func (l *pubLog) Breaks() uint64 { return l.breaks.asked.Load() + l.others.Load() }

// After implements adapter.Log.
func (l *pubLog) After(ctx context.Context, offset string, each func(m *adapter.Message) bool) (end string, err error) {
	if err := l.Ready(ctx); err != nil {
		return "", err
	}
	if !isID(offset) {
		return "", adapter.ErrHistoryGap
	}
	end = offset
	for read := 0; ; {
		last, entries, err := l.page(ctx, end)
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			if e.before != end || e.body == "" {
				return "", adapter.ErrHistoryGap
			}
			end = e.id
			m, err := l.open(e)
			if err != nil || m == nil {
				return "", errors.Join(adapter.ErrHistoryGap, err)
			}
			if m.Offset = e.id; !each(m) {
				return end, nil
			}
		}
		switch {
		case len(entries) == historyPage:
		case len(entries) == 0 && last != end:
			return "", adapter.ErrHistoryGap
		default:
			return end, nil
		}
		if read += len(entries); read >= historyEntries {
			return "", adapter.ErrHistoryLimit
		}
	}
}

// page reads entries behind one of them. last is the id of the last one before they were read; "" if there is no log.
func (l *pubLog) page(ctx context.Context, behind string) (last string, entries []pubLogEntry, err error) {
	rdb, err := l.hub.server(ctx, l.names.stream)
	if err != nil {
		return "", nil, err
	}
	pipe := rdb.Pipeline()
	lastOne := pipe.Get(ctx, l.names.last)
	list := pipe.XRangeN(ctx, l.names.stream, "("+behind, "+", historyPage)
	if _, err = pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return "", nil, fmt.Errorf("read %s: %w", l.names.stream, unavailable(err))
	}
	entries = make([]pubLogEntry, len(list.Val()))
	for i, x := range list.Val() {
		entries[i] = pubLogEntryOf(&x)
	}
	return lastOne.Val(), entries, nil
}
