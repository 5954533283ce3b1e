package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

const (
	// sessionSweep is how often sessions are looked for whose time is over, sessionRetry how long the topic is left alone that could not
	// be read.
	sessionSweep = 10 * time.Second
	sessionRetry = 500 * time.Millisecond
)

var (
	errSessionsUnread = errors.New("the topic of sessions has not been read yet")
	errSessionsLost   = errors.New("records of sessions are lost, what is left is read again")
)

// sessionLog is the topic of sessions, in the memory of this node. A change is a record; what came of it is known when it was read back.
type sessionLog struct {
	// Static.
	b     *broker
	place place

	// Guarded by mu.
	mu      sync.Mutex
	begun   bool
	ready   chan struct{} // closed when the topic was read; another one when records were lost and it has to be read again
	gaps    int           // how often that was so
	topic   kadm.TopicID  // which was read
	window  time.Duration // how far back it is read
	early   []arrived     // came while the topic is being read
	table   sessionTable
	doubted map[sessionKey]time.Time // sessions of this node that another one may have taken, see lost; when they were last written
	number  uint64
	waiting map[uint64]func(sessionTold, error) // by number of the step
	sweep   *time.Timer                         // nil before begun, and after close
	closed  bool
}

func newSessionLog(b *broker) *sessionLog {
	return &sessionLog{
		b: b, place: place{b.opts.sessionsTopic(), 0}, ready: make(chan struct{}), waiting: make(map[uint64]func(sessionTold, error)),
		table: newSessionTable(), doubted: make(map[sessionKey]time.Time),
	}
}

// sessionKey is what a session is found by.
type sessionKey struct{ namespace, pid string }

// sessionsTopic is read by nodes whose clients can go on.
func (o *Options) sessionsTopic() string { return o.Prefix + ".sessions" }

// sessionsKept is how long the topic has to keep what it is told: sessions of sockets that are connected are kept for twice the time that
// clients may be away, and are written again in the meantime.
func sessionsKept(away time.Duration) time.Duration { return 4*away + time.Minute }

// of returns the store of a namespace, and begins to read the topic for the first one.
func (l *sessionLog) of(namespace string, opts adapter.HistoryOptions) *sessionStore {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.begun && !l.closed {
		l.begun, l.window = true, sessionsKept(opts.Retain)
		l.sweep = time.AfterFunc(sessionSweep, l.expire)
		l.b.monitor.need(topic{l.place.topic, 1, l.b.opts.kept(max(shortRetention, 2*l.window), 32<<20)})
		located := l.b.readers.want(l.place)
		l.b.running.Go(func() { l.load(located) })
	}
	return &sessionStore{log: l, namespace: namespace, calm: min(reapCalm, opts.Retain)}
}

// lost has the topic read again of which records were lost that this node has not read: what the others know of a session this one
// may not. Sessions that nobody has written since are lost with them. Those that this node held another one may have taken, and have given
// rooms: nobody goes on with them any more. It does not block.
func (l *sessionLog) lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gaps++
	select {
	case <-l.ready:
	default: // it is being read
		return
	}
	if l.closed {
		return
	}
	now := time.Now()
	for namespace, sessions := range l.table.entries {
		for pid, e := range sessions {
			if e.holder == l.b.id {
				l.doubted[sessionKey{namespace, pid}] = now
			}
		}
	}
	l.ready = make(chan struct{})
	l.table = newSessionTable()
	waiting := l.waiting
	l.waiting = make(map[uint64]func(sessionTold, error))
	for _, done := range waiting { // those steps may be among the records
		done(sessionTold{}, unavailable(errSessionsLost))
	}
	l.b.running.Go(func() { l.load(nil) })
}

// load reads what the topic has of the last time, again and again until that was possible. located is closed when it is known where
// the reading goes on; nil if it is.
func (l *sessionLog) load(located <-chan struct{}) {
	ctx := l.b.ctx
	if located != nil {
		select {
		case <-located:
		case <-ctx.Done():
			return
		}
	}
	for {
		l.mu.Lock()
		l.early = nil // what has come by now is in the topic
		gaps := l.gaps
		l.mu.Unlock()
		table := newSessionTable()
		end, err := l.read(ctx, &table)
		if err == nil && l.begin(table, end, gaps) {
			return
		}
		if held, ok := l.b.readers.complaints.Pass(time.Minute); ok && err != nil && ctx.Err() == nil {
			l.b.opts.Logger.Warn("sessions of clients cannot be read", "topic", l.place.topic, "error", err, "notLogged", held)
		}
		if brokerstate.Pause(ctx, sessionRetry) != nil {
			return
		}
	}
}

// read reads the topic up to its present end.
func (l *sessionLog) read(ctx context.Context, table *sessionTable) (end position, err error) {
	at, _ := l.b.readers.position(l.place)
	at.epoch = -1
	var known names
	from, err := l.b.past.since(ctx, l.place, at, l.window)
	for err == nil {
		var stop position
		began := from.next
		stop, err = l.b.past.read(ctx, l.place, from, func(r *kgo.Record) bool {
			from.next = r.Offset + 1
			if sealed, err := known.open(r); err == nil && sealed.kind == kindSession {
				if s, err := decodeSessionStep(sealed.body); err == nil {
					table.take(sealed.namespace, &s, r.Timestamp)
				}
			}
			return true
		})
		if err == nil {
			return stop, nil
		}
		// There is more of it than one client is worth, or than can be read in the time of one.
		if errors.Is(err, adapter.ErrHistoryLimit) || from.next > began && !errors.Is(err, adapter.ErrHistoryGap) {
			err = ctx.Err()
		}
	}
	return position{}, err
}

// begin goes on with what came meanwhile. It returns false if records were lost since the reading began, after so many gaps.
func (l *sessionLog) begin(table sessionTable, end position, gaps int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gaps != gaps {
		return false
	}
	l.table, l.topic = table, end.topic
	early := l.early
	l.early = nil
	for i := range early {
		if early[i].offset >= end.next {
			l.doLocked(&early[i])
		}
	}
	close(l.ready)
	return true
}

func (l *sessionLog) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.table.expire()
	maps.DeleteFunc(l.doubted, func(_ sessionKey, written time.Time) bool { return time.Since(written) > l.window }) // its socket has ended
	if l.sweep != nil {
		l.sweep.Reset(sessionSweep)
	}
}

// take takes a record, on the worker of the partition.
func (l *sessionLog) take(a *arrived) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.ready:
		l.doLocked(a)
	default:
		l.early = append(l.early, *a)
	}
}

func (l *sessionLog) doLocked(a *arrived) {
	if a.topic != l.topic { // it was fetched before the topic was deleted and made anew
		return
	}
	s, err := decodeSessionStep(a.body)
	if err != nil {
		l.b.stats.inflow.BadFrames.Add(1)
		return
	}
	told := l.table.take(a.namespace, &s, a.stamp)
	if s.do == sessionTake && told.held && s.holder == l.b.id { // what is known of it is new
		delete(l.doubted, sessionKey{a.namespace, s.pid})
	}
	if a.from == l.b.id {
		if done := l.waiterLocked(a.seq); done != nil {
			done(told, nil)
		}
	}
}

func (l *sessionLog) waiterLocked(number uint64) func(sessionTold, error) {
	done := l.waiting[number]
	delete(l.waiting, number)
	return done
}

// write appends a step and calls done, which must not block, at most once: when it was read back, or when it is known that it will not be.
func (l *sessionLog) write(namespace string, s *sessionStep, done func(sessionTold, error)) (number uint64, err error) {
	l.mu.Lock()
	l.number++
	number = l.number
	l.waiting[number] = done
	l.mu.Unlock()
	sent := func(r adapter.Receipt) {
		if r.Err == nil {
			return
		}
		l.mu.Lock()
		done := l.waiterLocked(number)
		l.mu.Unlock()
		if done != nil {
			done(sessionTold{}, r.Err)
		}
	}
	sealed := letter{from: l.b.id, kind: kindSession, namespace: namespace, seq: number, body: s.encode()}
	if err := l.b.pub.send(sealed, l.place, post{passing: true, sent: sent}); err != nil {
		l.forget(number)
		return 0, err
	}
	return number, nil
}

// forget takes back that somebody waits.
func (l *sessionLog) forget(number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiting, number)
}

// doubts reports whether a session that this node writes may have been taken by another one.
func (l *sessionLog) doubts(namespace, pid string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := sessionKey{namespace, pid}
	_, doubted := l.doubted[key]
	if doubted {
		l.doubted[key] = time.Now()
	}
	return doubted
}

// close ends what waits.
func (l *sessionLog) close() {
	l.mu.Lock()
	l.closed = true
	if l.sweep != nil {
		l.sweep.Stop()
		l.sweep = nil
	}
	waiting := l.waiting
	l.waiting = make(map[uint64]func(sessionTold, error))
	l.mu.Unlock()
	for _, done := range waiting {
		done(sessionTold{}, unavailable(errClosed))
	}
}

// await waits until the topic was read.
func (l *sessionLog) await(ctx context.Context) error {
	l.mu.Lock()
	ready := l.ready
	l.mu.Unlock()
	select {
	case <-ready:
		return ctx.Err()
	case <-l.b.ctx.Done():
		return unavailable(errClosed)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", unavailable(errSessionsUnread), ctx.Err())
	}
}

// do makes steps in their order and returns what each has done.
func (l *sessionLog) do(ctx context.Context, namespace string, steps ...sessionStep) ([]sessionTold, error) {
	if err := l.await(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*l.b.opts.AnswerTimeout)
	defer cancel()
	type outcome struct {
		i    int
		told sessionTold
		err  error
	}
	outcomes := make(chan outcome, len(steps))
	numbers := make([]uint64, 0, len(steps))
	defer func() {
		for _, n := range numbers {
			l.forget(n)
		}
	}()
	for i := range steps {
		done := func(told sessionTold, err error) { outcomes <- outcome{i, told, err} }
		n, err := l.write(namespace, &steps[i], done)
		if errors.Is(err, adapter.ErrTooLarge) { // what has no place in Kafka cannot be gone on with
			n, err = l.write(namespace, &sessionStep{do: sessionRemove, holder: steps[i].holder, pid: steps[i].pid}, done)
		}
		if err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	all := make([]sessionTold, len(steps))
	for range steps {
		select {
		case o := <-outcomes:
			if o.err != nil {
				return nil, o.err
			}
			all[o.i] = o.told
		case <-ctx.Done():
			return nil, unavailable(ctx.Err())
		}
	}
	return all, nil
}

// sessionStore is the adapter.SessionReaper of a namespace. All methods may be called concurrently.
type sessionStore struct {
	// Static.
	log       *sessionLog
	namespace string
	calm      time.Duration // see reapCalm

	mu sync.Mutex
	// Guarded by mu, which is taken with sessionLog.mu held.
	reaped []*adapter.Session // this node is to tell of them
}

var _ adapter.SessionReaper = (*sessionStore)(nil)

func (s *sessionStore) one(ctx context.Context, step sessionStep) (sessionTold, error) {
	told, err := s.log.do(ctx, s.namespace, step)
	if err != nil {
		return sessionTold{}, err
	}
	return told[0], nil
}

// session opens what was told.
func (s *sessionStore) session(ctx context.Context, step sessionStep) (*adapter.Session, error) {
	told, err := s.one(ctx, step)
	if err != nil || told.text == "" {
		return nil, err
	}
	return envelope.DecodeSession(told.text)
}

// Save implements adapter.SessionStore, as do Load and Delete.
func (s *sessionStore) Save(ctx context.Context, session *adapter.Session, ttl time.Duration) error {
	text, err := envelope.EncodeSession(session)
	if err == nil {
		_, err = s.one(ctx, sessionStep{do: sessionSave, ttl: ttl, pid: session.PID, text: text})
	}
	if err != nil {
		return fmt.Errorf("save session: %w", err)
	}
	return nil
}

func (s *sessionStore) Load(ctx context.Context, pid string) (*adapter.Session, error) {
	session, err := s.session(ctx, sessionStep{do: sessionLook, pid: pid})
	if err != nil {
		return nil, fmt.Errorf("load session: %w", err)
	}
	return session, nil
}

func (s *sessionStore) Delete(ctx context.Context, pid string) (bool, error) {
	told, err := s.one(ctx, sessionStep{do: sessionDelete, pid: pid})
	if err != nil {
		return false, fmt.Errorf("delete session: %w", err)
	}
	return told.held, nil
}

// Take implements adapter.SessionKeeper, as does Write.
func (s *sessionStore) Take(ctx context.Context, pid string, holder adapter.NodeID) (*adapter.Session, error) {
	session, err := s.session(ctx, sessionStep{do: sessionTake, pid: pid, holder: holder})
	if err != nil {
		return nil, fmt.Errorf("take session: %w", err)
	}
	return session, nil
}

func (s *sessionStore) Write(ctx context.Context, writes []adapter.SessionWrite) ([]bool, error) {
	steps := make([]sessionStep, len(writes))
	for i, w := range writes {
		steps[i] = sessionStep{do: sessionRemove, holder: w.Holder, pid: w.Session.PID}
		if text, err := envelope.EncodeSession(w.Session); err == nil && !w.Remove && !s.log.doubts(s.namespace, w.Session.PID) { // what has no form on the wire cannot be gone on with
			steps[i].do, steps[i].ttl, steps[i].text = sessionKeep, w.TTL, text
			if w.Told {
				steps[i].do = sessionTell
			}
		}
	}
	told, err := s.log.do(ctx, s.namespace, steps...)
	if err != nil {
		return nil, fmt.Errorf("write sessions: %w", err)
	}
	held := make([]bool, len(told))
	for i := range told {
		held[i] = told[i].held
	}
	return held, nil
}
