package natsadapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/internal/envelope"
	"github.com/sockeye-io/sockeye/internal/seldom"
)

const (
	// keptEntries and keptBytes bound what is read for clients that come back together.
	keptEntries = 100_000
	keptBytes   = 64 << 20
	// lagPause is how long a server that is behind has until it is asked again.
	lagPause = 20 * time.Millisecond
	// catchUpAgain is how long the log is left alone that could not be read.
	catchUpAgain = 250 * time.Millisecond
	// stuckAfter is how long messages that do not continue what was heard wait for the log, which cannot be read.
	stuckAfter = 5 * time.Second
	// maxRecent is how many entries are remembered that were handed on, in case that the stream goes back. rewindClocks is how far the clocks
	// of servers may be apart that lead it one after the other: what is older than that was handed on.
	maxRecent    = 1024
	rewindClocks = 10 * time.Second
	// maxBypassed is how many nodes are remembered: whoever can publish can invent some.
	maxBypassed = 4096
)

// keptLog is the log of a namespace: what has one subject in the stream of logs. The leader of the stream publishes each entry that it has
// stored, with the number of the entry before, and all nodes hear that.
//
// Why there is never a hole, and nothing comes twice:
//
//   - What a node hears continues what it has heard before, by the numbers, or it reads on from the log and drops what it hears of that
//     later. A look at the log every two seconds shows whether something was missed behind which nothing came.
//   - A place in the log is the number and the time of an entry. Whoever goes on from it reads that entry first: if it is not there, because
//     it is too old, or the stream was purged, made anew or restored, that is a gap.
//   - What was delivered anywhere and is not in the log puts a break into it, behind which nobody goes on from before it: what JetStream did
//     not take in time, and what senders say that keep nothing.
type keptLog struct {
	// Static after construction.
	bus     *bus
	jet     *jetStream
	subject string
	heard   string          // where entries are published that are stored
	all     *envelope.Codec // opens every broadcast of the namespace, whoever has sent it for whom
	writer  *logWriter
	stream  string
	retain  time.Duration

	hearing sync.Mutex
	// Guarded by hearing.
	hears, closed bool // heard is wanted; it will not be any more

	read    atomic.Pointer[place] // what was handed on last; nil until the first place is known
	begun   atomic.Bool           // what is stored from now on is heard
	holes   atomic.Uint64         // how many breaks were handed on, and how often not all could be
	looked  atomic.Uint64         // number of the last entry of the stream when this log was last looked at, plus one
	looking time.Time             // when that was; owned by whoever calls catch

	// Owned by the mailbox's worker.
	again    time.Time                 // the log is not read before
	stuck    time.Time                 // since when it could not be read, for messages
	recent   []entryID                 // what was handed on last, a ring whose oldest is
	oldest   int                       // here
	newest   int64                     // the latest time of an entry that was handed on, in nanoseconds
	rewound  bool                      // what is read may have been handed on
	bypassed map[adapter.NodeID]uint64 // number of the last broadcast that a node has sent past the log, and once in it
	trouble  seldom.Counted
}

func newKeptLog(b *bus, retain time.Duration) (*keptLog, error) {
	all, err := envelope.New("history", b.local.Name(), func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	l := &keptLog{
		bus: b, jet: b.hub.jet, all: all, stream: b.hub.opts.logStream(), retain: retain, subject: b.hub.subjects.log(b.local.Name()), heard: b.hub.subjects.heard(b.local.Name()),
		bypassed: make(map[adapter.NodeID]uint64),
	}
	l.writer = newLogWriter(l)
	return l, nil
}

// listen has what is stored heard from now on.
func (l *keptLog) listen(ctx context.Context) error {
	l.hearing.Lock()
	if !l.hears && !l.closed {
		l.hears = true
		l.bus.hub.subs.want(l.heard, true, l.hear)
	}
	l.hearing.Unlock()
	return l.bus.hub.subs.confirmed(ctx, l.heard)
}

// close ends that. What waits is still written.
func (l *keptLog) close() {
	l.hearing.Lock()
	defer l.hearing.Unlock()
	if l.hears && !l.closed {
		l.bus.hub.subs.unwant(l.heard)
	}
	l.closed = true
	l.jet.remove(l)
}

// entryID is what names an entry for good.
type entryID struct {
	seq uint64
	at  int64
}

// position returns what was handed on last.
func (l *keptLog) position() (at place, known bool) {
	if p := l.read.Load(); p != nil {
		return *p, true
	}
	return place{}, false
}

func (l *keptLog) offset(p place) string { return offsetText(markOf(l.bus.local.Name(), p.life), p) }

// place reads an offset, if it is one of the stream that is there.
func (l *keptLog) place(offset string) (place, bool) {
	read, known := l.position()
	mark, p, ok := parseOffset(offset)
	if !known || !ok || mark != markOf(l.bus.local.Name(), read.life) {
		return place{}, false
	}
	p.life = read.life
	return p, true
}

// Read implements adapter.Log, as do Compare and After.
func (l *keptLog) Read() string {
	if at, known := l.position(); known {
		return l.offset(at)
	}
	return ""
}

func (l *keptLog) Compare(a, b string) int {
	p, okA := l.place(a)
	q, okB := l.place(b)
	if !okA || !okB {
		return cmp.Compare(fewer(okA), fewer(okB))
	}
	return p.compare(q)
}

func fewer(ok bool) int {
	if ok {
		return 1
	}
	return 0
}

// Ready implements adapter.Log.
func (l *keptLog) Ready(context.Context) error {
	if err := l.jet.isOff(); err != nil {
		return unavailable(err)
	}
	if l.writer.breaking() {
		return adapter.ErrHistoryGap
	}
	return nil
}

// Breaks implements adapter.Log.
func (l *keptLog) Breaks() uint64 { return l.writer.breaks() + l.holes.Load() }

// Break implements adapter.LogBreaker.
func (l *keptLog) Break() { l.writer.breakUp() }

// catch is called with what is known of the stream, every two seconds and when something may have been missed.
func (l *keptLog) catch(ctx context.Context, info *jetstream.StreamInfo) error {
	begun := l.begun.Load()
	unchanged := l.looked.Load() == info.State.LastSeq+1
	if begun && unchanged && time.Since(l.looking) < l.jet.maxAge()/8 {
		return nil
	}
	last, err := l.last(ctx)
	if err != nil {
		return err
	}
	life := info.Created.UnixNano()
	if !begun { // what is stored from now on reaches the sockets of this node
		l.read.CompareAndSwap(nil, &place{life: life, seq: last.seq, at: last.at, n: wholeEntry(last)})
		if err := l.listen(ctx); err != nil {
			return err
		}
		l.begun.Store(true)
		if last, err = l.last(ctx); err != nil {
			return err
		}
	}
	if !l.bus.mailbox.Push(delivery{subject: l.heard, at: last, life: life}) {
		return nil // too much waits, or the namespace closes
	}
	l.looking = time.Now()
	l.looked.Store(info.State.LastSeq + 1)
	return nil
}

// wholeEntry is how many broadcasts an entry has.
func wholeEntry(s *stored) int {
	e, _ := decodeEntry(s.body)
	return len(e.list)
}

// last returns the last entry. One is made if there is none, or none that stays for a while.
func (l *keptLog) last(ctx context.Context) (*stored, error) {
	for {
		last, err := l.jet.get(ctx, l.stream, 0, l.subject)
		if err != nil {
			return nil, err
		}
		if last != nil && l.jet.now().Sub(time.Unix(0, last.at)) < l.jet.maxAge()/2 {
			return last, nil
		}
		before := uint64(0)
		if last != nil {
			before = last.seq
		}
		mark := logEntry{kind: entryMark, from: l.bus.id}
		_, err = l.jet.append(ctx, l.subject, mark.encode(), jetstream.WithExpectLastSequencePerSubject(before))
		if err != nil && !wrongSequence(err) { // another node may have been faster
			return nil, err
		}
	}
}

// wrongSequence reports whether something was not stored because the last message of its subject is another one.
func wrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// hear is the sink of entries that are stored.
func (l *keptLog) hear(m *nats.Msg) {
	stats := l.bus.hub.stats
	stats.received.Add(1)
	stats.receivedBytes.Add(uint64(len(m.Data)))
	s, ok := storedOf(m)
	before, err := strconv.ParseUint(m.Header.Get(jetstream.LastSequenceHeader), 10, 64)
	if !ok || err != nil {
		stats.inflow.BadFrames.Add(1)
		return
	}
	if !l.bus.mailbox.Push(delivery{subject: m.Subject, at: s, before: before}) {
		l.looked.Store(0)
		l.jet.kick()
	}
}

// open takes what hear has heard, and what catch has seen, which has a life.
func (l *keptLog) open(d *delivery) {
	read, known := l.position()
	s := d.at
	switch {
	case !known:
		return
	case d.life != 0:
		anew := d.life != read.life || s.seq <= read.seq && s.at > read.at
		if !anew && s.seq <= read.seq || !l.catchUp() {
			return
		}
		if read, _ = l.position(); read.life != d.life { // a stream that has everything, but was made at another time: restored
			read.life = d.life
			l.read.Store(&read)
		}
		return
	case d.before == read.seq:
	case d.before == 0 && s.seq > read.seq: // what stood before was too old, heard or not
		l.holes.Add(1)
	case s.seq <= read.seq && s.at <= read.at: // it came from the log
		return
	case l.catchUp():
		return
	default:
		if l.stuck.IsZero() {
			l.stuck = time.Now()
		}
		if time.Since(l.stuck) < stuckAfter {
			return
		}
		l.lost(read) // better a hole that is known than nothing any more
	}
	l.handOn(s, read.life)
}

// handOn hands the broadcasts of an entry on.
func (l *keptLog) handOn(s *stored, life int64) {
	l.stuck = time.Time{}
	if l.had(s) {
		l.read.Store(&place{life, s.seq, s.at, wholeEntry(s)})
		return
	}
	l.remember(s)
	e, err := decodeEntry(s.body)
	if err != nil {
		l.bus.mailbox.Deliver(nil, err, l.subject)
	}
	if e.kind == entryBreak {
		l.holes.Add(1)
	}
	for i, k := range e.list {
		at := &place{life, s.seq, s.at, i + 1}
		m := l.message(&e, k)
		if m.Packet == nil { // this node's own, or for nobody here
			m.Unopened = &adapter.Unopened{Size: len(k.body), Open: func() (*adapter.Message, error) { return l.all.Open(string(k.body)) }}
		}
		if m.Seq, m.Offset = k.seq, l.offset(*at); e.from != envelope.Emitter {
			m.From = e.from
		}
		l.bus.mailbox.Deliver(m, nil, l.subject)
		l.read.Store(at)
	}
	if len(e.list) == 0 {
		l.read.Store(&place{life, s.seq, s.at, 0})
	}
}

// message opens a broadcast. Of this node's own, of those for nobody here, and of those that have come past the log the place is enough.
func (l *keptLog) message(e *logEntry, k keptBody) *adapter.Message {
	switch {
	case e.from == l.bus.id:
		return &adapter.Message{Kind: adapter.KindBroadcast}
	case k.seq > 0 && k.seq <= l.bypassed[e.from]:
		return new(adapter.Message)
	}
	m, err := l.bus.codec.Open(string(k.body))
	if err != nil {
		l.bus.mailbox.Deliver(nil, err, l.subject)
	}
	if m == nil || err != nil || m.Kind != adapter.KindBroadcast {
		return new(adapter.Message)
	}
	return m
}

// look looks at what has come past the log. If it is a broadcast that should be in there, that is not complete.
func (l *keptLog) look(m *adapter.Message, body string) {
	if m == nil || m.Kind == 0 { // nobody here is in the room, but somebody who is away may be
		m, _ = l.all.Open(body)
	}
	if m == nil || !m.Logged() {
		return
	}
	if m.Seq > 0 && m.From != "" {
		if len(l.bypassed) >= maxBypassed {
			clear(l.bypassed)
		}
		l.bypassed[m.From] = max(l.bypassed[m.From], m.Seq)
	}
	l.Break()
}

// catchUp hands on what is in the log behind what was handed on. It reports false if the log could not be read.
func (l *keptLog) catchUp() bool {
	if time.Now().Before(l.again) {
		return false
	}
	err := l.readOn(l.jet.ctx)
	if err == nil {
		return true
	}
	l.again = time.Now().Add(catchUpAgain)
	l.looked.Store(0)
	l.jet.kick()
	if held, ok := l.trouble.Pass(inflow.TellEvery); ok && l.jet.ctx.Err() == nil {
		l.bus.hub.opts.Logger.Warn("the log of broadcasts cannot be read", "namespace", l.bus.local.Name(), "error", err, "notLogged", held)
	}
	return false
}

func (l *keptLog) readOn(ctx context.Context) error {
	for {
		read, _ := l.position()
		list, more, err := l.continued(ctx, read)
		switch {
		case errors.Is(err, adapter.ErrHistoryGap):
			return l.readAnew(ctx, read)
		case err != nil:
			return err
		}
		for _, s := range list[1:] {
			l.handOn(s, read.life)
		}
		if !more {
			return nil
		}
	}
}

// readAnew hands on what is in a log that does not continue what was handed on.
func (l *keptLog) readAnew(ctx context.Context, read place) error {
	from, err := l.skip(ctx, read)
	if err != nil {
		return err
	}
	l.again = time.Now().Add(catchUpAgain)
	l.rewound = true
	for next, more := from.seq, true; more; {
		var list []*stored
		if list, more, err = l.jet.page(ctx, l.stream, l.subject, next); err != nil {
			return err
		}
		for _, s := range list {
			l.handOn(s, from.life)
			next = s.seq + 1
		}
	}
	return nil
}

// had reports whether an entry was handed on before: a stream that has lost its end, or was restored, has some of what it had.
func (l *keptLog) had(s *stored) bool {
	if !l.rewound {
		return false
	}
	if s.at < l.newest-rewindClocks.Nanoseconds() || slices.Contains(l.recent, entryID{s.seq, s.at}) {
		return true
	}
	l.rewound = false
	return false
}

// remember notes that an entry was handed on.
func (l *keptLog) remember(s *stored) {
	l.newest = max(l.newest, s.at)
	if len(l.recent) < maxRecent {
		l.recent = append(l.recent, entryID{s.seq, s.at})
		return
	}
	l.recent[l.oldest] = entryID{s.seq, s.at}
	l.oldest = (l.oldest + 1) % maxRecent
}

// skip returns where to go on behind an entry that is not there any more: in another life of the stream at its beginning.
func (l *keptLog) skip(ctx context.Context, read place) (place, error) {
	js, err := l.jet.use()
	if err != nil {
		return read, err
	}
	s, err := l.jet.stream(ctx, js, l.stream)
	if err != nil {
		return read, err
	}
	there, err := l.jet.get(ctx, l.stream, read.seq, "")
	if err != nil {
		return read, err
	}
	info := s.CachedInfo()
	if life := info.Created.UnixNano(); life != read.life || there != nil || info.State.LastSeq < read.seq {
		l.lost(read)
		return place{life: life}, nil
	}
	if l.jet.now().Sub(time.Unix(0, read.at)) < l.jet.maxAge()/2 { // it was not its time
		l.lost(read)
	} else {
		l.holes.Add(1) // what came behind it may be too old by now, too
	}
	return read, nil
}

// lost notes that not all can be handed on that was behind a place.
func (l *keptLog) lost(behind place) {
	stats := l.bus.hub.stats
	stats.keptGaps.Add(1)
	l.holes.Add(1)
	stats.losses.Add(1)
	l.bus.hub.overruns.Add(1)
	if held, ok := l.trouble.Pass(inflow.TellEvery); ok {
		l.bus.hub.opts.Logger.Warn("broadcasts were removed from the log before this node had them: clients that have to go on from before start anew",
			"namespace", l.bus.local.Name(), "behind", l.offset(behind), "notLogged", held)
	}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	if brokerstate.Pause(ctx, d) != nil {
		return fmt.Errorf("wait for the log: %w", context.Cause(ctx))
	}
	return nil
}
