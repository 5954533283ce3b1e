package server

import (
	"context"
	"sync/atomic"
)

// workers counts the goroutines of a server.
type workers struct {
	count atomic.Int64
	idle  atomic.Pointer[chan struct{}] // capacity 1; told when count falls to 0
}

func (w *workers) done() {
	if w.count.Add(-1) == 0 {
		if idle := w.idle.Load(); idle != nil {
			select {
			case *idle <- struct{}{}:
			default:
			}
		}
	}
}

// wait returns when no worker runs, or when ctx ends.
func (w *workers) wait(ctx context.Context) error {
	idle := make(chan struct{}, 1)
	w.idle.CompareAndSwap(nil, &idle)
	for w.count.Load() > 0 {
		select {
		case <-*w.idle.Load():
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	// Another waiter may be asleep on the same channel.
	select {
	case *w.idle.Load() <- struct{}{}:
	default:
	}
	return nil
}

// spawn runs f on a goroutine that Shutdown waits for.
func (srv *Server) spawn(f func()) {
	srv.workers.count.Add(1)
	go func() {
		defer srv.workers.done()
		f()
	}()
}

// continueWith is spawn for the reading side of a client: f gets the goroutine that delivers the message being handled, as
// soon as that one has let go of the connection.
func (c *client) continueWith(f func()) {
	c.server.workers.count.Add(1)
	c.session.Continue(func() {
		defer c.server.workers.done()
		f()
	})
}

// continueQuickly is continueWith for an f that returns soon.
func (c *client) continueQuickly(f func()) {
	c.server.workers.count.Add(1)
	c.session.ContinueQuick(func() {
		defer c.server.workers.done()
		f()
	})
}
