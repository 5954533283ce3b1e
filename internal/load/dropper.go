package load

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"
)

// drops is the part of a plan that says when connections are lost, and what is sent meanwhile.
type drops struct {
	Every     time.Duration `json:"every"`
	For       time.Duration `json:"for"`
	Duration  time.Duration `json:"duration"`
	Together  bool          `json:"together,omitempty"`  // all clients at once
	Immediate bool          `json:"immediate,omitempty"` // they connect again when they can, not when the npm client would
	Rate      float64       `json:"rate"`                // messages a second
	Rooms     int           `json:"rooms"`
	Clients   int           `json:"clients"` // of all workers
	First     int           `json:"first"`   // the run's number of the worker's first client
}

// room returns the name of a client's room.
func (p *drops) room(client int) string {
	if p.Rooms == 1 {
		return Room
	}
	return Room + "-" + strconv.Itoa(client%p.Rooms)
}

// sent returns how many of n messages went to a client's room: they go to the rooms in turns.
func (p *drops) sent(n int64, client int) int64 {
	rooms := int64(p.Rooms)
	return (n + rooms - 1 - int64(client)%rooms) / rooms
}

// at returns when a client's connection is lost for the n-th time, from 0, after the beginning.
func (p *drops) at(client, n int) time.Duration {
	offset := p.Every / 2
	if !p.Together {
		offset = time.Duration((float64(client) + 0.5) / float64(p.Clients) * float64(p.Every))
	}
	return offset + time.Duration(n)*p.Every
}

// dropper is a client whose connection is lost now and then.
type dropper struct {
	// Static after construction.
	w     *worker
	index int        // of the run
	ended chan error // holds one: the connection has ended without this side's doing

	// Owned by whoever connects it, or cuts it in the end.
	client *Client
	// Owned by the connection while there is one.
	session session

	mu sync.Mutex
	// Guarded by mu.
	seen    seen
	foreign int64
	back    time.Time // end of the drop whose messages are awaited, zero for none
	last    time.Time // when the last of them came
	drops   int64
	came    int64 // back
	resumed int64
}

// connect connects the client for the first time, or again if there was no way to the server before back.
func (d *dropper) connect(ctx context.Context, back time.Time) error {
	d.session.since = time.Time{}
	d.mu.Lock()
	d.back, d.last = back, time.Time{}
	d.mu.Unlock()
	began := time.Now()
	client, err := d.w.dial(ctx, &d.w.plan.Target, d.index, d.w.plan.Drops.room(d.index), d, &d.session)
	if err != nil {
		return err
	}
	d.client = client
	d.w.opened()
	if back.IsZero() {
		d.w.connecting.add(d.index, time.Since(began))
		return nil
	}
	d.w.resuming.add(d.index, d.session.since.Sub(back))
	d.w.answering.add(d.index, d.session.since.Sub(began))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.came++
	if client.recovered {
		d.resumed++
	}
	return nil
}

// OnEvent counts a message, and finds out when the client has what it has missed.
func (d *dropper) OnEvent(c *Client, args []byte) {
	payload, ok := payloadOf(args, "msg")
	if !ok {
		return // a server may greet
	}
	now := time.Now()
	s, err := parseStamp(payload, d.w.plan.Tag)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil || s.number == 0 || s.number > maxSeen {
		d.foreign++
		return
	}
	if d.seen.add(s.number) {
		d.w.received.Add(1)
		d.w.latency.add(d.index, now.Sub(s.sent))
	}
	if !d.back.IsZero() {
		d.catchUpLocked(c, now, s.sent)
	}
}

// catchUpLocked is called for each message after a drop until one comes that was sent when the client was back. The one before it was
// the last that it had missed.
func (d *dropper) catchUpLocked(c *Client, now, sent time.Time) {
	since := d.session.since
	if since.IsZero() || sent.Before(since) {
		d.last = now
		return
	}
	if c.recovered { // else what it has missed does not come
		if d.last.After(since) {
			since = d.last
		}
		d.w.catching.add(d.index, since.Sub(d.back))
	}
	d.back = time.Time{}
}

// OnAck has nothing to do: droppers ask for nothing.
func (d *dropper) OnAck(*Client, int, []byte) {}

// OnEnd counts connections that end by themselves.
func (d *dropper) OnEnd(_ *Client, err error, closed bool) {
	d.w.open.Add(-1)
	if closed {
		return
	}
	d.w.lost(err)
	d.ended <- err // nobody but the next connection would send another
}

// cut ends the connection, and forgets that it may have ended by itself at the same moment.
func (d *dropper) cut() {
	if d.client == nil {
		return
	}
	d.client.Cut()
	d.client = nil
	select {
	case <-d.ended:
	default:
	}
}

// live loses the connection when the plan says so, comes back, and does so as well when the connection has ended by itself, until end.
// A client that is not back by the deadline of ctx stays away.
func (d *dropper) live(ctx context.Context, begin time.Time) {
	p := d.w.plan.Drops
	end := begin.Add(p.Duration)
	for n := 0; ; {
		drop := begin.Add(p.at(d.index, n))
		last := !drop.Before(end)
		if last {
			drop = end
		}
		timer := time.NewTimer(time.Until(drop))
		select {
		case <-timer.C:
			if last {
				return
			}
			n++
			d.cut()
			d.comeBack(ctx, drop, drop.Add(p.For))
		case err := <-d.ended:
			timer.Stop()
			d.client = nil
			if errors.Is(err, errDisconnected) {
				return // by the server's will: the npm client would not come back
			}
			now := time.Now()
			d.comeBack(ctx, now, now)
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// comeBack connects again, as often as it takes. The way to the server is open from back on.
func (d *dropper) comeBack(ctx context.Context, lost, back time.Time) {
	d.mu.Lock()
	d.drops++
	d.mu.Unlock()
	var wait backoff
	at := back
	if !d.w.plan.Drops.Immediate {
		at = wait.attempt(lost, back)
	}
	for sleepUntil(ctx, at) {
		err := d.connect(ctx, back)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			d.w.failed(err, &d.w.total.Again)
		}
		at = time.Now().Add(wait.next())
	}
}

// sleepUntil reports whether ctx has not ended before at.
func sleepUntil(ctx context.Context, at time.Time) bool {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// complete reports whether all of total messages that were due have come, or none of them will any more by itself: the last is there.
func (d *dropper) complete(total int64) (all, last bool) {
	due := d.w.plan.Drops.sent(total, d.index)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen.got >= due, d.seen.newest >= due
}

// report counts what was due of total messages; 0 means that nobody has told how many there were: those up to the newest that has come.
func (d *dropper) report(total int64) *report {
	d.mu.Lock()
	defer d.mu.Unlock()
	due := d.seen.newest
	if total > 0 {
		due = d.w.plan.Drops.sent(total, d.index)
	}
	return &report{Sent: due, Got: d.seen.got, Late: d.seen.late, Double: d.seen.double, Foreign: d.foreign,
		Drops: d.drops, Back: d.came, Resumed: d.resumed}
}
