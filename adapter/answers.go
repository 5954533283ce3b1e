package adapter

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// answers are those that this node still owes to others: acknowledgements of its sockets.
type answers struct {
	// Static after construction.
	local   Local
	bus     Bus
	timeout time.Duration // for questions that do not say how long to wait

	timers sync.WaitGroup // timers that may still fire

	mu sync.Mutex
	// Guarded by mu.
	open   map[*ackAnswer]struct{}
	closed bool
}

// serverSide returns what the handlers of a server-side event reply to; nil if no reply is wanted.
func (a *answers) serverSide(question *Message) func(parser.Payload) {
	if question.Request == "" {
		return nil
	}
	return func(reply parser.Payload) {
		a.bus.Respond(question, &Message{Kind: KindServerReply, Request: question.Request, Payload: reply})
	}
}

// ackAnswer is a broadcast whose acknowledgements another node waits for. No goroutine belongs to it: it moves on with
// the acknowledgements, and a timer ends it.
type ackAnswer struct {
	// Static once it is in answers.open.
	answers  *answers
	question *Message
	cancel   func() (silent []string)
	timer    *time.Timer

	left atomic.Int64 // sockets that have neither acknowledged nor gone

	mu sync.Mutex
	// Guarded by mu.
	counted bool       // the number of sockets has been sent
	early   []*Message // what came before
}

// broadcast delivers the packet of a question and sends the acknowledgements as they come, after their number.
func (a *answers) broadcast(m *Message) {
	question := *m
	question.Packet = nil // need not be kept for so long
	w := &ackAnswer{answers: a, question: &question}
	n, cancel := a.local.DeliverWithAck(m.Packet, m.Selection, m.Flags, w.ack, w.gone)
	a.bus.Respond(&question, &Message{Kind: KindCount, Request: question.Request, Count: n})
	if n == 0 {
		return
	}
	w.cancel = cancel
	w.left.Store(int64(n))
	if !a.add(w) {
		cancel()
		return
	}
	w.mu.Lock()
	early := w.early
	w.counted, w.early = true, nil
	w.mu.Unlock()
	for _, e := range early {
		w.send(e)
	}
}

func (w *ackAnswer) ack(sid string, value parser.Payload) {
	w.say(&Message{Kind: KindAck, Request: w.question.Request, SocketID: sid, Payload: value})
}

func (w *ackAnswer) gone(sid string) {
	w.say(&Message{Kind: KindGone, Request: w.question.Request, SocketIDs: []string{sid}})
}

// say sends what happened to one socket, unless the number of sockets has to be sent first.
func (w *ackAnswer) say(m *Message) {
	w.mu.Lock()
	counted := w.counted
	if !counted {
		w.early = append(w.early, m)
	}
	w.mu.Unlock()
	if counted {
		w.send(m)
	}
}

func (w *ackAnswer) send(m *Message) {
	w.answers.bus.Respond(w.question, m)
	if w.left.Add(-1) == 0 {
		w.answers.remove(w)
	}
}

// expire is called by the timer: it names the sockets that stayed silent.
func (w *ackAnswer) expire() {
	a := w.answers
	defer a.timers.Done()
	a.mu.Lock()
	delete(a.open, w)
	a.mu.Unlock()
	for sids := range slices.Chunk(w.cancel(), 1000) { // of messages with a sensible length
		a.bus.Respond(w.question, &Message{Kind: KindGone, Request: w.question.Request, SocketIDs: sids})
	}
}

// add starts the timer. It reports false after close.
func (a *answers) add(w *ackAnswer) bool {
	timeout := w.question.Flags.Timeout
	if timeout <= 0 {
		timeout = a.timeout
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.open[w] = struct{}{}
	a.timers.Add(1)
	w.timer = time.AfterFunc(timeout, w.expire)
	return true
}

func (a *answers) remove(w *ackAnswer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.open, w)
	if w.timer.Stop() {
		a.timers.Done()
	}
}

// close stops waiting for acknowledgements, and tells nobody: the node as a whole is leaving.
func (a *answers) close() {
	a.mu.Lock()
	a.closed = true
	open := a.open
	a.open = nil
	for w := range open {
		if w.timer.Stop() {
			a.timers.Done()
		}
	}
	a.mu.Unlock()
	for w := range open {
		w.cancel()
	}
	a.timers.Wait()
}
