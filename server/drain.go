package server

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// defaultDrainRate is how many connections Drain closes in a second.
const defaultDrainRate = 1000

// ErrUndrained ends a Drain that Undrain has called off.
var ErrUndrained = errors.New("called off")

// DrainOptions say how fast a server is drained. Nil and the zero value mean the defaults.
type DrainOptions struct {
	// Grace is how long new clients are still served, so that load balancers learn that they should send them elsewhere. Default 0.
	Grace time.Duration

	// Rate is how many connections are closed in a second: clients come back within a second or two, and the other nodes have to
	// take them. Default 1000.
	Rate int

	// Timeout, which begins after Grace, bounds the time until the last connection is closed: Rate is raised if it would take
	// longer than four fifths of it, and at the end what is still queued is dropped. Default: no bound; a client that takes
	// nothing is kept as long as its heartbeat allows.
	Timeout time.Duration
}

func (o *DrainOptions) settings() (DrainOptions, error) {
	var s DrainOptions
	if o != nil {
		s = *o
	}
	err := errors.Join(
		setting("Grace", &s.Grace, 0), setting("Rate", &s.Rate, defaultDrainRate), setting("Timeout", &s.Timeout, 0),
	)
	return s, err
}

// draining is whether a server drains, and what it has done for it. The zero value is ready.
type draining struct {
	drained, cut atomic.Uint64
	running      atomic.Int64 // calls of Drain

	mu sync.Mutex
	// Guarded by mu, which is held while the engine and the cluster are told; neither blocks.
	off chan struct{} // closed by Undrain; nil unless the server drains
}

// Drain empties the server, so that it can end without its clients noticing more than a reconnect. Draining is true at once, and the
// other nodes are told. After Grace new handshakes are answered 503 with a Retry-After; the sessions that are there poll, post and
// upgrade as before. Then connections are closed in random order: sockets disconnect with the reason "server shutting down",
// what is queued for the client is sent, and the transport closes, without a DISCONNECT packet, a close packet or a close frame, so that
// the client reconnects by itself. Websockets that a Forwarder relays to other nodes end at the same pace.
//
// Drain returns nil when nothing is left, also if Timeout had to cut something off, which the log tells; the error of ctx if that
// ends first, and the rest stays as it is then; ErrUndrained if Undrain was called. The server goes on draining until Undrain or
// Shutdown. Shutdown is what remains to be done: it closes at once what there still is, waits for handlers, and leaves
// the cluster. Several calls at a time add up: each closes connections at its own rate.
func (srv *Server) Drain(ctx context.Context, opts *DrainOptions) error {
	o, err := opts.settings()
	if err != nil {
		return failed("drain", err)
	}
	srv.drain.running.Add(1) // before Draining is true: who sees that must not think that the drain has ended
	defer srv.drain.running.Add(-1)
	off := srv.beginDrain()
	srv.opts.Logger.Info("draining", "sessions", srv.engine.Len(), "grace", o.Grace, "rate", o.Rate, "timeout", o.Timeout)
	err = srv.awaitGrace(ctx, off, o.Grace)
	if err == nil {
		err = srv.refuseHandshakes(off)
	}
	if err == nil {
		d := &drain{farewells: farewells{srv: srv, pace: newPace(o.Rate)}, began: time.Now(), timeout: o.Timeout}
		err = d.run(ctx, off)
	}
	return failed("drain", err)
}

// Draining reports whether the server drains, or has begun to shut down: load balancers should send no new clients.
func (srv *Server) Draining() bool {
	srv.drain.mu.Lock()
	defer srv.drain.mu.Unlock()
	return srv.drain.off != nil || srv.closing.Load()
}

// Undrain ends what Drain has begun, at any point: the server takes new clients again, and connections that are not closed yet stay.
func (srv *Server) Undrain() {
	if srv.endDrain() {
		srv.opts.Logger.Info("not draining any more", "sessions", srv.engine.Len())
	}
}

func (srv *Server) endDrain() bool {
	d := &srv.drain
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off == nil || srv.closing.Load() {
		return false
	}
	close(d.off)
	d.off = nil
	srv.engine.RefuseHandshakes(false)
	srv.cluster.SetDraining(false)
	return true
}

// beginDrain returns what Undrain closes.
func (srv *Server) beginDrain() (off <-chan struct{}) {
	d := &srv.drain
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off == nil {
		d.off = make(chan struct{})
		srv.cluster.SetDraining(true)
	}
	return d.off
}

// refuseHandshakes does so unless the drain that off belongs to has been called off.
func (srv *Server) refuseHandshakes(off <-chan struct{}) error {
	d := &srv.drain
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off != off {
		return ErrUndrained
	}
	srv.engine.RefuseHandshakes(true)
	return nil
}

// awaitGrace ends early with the server: there is nothing to be graceful to.
func (srv *Server) awaitGrace(ctx context.Context, off <-chan struct{}, grace time.Duration) error {
	if grace == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-srv.ctx.Done():
		return nil
	case <-off:
		return ErrUndrained
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain closes everything, at a pace.
type drain struct {
	farewells
	began   time.Time
	timeout time.Duration // 0: none
	queue   []*client     // what is to be closed; nil stands for a relay
}

// farewells closes connections of clients, at a pace.
type farewells struct {
	srv  *Server
	pace pace
	told []told // what closes, oldest first
}

// told is a client that has been sent away.
type told struct {
	client *client
	at     time.Time
}

// absentTime is how long a client on polling may take to fetch its end. One that lives polls again at once; what was queued for
// one that has vanished would be kept until its heartbeat fails.
const absentTime = 2 * time.Second

// send sends a client away. It reports false if that goes already.
func (f *farewells) send(c *client, reason Reason) bool {
	if !c.sendAway(reason) {
		return false
	}
	f.srv.drain.drained.Add(1)
	f.told = append(f.told, told{c, time.Now()})
	return true
}

// giveUp forgets clients that have gone, and ends those that do not fetch their end.
func (f *farewells) giveUp() {
	now := time.Now()
	for len(f.told) > 0 {
		first := f.told[0]
		s := first.client.session
		late := now.Sub(first.at) >= absentTime
		switch {
		case s.Ended():
		case !late:
			return
		case s.Absent():
			s.Discard()
		default:
			f.told = append(f.told, told{first.client, now})
		}
		f.told = f.told[1:]
	}
}

// drainTick is how often a drain closes what is due, and looks whether something is left. Closing may call application code: a turn
// begins no further close after that time, so that it is seen whether it should go on.
const drainTick = 10 * time.Millisecond

// run returns nil when nothing is left.
func (d *drain) run(ctx context.Context, off <-chan struct{}) error {
	ticker := time.NewTicker(drainTick)
	defer ticker.Stop()
	late := false
	for d.turn() {
		select {
		case <-ticker.C:
		case <-off:
		case <-ctx.Done():
		}
		// After a long turn several may be due; who calls it off comes first.
		if err := goesOn(ctx, off); err != nil {
			return err
		}
		if d.timeout > 0 && !late && time.Since(d.began) >= d.timeout {
			d.srv.cutOff()
			late = true
		}
	}
	return nil
}

// goesOn returns why a drain ends before its time, nil if it does not.
func goesOn(ctx context.Context, off <-chan struct{}) error {
	select {
	case <-off:
		return ErrUndrained
	default:
		return ctx.Err()
	}
}

// turn closes what is due. It reports whether something is left.
func (d *drain) turn() bool {
	d.giveUp()
	if len(d.queue) == 0 {
		d.fill()
	}
	began := time.Now()
	for n := d.pace.due(); n > 0 && len(d.queue) > 0; {
		c := d.queue[len(d.queue)-1]
		d.queue = d.queue[:len(d.queue)-1]
		switch {
		case c != nil:
			if d.send(c, ReasonShutdown) {
				n--
			}
		case d.srv.opts.Forwarder.EndRelay():
			d.srv.drain.drained.Add(1)
			n--
		default: // none is left that does not end already: each further question would look at all of them
			d.queue = slices.DeleteFunc(d.queue, func(c *client) bool { return c == nil })
		}
		if time.Since(began) >= drainTick {
			d.pace.giveBack(n)
			break
		}
	}
	return d.srv.engine.Len() > 0 || d.srv.relays() > 0
}

// fill gathers what has not been closed yet: at first everything, later what had been let in before handshakes were refused.
func (d *drain) fill() {
	d.queue = append(d.srv.clients(), make([]*client, d.srv.relays())...)
	rand.Shuffle(len(d.queue), func(i, j int) { d.queue[i], d.queue[j] = d.queue[j], d.queue[i] })
	if d.timeout > 0 {
		left := time.Until(d.began.Add(d.timeout / 5 * 4))
		d.pace.raise(len(d.queue), left)
	}
}

// pace says how many of something are due.
type pace struct {
	rate float64 // in a second
	at   time.Time
	owed float64
}

// newPace returns one by which the first is due at once.
func newPace(rate int) pace { return pace{rate: float64(rate), at: time.Now(), owed: 1} }

// due returns how many have become due since it was asked last, never more than a second's worth.
func (p *pace) due() int {
	now := time.Now()
	p.owed += p.rate * now.Sub(p.at).Seconds()
	p.at = now
	n := int(min(p.owed, max(p.rate, 1)))
	p.owed -= float64(n)
	return n
}

// giveBack says that n that were due have not been done.
func (p *pace) giveBack(n int) { p.owed += float64(n) }

// raise has n become due in the time that is left.
func (p *pace) raise(n int, left time.Duration) {
	p.rate = max(p.rate, float64(n)/max(left, drainTick).Seconds())
}

// clients returns those that have not been told to go.
func (srv *Server) clients() []*client {
	sessions := srv.engine.Sessions()
	list := make([]*client, 0, len(sessions))
	for _, s := range sessions {
		if c, ok := s.Handler().(*client); ok && !c.isLeaving() {
			list = append(list, c)
		}
	}
	return list
}

// relays counts the websockets that are relayed to other nodes.
func (srv *Server) relays() int {
	if srv.opts.Forwarder == nil {
		return 0
	}
	return srv.opts.Forwarder.Relays()
}

// isLeaving reports whether the client's sockets have ended: its connection has, or is being closed.
func (c *client) isLeaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// sendAway ends the client's sockets and then its connection, when what is queued has been sent. It reports false if the client
// goes already.
func (c *client) sendAway(reason Reason) bool {
	c.mu.Lock()
	goes := c.closed || c.sentAway
	c.sentAway = true
	c.mu.Unlock()
	if goes {
		return false
	}
	c.tellLeaving()
	c.end(reason)
	c.session.SendAway()
	return true
}

// cutOff ends at once what is left of the connections.
func (srv *Server) cutOff() {
	sessions, relays := srv.engine.Sessions(), srv.relays()
	for _, s := range sessions {
		if c, ok := s.Handler().(*client); ok {
			c.end(ReasonShutdown)
		}
		s.SendAway()
		s.Discard()
	}
	if srv.opts.Forwarder != nil {
		srv.opts.Forwarder.CutRelays()
	}
	srv.drain.cut.Add(uint64(len(sessions) + relays))
	srv.opts.Logger.Warn(fmt.Sprintf("%d connections had to be cut off: their clients had not taken everything in time", len(sessions)+relays))
}
