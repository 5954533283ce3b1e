package api

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

const (
	// maxDrain bounds the times of a drain.
	maxDrain = time.Hour
	// maxRate bounds how many connections are closed in a second.
	maxRate = 1_000_000
)

// drainOrder says how a node is to be drained; see server.DrainOptions.
type drainOrder struct {
	Grace   string `json:"grace,omitempty"`   // such as "5s"; default 0
	Rate    int    `json:"rate,omitempty"`    // connections closed in a second; default 1000
	Timeout string `json:"timeout,omitempty"` // after the grace; default none
}

func (o *drainOrder) options() (*server.DrainOptions, error) {
	grace, err := duration("grace", o.Grace, maxDrain)
	if err != nil {
		return nil, err
	}
	timeout, err := duration("timeout", o.Timeout, maxDrain)
	if err != nil {
		return nil, err
	}
	return &server.DrainOptions{Grace: grace, Rate: o.Rate, Timeout: timeout}, checkRate(o.Rate)
}

// duration reads a time of a request, "" for none.
func duration(field, text string, most time.Duration) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > most {
		return 0, invalid("%s is a time such as 5s, %v at most", field, most)
	}
	return d, nil
}

func checkRate(rate int) error {
	if rate < 0 || rate > maxRate {
		return invalid("rate is between 0, for the default, and %d", maxRate)
	}
	return nil
}

// drain begins to drain this server, unless it is being drained already.
func (g *Agent) drain(o *drainOrder) *failure {
	opts, err := o.options()
	if err != nil {
		return failureOf(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.srv.Draining() || g.ctx.Err() != nil {
		return nil
	}
	ended := make(chan struct{})
	g.running.Go(func() {
		defer close(ended)
		if err := g.srv.Drain(g.ctx, opts); err != nil && !errors.Is(err, server.ErrUndrained) && g.ctx.Err() == nil {
			g.log.Error("drain has failed", "error", err)
		}
	})
	// An undrain that follows must find something to call off.
	for !g.srv.Draining() {
		select {
		case <-ended:
			return nil
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// undrain calls it off.
func (g *Agent) undrain() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.srv.Undrain()
}

// drain has a node close its connections.
func (a *API) drain(ctx context.Context, r *http.Request, o drainOrder) (any, error) {
	if _, err := o.options(); err != nil {
		return nil, err
	}
	return a.command(ctx, r.PathValue("node"), question{Op: opDrain, Drain: &o})
}

// undrain calls it off.
func (a *API) undrain(ctx context.Context, r *http.Request, _ struct{}) (any, error) {
	return a.command(ctx, r.PathValue("node"), question{Op: opUndrain})
}

// node tells of one node.
func (a *API) node(ctx context.Context, r *http.Request) (any, error) {
	return a.command(ctx, r.PathValue("node"), question{Op: opStatus})
}

// command has a node do something. The answer is what the node says of itself afterwards.
func (a *API) command(ctx context.Context, name string, q question) (any, error) {
	n, err := a.agent.find(ctx, name)
	if err != nil {
		return nil, err
	}
	answer, err := a.agent.ask(ctx, n.ID, q)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, server.ErrAckTimeout):
		return nil, refuse(http.StatusServiceUnavailable, "unavailable", "node %s did not answer in time", n.Name)
	case err != nil:
		return nil, err
	case answer.Error != nil:
		answer.Error.status = http.StatusServiceUnavailable
		return nil, answer.Error
	}
	return view(n, n.ID == a.srv.Node().ID, answer.Status), nil
}

func view(n adapter.Node, self bool, status *nodeStatus) nodeView {
	return nodeView{ID: string(n.ID), Name: n.Name, Self: self, State: n.State.String(), Address: n.Address,
		Version: n.Version, Adapter: n.Adapter, Started: n.Started, Status: status}
}

// rebalancing is how nodes are made even; see server.RebalanceOptions.
type rebalancing struct {
	Tolerance float64 `json:"tolerance,omitempty"` // default 0.1
	Rate      int     `json:"rate,omitempty"`      // connections that each node closes in a second; default 100
	DryRun    bool    `json:"dryRun,omitempty"`    // plan, and do nothing
}

type planAnswer struct {
	partial
	Nodes []plannedView `json:"nodes"`
	Total int           `json:"total"` // connections that are closed in all
}

type plannedView struct {
	Name     string `json:"name"`
	Sessions int    `json:"sessions"`
	Share    int    `json:"share"` // how many would be its; 0 for one that takes no part
	Close    int    `json:"close"` // how many it closes now
}

// rebalance has nodes close what they have above their share.
func (a *API) rebalance(ctx context.Context, _ *http.Request, o rebalancing) (any, error) {
	if err := checkRate(o.Rate); err != nil {
		return nil, err
	}
	if o.Tolerance < 0 || o.Tolerance > 10 {
		return nil, invalid("tolerance is between 0, for the default, and 10")
	}
	plan, err := a.srv.Rebalance(ctx, &server.RebalanceOptions{Tolerance: o.Tolerance, Rate: o.Rate, DryRun: o.DryRun})
	out := planAnswer{Nodes: []plannedView{}, Total: plan.Total}
	if err := out.lacks(err); err != nil {
		return nil, err
	}
	for _, n := range plan.Nodes {
		if !n.Answered {
			out.Partial = true
			out.Missing = append(out.Missing, n.Node.Name)
			out.Unanswered++
		}
		out.Nodes = append(out.Nodes, plannedView{Name: n.Node.Name, Sessions: n.Sessions, Share: n.Share, Close: n.Shed})
	}
	return out, nil
}
