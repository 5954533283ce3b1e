package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
)

// Connections live long, so that they are uneven when a node has been added or restarted: nobody moves to a node by itself that has
// come late. Rebalance has the nodes that have more than their share close some connections; the load balancer gives their clients
// another place. How many each node closes is decided by PlanRebalance, which knows what Loads has found.

// Names of the events between nodes.
const (
	loadEvent = "sockeye:load"
	shedEvent = "sockeye:shed"
)

// defaultTolerance is by how much of its share a node may have more than that.
const defaultTolerance = 0.1

// NodeLoad is how much a node has to do.
type NodeLoad struct {
	Node Node
	// Answered is false for a node that could not be asked or did not answer: its numbers are 0. So it is of nodes of former versions.
	Answered bool
	// Sessions is how many clients are connected, those included that it is about to close for a rebalancing: Shedding.
	Sessions, Shedding int
	// Capacity is how many sessions it takes, see EngineOptions.MaxSessions.
	Capacity int
}

// Remaining is how many sessions the node will have when it has closed those that it is about to.
func (l *NodeLoad) Remaining() int { return max(0, l.Sessions-l.Shedding) }

// loadAnswer is what a node tells of its load.
type loadAnswer struct {
	Sessions int `json:"sessions"`
	Shedding int `json:"shedding"`
	Capacity int `json:"capacity"`
}

// shedRequest asks a node to close sessions until it has no more than Target, but not more of them than Count.
type shedRequest struct {
	Target int `json:"target"`
	Count  int `json:"count"`
	Rate   int `json:"rate"`
}

// handlePeers answers other nodes.
func (srv *Server) handlePeers() {
	main := srv.Of("/")
	main.HandleServerSide(loadEvent, ServerSideFuncAck(func(context.Context, None) (loadAnswer, error) { return srv.load(), nil }))
	main.HandleServerSide(shedEvent, ServerSideFuncAck(func(_ context.Context, r shedRequest) (int, error) { return srv.shedDown(r) }))
}

func (srv *Server) load() loadAnswer {
	return loadAnswer{Sessions: srv.engine.Len(), Shedding: int(srv.shedding.left.Load()), Capacity: srv.engine.MaxSessions()}
}

// shedDown begins to close sessions, until the server shuts down at most, and returns how many. Requests that come at the same time
// do not add up: each counts what is to be closed already.
func (srv *Server) shedDown(r shedRequest) (int, error) {
	if r.Target < 0 || r.Count < 0 || r.Rate < 0 {
		return 0, fmt.Errorf("shed: %+v", r)
	}
	o, err := (&ShedOptions{Rate: r.Rate}).settings()
	if err != nil {
		return 0, err
	}
	srv.shedding.mu.Lock()
	defer srv.shedding.mu.Unlock()
	load := srv.load()
	n := min(r.Count, load.Sessions-load.Shedding-r.Target)
	if n <= 0 || srv.Draining() {
		return 0, nil
	}
	list := srv.chooseLocked(n)
	srv.opts.Logger.Info("some clients are sent to other nodes", "sessions", load.Sessions, "close", len(list), "rate", o.Rate)
	srv.spawn(func() { _, _ = srv.shed(srv.ctx, list, o.Rate) }) // which only the end of the server ends
	return len(list), nil
}

// Loads asks all nodes of the cluster how much they have to do, in the order of Nodes. Errors are those of Nodes; without a
// deadline of ctx, answers are waited for as long as Options.AckTimeout says.
func (srv *Server) Loads(ctx context.Context) ([]NodeLoad, error) {
	ctx, cancel := srv.ackContext(ctx)
	defer cancel()
	nodes, err := srv.Nodes(ctx)
	loads := make([]NodeLoad, len(nodes))
	var asked sync.WaitGroup
	for i, node := range nodes {
		l := &loads[i]
		l.Node = node
		switch {
		case i == 0: // this one
			l.set(srv.load())
		case node.State == NodeAlive:
			asked.Go(func() {
				if a, err := ServerSideEmitWithAckTo[loadAnswer](ctx, srv.Of("/"), node.ID, loadEvent); err == nil {
					l.set(a)
				}
			})
		}
	}
	asked.Wait()
	return loads, failed("loads", err)
}

func (l *NodeLoad) set(a loadAnswer) {
	l.Answered, l.Sessions, l.Shedding, l.Capacity = true, a.Sessions, a.Shedding, a.Capacity
}

// Plan says how many sessions the nodes close so that each has its share.
type Plan struct {
	Nodes []PlannedNode
	Total int // sessions that are closed in all
}

// PlannedNode is what a plan has for a node.
type PlannedNode struct {
	NodeLoad
	// Share is how many sessions would be the node's; 0 for one that takes no part, because it drains or has not answered.
	Share int
	// Shed is how many sessions it closes.
	Shed int
}

// PlanRebalance decides how many sessions each node closes. The shares of the nodes are as their capacities: the same, if these are.
// A node that has more than its share by no more than tolerance, a fraction of the share, closes none, any other as many as it has
// above its share. Nodes that drain, are not heard or have not answered take no part.
func PlanRebalance(loads []NodeLoad, tolerance float64) Plan {
	var sessions, capacity float64
	for i := range loads {
		if l := &loads[i]; l.takesPart() {
			sessions += float64(l.Sessions) // those that are about to be closed come back somewhere
			capacity += float64(l.Capacity)
		}
	}
	plan := Plan{Nodes: make([]PlannedNode, len(loads))}
	for i := range loads {
		p := &plan.Nodes[i]
		p.NodeLoad = loads[i]
		if !p.takesPart() {
			continue
		}
		p.Share = int(math.Ceil(sessions * float64(p.Capacity) / capacity))
		if has := p.Remaining(); float64(has) > float64(p.Share)*(1+tolerance) {
			p.Shed = has - p.Share
			plan.Total += p.Shed
		}
	}
	return plan
}

func (l *NodeLoad) takesPart() bool {
	return l.Answered && !l.Node.Draining && l.Node.State == NodeAlive && l.Capacity > 0
}

// RebalanceOptions say how a rebalancing goes. Nil and the zero value mean the defaults.
type RebalanceOptions struct {
	// Tolerance is by which fraction of its share a node may have more than that without closing anything. Default 0.1.
	Tolerance float64
	// Rate is how many connections each node closes in a second. Default 100.
	Rate int
	// DryRun plans and does nothing.
	DryRun bool
}

// Rebalance has the nodes of the cluster close as many connections as each has above its share, see PlanRebalance and Shed. It
// returns the plan as soon as the nodes have been told; Loads shows how they get on. Nodes that could not be told are
// *NodeErrors; the others do their part. Load balancers that count connections (nginx's least_conn, HAProxy's leastconn) send the
// clients where there are fewest; behind one that goes in turns as many come back as go to each other node, so that
// it takes several rebalancings.
func (srv *Server) Rebalance(ctx context.Context, opts *RebalanceOptions) (Plan, error) {
	var o RebalanceOptions
	if opts != nil {
		o = *opts
	}
	if o.Tolerance < 0 {
		return Plan{}, fmt.Errorf("rebalance: Tolerance must not be negative, got %v", o.Tolerance)
	}
	if o.Tolerance == 0 {
		o.Tolerance = defaultTolerance
	}
	if err := setting("Rate", &o.Rate, defaultShedRate); err != nil {
		return Plan{}, failed("rebalance", err)
	}
	loads, err := srv.Loads(ctx)
	plan := PlanRebalance(loads, o.Tolerance)
	if err == nil && !o.DryRun {
		err = srv.carryOut(ctx, &plan, o.Rate)
	}
	return plan, failed("rebalance", err)
}

// carryOut tells the nodes.
func (srv *Server) carryOut(ctx context.Context, plan *Plan, rate int) error {
	errs := make([]error, len(plan.Nodes))
	var told sync.WaitGroup
	for i := range plan.Nodes {
		p := &plan.Nodes[i]
		if p.Shed == 0 {
			continue
		}
		told.Go(func() {
			if err := srv.tellShed(ctx, p.Node, shedRequest{Target: p.Share, Count: p.Shed, Rate: rate}); err != nil {
				errs[i] = &NodeError{p.Node.ID, err}
			}
		})
	}
	told.Wait()
	return errors.Join(errs...)
}

func (srv *Server) tellShed(ctx context.Context, node adapter.Node, r shedRequest) error {
	if node.ID == srv.Node().ID {
		_, err := srv.shedDown(r)
		return err
	}
	_, err := ServerSideEmitWithAckTo[int](ctx, srv.Of("/"), node.ID, shedEvent, r)
	return err
}
