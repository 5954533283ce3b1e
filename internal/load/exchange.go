package load

import (
	"context"
	"sync"
	"time"
)

var packets = sync.Pool{New: func() any { return new([]byte) }}

// exchange has so many messages go to and fro: several are under way at a time, and whoever receives one sends the next.
// A client's messages go back to itself, or with plan.Targeted to the socket of its neighbour, so that each receiver
// hears one sender only. It returns when all have arrived, or when none has for plan.Timeout.
func (w *worker) exchange(ctx context.Context, messages int64) {
	connected := w.connected()
	tokens := min(int64(w.plan.InFlight), int64(len(connected)), messages)
	if tokens <= 0 {
		return
	}
	w.exchanged = make(chan struct{})
	for i, s := range connected {
		target := ""
		if w.plan.Targeted {
			next := connected[(i+1)%len(connected)].client
			target = w.plan.address(w.plan.First+next.Index, next.SID)
		}
		s.receiver.prepare(relaying, target)
	}
	w.remaining.Store(messages)
	w.tokens.Store(tokens)
	for i := range tokens {
		s := connected[int(i)*len(connected)/int(tokens)]
		w.pass(s.client, s.receiver)
	}
	w.awaitExchange(ctx)
	for _, s := range connected {
		s.receiver.prepare(collecting, "")
	}
}

// connected returns the slots whose client has not ended.
func (w *worker) connected() []*slot {
	var list []*slot
	for _, s := range w.clients {
		if s.receiver != nil && !s.receiver.gone() {
			list = append(list, s)
		}
	}
	return list
}

// awaitExchange returns when nothing is under way any more, or nothing moves.
func (w *worker) awaitExchange(ctx context.Context) {
	timer := time.NewTimer(w.plan.Timeout)
	defer timer.Stop()
	moved := func() int64 { return w.received.Load() + w.answers.Load() }
	for before := moved(); ; {
		select {
		case <-w.exchanged:
			return
		case <-ctx.Done():
			w.remaining.Store(0)
			return
		case <-timer.C:
			now := moved()
			if now == before {
				w.remaining.Store(0)
				return
			}
			before = now
			timer.Reset(w.plan.Timeout)
		}
	}
}

// pass sends the next message from a client, or takes one from circulation when all have been sent.
func (w *worker) pass(c *Client, r *receiver) {
	if w.remaining.Add(-1) >= 0 {
		r.send(c, time.Now())
		return
	}
	w.arrived()
}

// arrived takes one message off those that are awaited.
func (w *worker) arrived() {
	if w.tokens.Add(-1) == 0 {
		close(w.exchanged)
	}
}

func (r *receiver) prepare(m mode, target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mode, r.target = m, target
}

func (r *receiver) gone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// send sends one message, whose stamp says when it was to be sent. An error is heard of when the connection is read.
func (r *receiver) send(c *Client, due time.Time) {
	r.sending.Lock() // messages go out in the order of their numbers
	defer r.sending.Unlock()
	r.mu.Lock()
	r.sent++
	number, target := r.sent, r.target
	r.mu.Unlock()
	args := `["message",`
	if target != "" {
		args = `["` + r.w.plan.event() + `","` + target + `",`
	}
	_ = r.w.emit(c, "", args, number, due)
}

// placeholder stands for an attachment.
const placeholder = `{"_placeholder":true,"num":0}`

// emit sends an event with a payload as last argument; args are those before it, from the opening bracket on.
func (w *worker) emit(c *Client, id, args string, number int64, due time.Time) error {
	buf := packets.Get().(*[]byte)
	defer packets.Put(buf)
	if w.plan.Binary {
		*buf = appendStamp((*buf)[:0], w.plan.Tag, number, due, w.plan.Size)
		return c.EmitBinary([]byte("451-"+id+args+placeholder+"]"), *buf)
	}
	p := append(append(append(append((*buf)[:0], "42"...), id...), args...), '"')
	*buf = append(appendStamp(p, w.plan.Tag, number, due, w.plan.Size), `"]`...)
	return c.Emit(*buf)
}

// churn replaces clients: each in turn leaves in the orderly way, comes back, and proves with an echo that it is there.
func (w *worker) churn(ctx context.Context, cycles int) {
	if len(w.clients) == 0 {
		return
	}
	pace := newPace(w.plan.Rate)
	workers := min(w.plan.Concurrency, len(w.clients), cycles)
	var churning sync.WaitGroup
	for first := range workers {
		churning.Go(func() {
			slot := first
			for done := first; done < cycles && pace.wait(ctx); done += workers {
				w.replace(ctx, slot)
				if slot += workers; slot >= len(w.clients) {
					slot = first
				}
			}
		})
	}
	churning.Wait()
}

// replace makes one cycle of churn. Only the calling goroutine uses the slot.
func (w *worker) replace(ctx context.Context, i int) {
	s := w.clients[i]
	if s.client != nil {
		leave, cancel := context.WithTimeout(ctx, w.plan.Timeout)
		_ = s.client.Close(leave) // whatever comes of it, the connection is gone
		cancel()
		w.mu.Lock()
		w.total.add(s.receiver.report())
		w.mu.Unlock()
		s.client, s.receiver = nil, nil
	}
	if w.fill(ctx, i) != nil {
		return
	}
	s.receiver.send(s.client, time.Now())
	timer := time.NewTimer(w.plan.Timeout)
	defer timer.Stop()
	select {
	case <-s.receiver.arrived:
	case <-timer.C:
	case <-ctx.Done():
	}
}
