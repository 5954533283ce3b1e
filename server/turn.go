package server

import "context"

// turns bound how many CONNECT packets of all clients are in application code at the same time, middlewares, OfFunc and OnNewNamespace,
// or are looked up to go on where they were. Further ones wait for their turn in the order they came, each on the goroutine of its
// attempt, of which a client has a bounded number.
type turns chan struct{}

func (t turns) giveBack() { <-t }

// takeTurn waits until it is the turn of an attempt, or until the attempt ends. A turn that was had is given back once.
func (c *client) takeTurn(a *attempt) error {
	srv := c.server
	select {
	case srv.turns <- struct{}{}:
		return nil
	default:
	}
	_ = srv.exceeded(limitConnecting, "one more CONNECT packet whose middlewares run, which waits", int64(cap(srv.turns)))
	cost := socketCost + int64(a.auth) // as long as there is no socket that is charged
	if err := c.keep(cost); err != nil {
		return err
	}
	defer c.session.ReleaseState(cost)
	select {
	case srv.turns <- struct{}{}:
		return nil
	case <-a.ctx.Done():
		return context.Cause(a.ctx)
	}
}
