package load

import (
	"bytes"
	"sync"
	"time"
)

// receiver is what one client sees.
type receiver struct {
	// Static after construction.
	w       *worker
	arrived chan struct{} // holds one token when a message has come, for churn

	sending sync.Mutex // held while a message gets its number and is sent; before mu

	mu sync.Mutex
	// Guarded by mu.
	tally   tally
	sent    int64
	foreign int64
	ended   bool
	mode    mode
	target  string        // id, room or user that its messages go to; "" is the sender itself
	next    func() string // what to ask for at the next acknowledgement, see ask; nil for nothing. Called by one goroutine at a time, without mu
}

// mode says what a receiver does with a message that it has counted.
type mode int

const (
	collecting mode = iota // it tells when all copies of a broadcast have come
	relaying               // it sends the next of an exchange
	counting               // it counts down those that are to come
)

func newReceiver(w *worker) *receiver {
	return &receiver{w: w, tally: tally{copies: w.plan.Copies}, arrived: make(chan struct{}, 1)}
}

// OnEvent counts a message and, in an exchange, sends the next.
func (r *receiver) OnEvent(c *Client, args []byte) {
	payload, ok := payloadOf(args, "msg")
	if !ok {
		if payload, ok = payloadOf(args, "message-back"); !ok {
			return // a server may greet
		}
	}
	r.message(c, payload, true)
}

// OnBinary counts a message that is an attachment, which must have its whole size.
func (r *receiver) OnBinary(c *Client, args, attachment []byte) {
	if bytes.HasPrefix(args, []byte(`["msg",{`)) || bytes.HasPrefix(args, []byte(`["message-back",{`)) {
		r.message(c, attachment, len(attachment) == r.w.plan.Size)
	}
}

// message counts a message, if it is whole, and does what comes next.
func (r *receiver) message(c *Client, payload []byte, whole bool) {
	s, err := parseStamp(payload, r.w.plan.Tag)
	if err != nil || !whole {
		r.mu.Lock()
		r.foreign++
		r.mu.Unlock()
		return
	}
	r.w.latency.add(c.Index, time.Since(s.sent))
	r.mu.Lock()
	before := r.tally.got
	complete := r.tally.add(s.number)
	counts := r.tally.got > before
	mode := r.mode
	r.mu.Unlock()
	if !counts {
		return
	}
	r.w.received.Add(1)
	switch {
	case mode == relaying:
		r.w.pass(c, r)
	case mode == counting:
		r.w.arrived()
	case complete:
		r.w.has(s.number)
		select {
		case r.arrived <- struct{}{}:
		default:
		}
	}
}

// OnEnd counts connections that end by themselves.
func (r *receiver) OnEnd(_ *Client, err error, closed bool) {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.w.left()
	if !closed {
		r.w.lost(err)
	}
}

func (r *receiver) report() *report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &report{Sent: r.sent, Got: r.tally.got, Late: r.tally.late, Double: r.tally.double, Foreign: r.foreign}
}
