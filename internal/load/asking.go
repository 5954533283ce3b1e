package load

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

var errUnanswered = errors.New("the server does not acknowledge what the clients ask for before the messages: the events join or login")

// ask has a client make one request after the other, each when the one before is acknowledged, until next has no more and returns "".
// A request is the arguments of an event.
func (r *receiver) ask(c *Client, next func() string) {
	r.mu.Lock()
	r.next = next
	r.mu.Unlock()
	r.request(c)
}

// request makes the next request, or says that there is none. An error is heard of when the connection is read.
func (r *receiver) request(c *Client) {
	r.mu.Lock()
	next := r.next
	r.mu.Unlock()
	if next == nil {
		return
	}
	if args := next(); args != "" {
		_ = c.Emit([]byte("421" + args))
		return
	}
	r.mu.Lock()
	r.next = nil
	r.mu.Unlock()
	r.w.arrived()
}

// OnAck makes the next request.
func (r *receiver) OnAck(c *Client, _ int, _ []byte) {
	r.w.answers.Add(1)
	r.request(c)
}

// enter has each client log in or join a room of its own, if messages are to go there, and its share of the other rooms.
func (w *worker) enter(ctx context.Context) error {
	connected := w.connected()
	if len(connected) == 0 {
		return nil
	}
	w.exchanged = make(chan struct{})
	w.tokens.Store(int64(len(connected)))
	for _, s := range connected {
		s.receiver.ask(s.client, w.plan.entries(w.plan.First+s.client.Index))
	}
	w.awaitExchange(ctx)
	if w.tokens.Load() > 0 && ctx.Err() == nil {
		return errUnanswered
	}
	return nil
}

// entries returns what client i asks for before the messages, one request at a time.
func (p *plan) entries(i int) func() string {
	own := p.To != ToSocket
	room := i
	beside := 0
	return func() string {
		switch {
		case own && p.To == ToUser:
			own = false
			return `["login","` + p.address(i, "") + `"]`
		case own:
			own = false
			return `["join","` + p.address(i, "") + `"]`
		case p.Rooms > p.Clients && room >= p.Rooms, p.Rooms <= p.Clients && beside > 0, p.Rooms == 0:
			return ""
		}
		beside++
		name := besideRoom(int64(room % p.Rooms))
		room += p.Clients
		return `["join","` + name + `"]`
	}
}

// besideRoom is the name of one of the rooms that are there beside those of the messages.
func besideRoom(n int64) string { return "beside-" + strconv.FormatInt(n, 10) }

// address is what messages for client i, whose socket is sid, are sent to.
func (p *plan) address(i int, sid string) string {
	switch p.To {
	case ToRoom:
		return "room-" + strconv.Itoa(i)
	case ToUser:
		return "user-" + strconv.Itoa(i)
	}
	return sid
}

// event is the name of the event that sends a message there.
func (p *plan) event() string {
	if p.To == ToUser {
		return "tell"
	}
	return "direct"
}

// joins has clients join and leave rooms, the next of them in turns each time, several clients at the same time. A message is such a
// pair here. It returns when all have been acknowledged, or when none has for plan.Timeout.
func (w *worker) joins(ctx context.Context, pairs int64) {
	connected := w.connected()
	tokens := min(int64(w.plan.InFlight), int64(len(connected)), pairs)
	if tokens <= 0 {
		return
	}
	w.exchanged = make(chan struct{})
	w.remaining.Store(pairs)
	w.tokens.Store(tokens)
	for i := range tokens {
		s := connected[int(i)*len(connected)/int(tokens)]
		s.receiver.ask(s.client, w.pairs(s.client, s.receiver))
	}
	w.awaitExchange(ctx)
}

// pairs returns a client's requests: to join a room, to leave it, and so on while there are pairs to be done.
func (w *worker) pairs(c *Client, r *receiver) func() string {
	inside, room := false, ""
	var began time.Time
	return func() string {
		if inside && room != "" {
			inside = false
			return `["leave","` + room + `"]`
		}
		if room != "" {
			w.latency.add(c.Index, time.Since(began))
			w.received.Add(1)
			r.mu.Lock()
			r.tally.add(r.tally.current + 1)
			r.mu.Unlock()
		}
		n := w.remaining.Add(-1)
		if n < 0 {
			return ""
		}
		r.mu.Lock()
		r.sent++
		r.mu.Unlock()
		began, inside, room = time.Now(), true, besideRoom((n*int64(w.plan.Workers)+int64(w.plan.Worker))%int64(w.plan.Rooms))
		return fmt.Sprintf(`["join",%q]`, room)
	}
}
