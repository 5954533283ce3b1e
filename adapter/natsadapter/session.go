package natsadapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
)

const (
	// batchSize is how many messages are taken from the queue at once.
	batchSize = 256
	// confirmEvery is how long what was written is not confirmed at most.
	confirmEvery = time.Second
	// gatherWithin is how long this node waits for the others that listened before the connection ended, gatherEvery the time between
	// two looks.
	gatherWithin = 2500 * time.Millisecond
	gatherEvery  = 20 * time.Millisecond
	// settleWithin is how long a new connection waits at most until the ones before it have ended at NATS, maxFormer how many of them are
	// remembered.
	settleWithin = time.Second
	maxFormer    = 4
)

// session is one connection to NATS from its beginning to its end. It has three goroutines: the hub's, which makes subscriptions
// and writes; one that sorts what arrives; and one that has the server confirm what was written, by an answer that follows it.
type session struct {
	// Static once the connection is made.
	hub    *hub
	dialer *dialer
	nc     *nats.Conn
	number int // how many connections of the hub there have been, this one included; set by begin

	in     chan *nats.Msg // what arrives, and a message without a subscription for each of marks
	closed chan struct{}  // closed by end
	wake   chan struct{}  // capacity 1; there is something to confirm
	depart chan struct{}  // capacity 1; the server is about to stop

	// Guarded by mu.
	mu        sync.Mutex
	over      bool
	reason    error                      // why it has ended
	receipts  []receipt                  // of messages that were written
	written   uint64                     // messages
	confirmed uint64                     // of them, those that the server has got
	marks     []func()                   // what to do when all that has arrived until now has been sorted
	replies   uint64                     // numbers the messages of which we want to know whether anybody listens
	unheard   map[uint64]bool            // those to which nobody listens
	dropped   map[*nats.Subscription]int // of those that came too fast: how many were lost, as last seen
	refusal   error                      // the last thing that NATS has refused
	reaching  *reach                     // what is being asked of other nodes
	reached   time.Time                  // when that was last done
}

// receipt is a message whose sender wants to know what has become of it.
type receipt struct {
	*outgoing
	reply uint64 // its number; 0 if it has none
}

func newSession(h *hub) *session {
	return &session{
		hub: h, in: make(chan *nats.Msg, inbound), closed: make(chan struct{}), wake: make(chan struct{}, 1), depart: make(chan struct{}, 1),
		unheard: make(map[uint64]bool), dropped: make(map[*nats.Subscription]int),
	}
}

// run works until the connection ends or the server closes.
func (s *session) run() {
	s.hub.stats.connections.Add(1)
	defer s.hub.stats.connections.Add(-1)
	var others sync.WaitGroup
	others.Go(s.sort)
	err := s.begin()
	if err == nil {
		others.Go(s.attend)
		err = s.work()
	}
	if errors.Is(err, errClosed) || errors.Is(err, errLameDuck) {
		_ = s.nc.FlushTimeout(outflow.CloseWithin) // what was written last
	}
	s.end(err)
	s.hub.lost(s, s.why()) // it may have ended before the hub knew it
	s.dialer.abort()
	s.nc.Close()
	others.Wait()
	s.giveUp()
}

// begin subscribes to all that is wanted, and waits until former connections have ended and the other nodes are back.
func (s *session) begin() error {
	s.number = s.hub.begin(s)
	again := s.number > 1
	if _, err := s.nc.ChanSubscribe(s.hub.subjects.connection(s.number), s.in); err != nil {
		return s.because(err)
	}
	if err := s.subscribe(); err != nil {
		return err
	}
	fresh := s.hub.subs.unconfirmed()
	if err := s.flush(); err != nil {
		return err
	}
	s.lookForRefusal()
	s.hub.subs.confirm(fresh)
	if again {
		if err := s.settle(); err != nil {
			return err
		}
		if err := s.gather(); err != nil {
			return err
		}
	}
	s.hub.former = append(s.hub.former, s.hub.subjects.connection(s.number))
	s.hub.begun(s)
	return nil
}

// work writes what waits.
func (s *session) work() error {
	q := s.hub.queue
	batch := make([]*outgoing, 0, batchSize)
	for {
		if err := s.subscribe(); err != nil {
			return err
		}
		batch = q.take(batch[:0])
		for i, o := range batch {
			if err := s.write(o); err != nil {
				q.putBack(batch[i:])
				return err
			}
		}
		if q.over() { // also behind the last of what waited: nobody wakes us again
			return errClosed
		}
		if full := len(batch) == cap(batch); full && !s.isOver() {
			continue
		}
		clear(batch)
		select {
		case <-q.wake:
		case <-s.closed:
			return s.why()
		case <-s.hub.ctx.Done():
			return errClosed
		case <-s.depart:
			if len(s.nc.Servers()) > 1 {
				return errLameDuck
			}
		}
	}
}

// subscribe makes and ends subscriptions as they are wanted.
func (s *session) subscribe() error {
	made := false
	for _, c := range s.hub.subs.changes() {
		if c.end != nil {
			_ = c.end.Unsubscribe() // it fails only if the connection has ended
		}
		if !c.subscribe {
			continue
		}
		sub, err := s.nc.ChanSubscribe(c.subject, s.in)
		if err != nil {
			return s.because(fmt.Errorf("subscribe to %s: %w", c.subject, err))
		}
		s.hub.subs.subscribed(c.subject, sub)
		made = true
	}
	if made {
		s.poke()
	}
	return nil
}

func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// write hands a message to the connection. It waits while that takes nothing. With an error it has not been written.
func (s *session) write(o *outgoing) error {
	select {
	case <-s.closed:
		return s.why()
	default:
	}
	r := receipt{outgoing: o}
	reply := o.from
	switch {
	case o.single && o.sent != nil:
		r.reply, reply = s.nextReply()
	case reply == "" && s.number > 1:
		reply = s.hub.subjects.connection(s.number)
	}
	err := s.nc.PublishRequest(o.subject, reply, o.body)
	switch {
	case err == nil:
		s.wrote(r)
	case errors.Is(err, nats.ErrConnectionClosed):
		return s.because(err)
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject):
		s.hub.queue.ended([]*outgoing{o}, outflow.TooLarge, err)
	default: // some of it may have been written
		s.wrote(r)
		s.end(fmt.Errorf("write to nats: %w", err))
	}
	return nil
}

func (s *session) wrote(r receipt) {
	s.hub.stats.Sent.Add(1)
	s.mu.Lock()
	s.written++
	if r.sent != nil {
		s.receipts = append(s.receipts, r)
	}
	s.mu.Unlock()
	if r.sent != nil {
		s.poke()
	}
}

// nextReply returns a number, and the subject on which NATS tells that nobody has heard the message with that number.
func (s *session) nextReply() (n uint64, subject string) {
	s.mu.Lock()
	s.replies++
	n = s.replies
	s.mu.Unlock()
	return n, s.hub.subjects.reply(strconv.Itoa(s.number) + "-" + strconv.FormatUint(n, 10))
}

// noteReply takes what arrives on such a subject.
func (s *session) noteReply(m *nats.Msg) {
	connection, number, _ := strings.Cut(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || connection != strconv.Itoa(s.number) || m.Header.Get("Status") != "503" || len(m.Data) > 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n <= s.replies {
		s.unheard[n] = true
	}
}

// sort hands what arrives to the sinks of the subjects.
func (s *session) sort() {
	for {
		select {
		case m := <-s.in:
			s.take(m)
		case <-s.closed:
			for {
				select {
				case m := <-s.in:
					s.take(m)
				default:
					return
				}
			}
		}
	}
}

func (s *session) take(m *nats.Msg) {
	if m.Sub == nil {
		s.mu.Lock()
		do := s.marks[0]
		s.marks = s.marks[1:]
		s.mu.Unlock()
		do()
		return
	}
	if to := s.hub.subs.sink(m.Sub.Subject); to != nil {
		to(m)
	}
}

// mark has do called when all that has arrived until now has been sorted, unless the connection ends before.
func (s *session) mark(do func()) {
	s.mu.Lock()
	s.marks = append(s.marks, do)
	s.mu.Unlock()
	select {
	case s.in <- &nats.Msg{}:
	case <-s.closed:
	}
}

// attend has the server confirm what was written.
func (s *session) attend() {
	tick := time.NewTicker(confirmEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.wake:
		case <-tick.C:
			s.lookForOverruns()
		case <-s.closed:
			return
		}
		if err := s.confirm(); err != nil {
			s.end(err)
			return
		}
	}
}

// confirm waits for an answer to all that was written until now.
func (s *session) confirm() error {
	fresh := s.hub.subs.unconfirmed()
	s.mu.Lock()
	written, receipts := s.written, len(s.receipts)
	idle := written == s.confirmed
	s.mu.Unlock()
	if idle && len(fresh) == 0 {
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	s.lookForRefusal()
	s.mu.Lock()
	s.confirmed = written
	sent := s.receipts[:receipts:receipts]
	s.receipts = s.receipts[receipts:]
	s.mu.Unlock()
	if len(sent) > 0 {
		s.mark(func() { s.deliver(sent) })
	}
	if len(fresh) > 0 {
		s.reach()
		s.hub.subs.confirm(fresh)
		s.hub.review()
	}
	return nil
}

// deliver tells what has become of messages that the server has got.
func (s *session) deliver(list []receipt) {
	for _, r := range list {
		if err := s.hub.queue.refusedOn(r.subject); err != nil {
			r.fail(err)
			continue
		}
		receivers := -1
		if r.reply > 0 {
			receivers = 1
			s.mu.Lock()
			if s.over {
				receivers = -1 // it may have said so to nobody
			}
			if s.unheard[r.reply] {
				receivers = 0
				delete(s.unheard, r.reply)
			}
			s.mu.Unlock()
		}
		r.sent(adapter.Receipt{Receivers: receivers})
	}
}

// flush waits until the server has answered to all that was written.
func (s *session) flush() error {
	err := s.nc.FlushTimeout(s.hub.opts.AnswerTimeout)
	if errors.Is(err, nats.ErrTimeout) {
		return errNoAnswer
	}
	return s.because(err)
}

// settle waits until NATS has read former connections to their end: a server that was frozen may still have what was written to them,
// and what is written to this one would overtake it. It does not wait for a server that does not know that a connection is dead.
func (s *session) settle() error {
	former := s.hub.former[max(len(s.hub.former)-maxFormer, 0):]
	deadline := time.Now().Add(settleWithin)
	for {
		gone, err := s.probe(former)
		if err != nil {
			return err
		}
		former = slices.DeleteFunc(slices.Clone(former), func(subject string) bool { return slices.Contains(gone, subject) })
		if len(former) == 0 || time.Now().After(deadline) {
			break
		}
		if !s.pause(gatherEvery) {
			return s.why()
		}
	}
	s.hub.former = former
	return nil
}

// gather waits until those nodes are back that were there before the connection ended: what was kept for them is worth nothing
// until they hear it.
func (s *session) gather() error {
	inboxes := make(map[string]adapter.NodeID)
	for _, id := range s.hub.peers.list() {
		inboxes[s.hub.subjects.inbox(id)] = id
	}
	missing := slices.Collect(maps.Keys(inboxes))
	deadline := time.Now().Add(gatherWithin)
	for len(missing) > 0 {
		var err error
		if missing, err = s.probe(missing); err != nil {
			return err
		}
		if len(missing) == 0 || time.Now().After(deadline) {
			break
		}
		if !s.pause(gatherEvery) {
			return s.why()
		}
	}
	ids := make([]adapter.NodeID, len(missing))
	for i, subject := range missing {
		ids[i] = inboxes[subject]
	}
	s.hub.peers.forget(ids)
	return nil
}

// probe returns those of some subjects that nobody has subscribed to.
func (s *session) probe(subjects []string) (missing []string, err error) {
	if len(subjects) == 0 {
		return nil, nil
	}
	numbers := make(map[uint64]string, len(subjects))
	for _, subject := range subjects {
		n, reply := s.nextReply()
		numbers[n] = subject
		if err := s.nc.PublishRequest(subject, reply, nil); err != nil {
			return nil, s.because(err)
		}
	}
	if err := s.flush(); err != nil {
		return nil, err
	}
	sorted := make(chan struct{})
	s.mark(func() { close(sorted) })
	select {
	case <-sorted:
	case <-s.closed:
		return nil, s.why()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, subject := range numbers {
		if s.unheard[n] {
			delete(s.unheard, n)
			missing = append(missing, subject)
		}
	}
	return missing, nil
}

// end ends the session for a reason, unless it has one already.
func (s *session) end(reason error) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return
	}
	s.over, s.reason = true, reason
	s.mu.Unlock()
	close(s.closed)
	s.hub.lost(s, reason)
	s.dialer.abort() // whoever waits for the connection waits no longer
}

// ended is told by nats.go that the connection has ended.
func (s *session) ended(reason error) { s.end(cmp.Or(reason, errLost)) }

func (s *session) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// why returns the reason why the session has ended.
func (s *session) why() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return cmp.Or(s.reason, errLost)
}

// because returns the reason why the session has ended, or an error if it has not.
func (s *session) because(err error) error {
	if err != nil && s.isOver() {
		return s.why()
	}
	return err
}

// giveUp tells what has become of the messages that the server has confirmed, and that the others may be lost.
func (s *session) giveUp() {
	s.mu.Lock()
	reason, unconfirmed, receipts := s.reason, s.written-s.confirmed, s.receipts
	marks := s.marks
	s.receipts, s.marks = nil, nil
	s.mu.Unlock()
	for _, do := range marks {
		do() // the server had confirmed these messages
	}
	if errors.Is(reason, errClosed) || errors.Is(reason, errLameDuck) {
		unconfirmed = 0 // it was flushed
	}
	if unconfirmed > 0 {
		s.hub.stats.Fail(trouble(reason), int(unconfirmed))
	}
	for _, r := range receipts {
		r.fail(reason)
	}
}

// discovered notes the servers that NATS has told of.
func (s *session) discovered(nc *nats.Conn) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.urls = withDiscovered(s.hub.urls, nc)
}

// leave has the session end as soon as there is another server to go to.
func (s *session) leave() {
	select {
	case s.depart <- struct{}{}:
	default:
	}
}

// pause waits, and reports whether the session goes on.
func (s *session) pause(d time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	select {
	case <-ctx.Done():
		return true
	case <-s.closed:
		return false
	}
}
