package server

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// defaultShedRate is how many connections Shed closes in a second.
const defaultShedRate = 100

// ShedOptions say how fast Shed closes connections. Nil and the zero value mean the defaults.
type ShedOptions struct {
	// Rate is how many connections are closed in a second. Default 100.
	Rate int
}

func (o *ShedOptions) settings() (ShedOptions, error) {
	var s ShedOptions
	if o != nil {
		s = *o
	}
	return s, setting("Rate", &s.Rate, defaultShedRate)
}

// Shed closes n connections of this server, so that their clients reconnect where a load balancer sends them. New clients are
// served meanwhile: a balancer that counts connections sends them to the nodes that have fewest. Those are closed that cost least:
// first clients that are in the middle of nothing (no event is being handled, nothing waits to be sent, no acknowledgement is waited
// for), of these the ones for whom least is kept (sockets, rooms, data), and among equals those that have come last. Connections
// close as with Drain, with the reason "forced close".
//
// It returns how many were closed when these clients have gone, fewer than n if there were not as many; with the error of ctx if
// that ends first.
func (srv *Server) Shed(ctx context.Context, n int, opts *ShedOptions) (closed int, err error) {
	o, err := opts.settings()
	if err != nil {
		return 0, failed("shed", err)
	}
	if n < 0 {
		return 0, fmt.Errorf("shed: %d connections", n)
	}
	srv.shedding.mu.Lock()
	list := srv.chooseLocked(n)
	srv.shedding.mu.Unlock()
	return srv.shed(ctx, list, o.Rate)
}

// shed closes the connections of clients that have been chosen.
func (srv *Server) shed(ctx context.Context, list []*client, rate int) (closed int, err error) {
	s := &shed{farewells: farewells{srv: srv, pace: newPace(rate)}, queue: list, first: len(list)}
	defer s.leaveRest()
	ticker := time.NewTicker(drainTick)
	defer ticker.Stop()
	for s.turn() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil { // also after a turn that has taken longer than a tick
			return s.closed, failed("shed", ctx.Err())
		}
	}
	return s.closed, nil
}

// shedding is what a server is about to close of its connections without being drained. The zero value is ready.
type shedding struct {
	left atomic.Int64 // clients that are chosen and have not gone
	mu   sync.Mutex   // held while it is decided which more, so that nobody is chosen twice
}

// shed is a call of Shed.
type shed struct {
	farewells
	queue  []*client
	first  int // how many of the queue have not been put off yet
	closed int
}

// leaveRest gives up what has not been closed.
func (s *shed) leaveRest() {
	for _, c := range s.queue {
		c.unmarkChosen()
	}
}

// turn closes what is due. It reports whether something is left. A client that has begun something since it was chosen gets its
// turn once more, behind the others.
func (s *shed) turn() bool {
	s.giveUp()
	began := time.Now()
	for n := s.pace.due(); n > 0 && len(s.queue) > 0; {
		c := s.queue[0]
		s.queue = s.queue[1:]
		if s.first--; s.first >= 0 {
			if busy, _ := c.busy(); busy {
				s.queue = append(s.queue, c)
				continue
			}
		}
		if s.send(c, ReasonForcedClose) {
			s.closed++
			n--
		}
		if time.Since(began) >= drainTick {
			s.pace.giveBack(n)
			break
		}
	}
	return len(s.queue)+len(s.told) > 0
}

// chooseLocked chooses the n clients whose reconnect costs least, or all if there are fewer, of those that are not chosen already.
func (srv *Server) chooseLocked(n int) []*client {
	type candidate struct {
		client *client
		busy   int
		state  int64
		opened time.Time
	}
	var all []candidate
	for _, c := range srv.clients() {
		busy, chosen := c.busy()
		if chosen {
			continue
		}
		one := candidate{client: c, state: c.session.Load().State, opened: c.session.Handshake().Time()}
		if busy {
			one.busy = 1
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.busy, b.busy), cmp.Compare(a.state, b.state), b.opened.Compare(a.opened))
	})
	list := make([]*client, 0, min(n, len(all)))
	for i := 0; i < len(all) && len(list) < n; i++ {
		if all[i].client.markChosen() {
			list = append(list, all[i].client)
		}
	}
	return list
}

// markChosen counts the client among those that are about to be sent away, until unmarkChosen. It reports false if it goes already.
func (c *client) markChosen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.chosen = true
	c.server.shedding.left.Add(1)
	return true
}

// unmarkChosen ends that: the client has gone, or it stays.
func (c *client) unmarkChosen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.chosen {
		c.chosen = false
		c.server.shedding.left.Add(-1)
	}
}

// busy reports whether something is under way that the end of the connection would break off, and whether that has been decided.
func (c *client) busy() (busy, chosen bool) {
	load := c.session.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	busy = load.Input > 0 || load.Queued > 0 || !c.joined || len(c.attempts) > 0 || slices.ContainsFunc(c.sockets, (*Socket).busy)
	return busy, c.chosen
}

func (s *Socket) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inbox != nil || s.acks != nil
}
