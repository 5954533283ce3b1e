package server

import (
	"context"
	"sync/atomic"
)

// goroutines counts those of a server that Shutdown waits for.
type goroutines struct {
	count atomic.Int64
	idle  atomic.Pointer[chan struct{}] // capacity 1; told when count falls to 0
}

func (g *goroutines) done() {
	if g.count.Add(-1) == 0 {
		if idle := g.idle.Load(); idle != nil {
			select {
			case *idle <- struct{}{}:
			default:
			}
		}
	}
}

// wait returns when none runs, or when ctx ends.
func (g *goroutines) wait(ctx context.Context) error {
	idle := make(chan struct{}, 1)
	g.idle.CompareAndSwap(nil, &idle)
	for g.count.Load() > 0 {
		select {
		case <-*g.idle.Load():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	// Another waiter may be asleep on the same channel.
	select {
	case *g.idle.Load() <- struct{}{}:
	default:
	}
	return nil
}

// spawn runs f on a goroutine that Shutdown waits for.
func (srv *Server) spawn(f func()) {
	srv.goroutines.count.Add(1)
	go func() {
		defer srv.goroutines.done()
		f()
	}()
}

// continueWith is spawn for the reading side of a client: f gets the goroutine that delivers the message being handled, as
// soon as that one has let go of the connection.
func (c *client) continueWith(f func()) {
	c.server.goroutines.count.Add(1)
	c.session.Continue(func() {
		defer c.server.goroutines.done()
		f()
	})
}

// continueQuickly is continueWith for an f that returns soon.
func (c *client) continueQuickly(f func()) {
	c.server.goroutines.count.Add(1)
	c.session.ContinueQuick(func() {
		defer c.server.goroutines.done()
		f()
	})
}
