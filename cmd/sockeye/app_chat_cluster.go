package main

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

const (
	// lookEvent is how one node asks another for its part of the cluster view: a directed round trip, which is timed.
	lookEvent = "sockeye:cluster"
	// maxTrips bounds the messages that a node remembers for the view.
	maxTrips = 20
	// lookFor is how long messages are noted after somebody has looked, lookPause how old a view may be that is given once more.
	lookFor   = 30 * time.Second
	lookPause = time.Second
)

// trip is one message of the chat as the cluster view shows it.
type trip struct {
	ID   string   `json:"id"`
	From string   `json:"from"`          // node of the sender
	To   []string `json:"to"`            // nodes that the message went to, its own among them if the addressee is there too
	All  bool     `json:"all,omitempty"` // to a public room, whose members may be anywhere
	Age  int64    `json:"age"`           // ms
}

// part is what one node tells for the view.
type part struct {
	Users   int    `json:"users"`
	Sockets int    `json:"sockets"`
	Trips   []trip `json:"trips,omitempty"`
}

// nodeView is one node in the answer to cluster.
type nodeView struct {
	Name    string   `json:"name"`
	Self    bool     `json:"self,omitempty"`
	State   string   `json:"state"` // alive, silent or absent
	Users   int      `json:"users"`
	Sockets int      `json:"sockets"`
	Trip    *float64 `json:"trip,omitempty"` // of the bus to the node and back, in ms
}

// clusterView is the answer to cluster.
type clusterView struct {
	Nodes      []nodeView `json:"nodes"` // by name
	Trips      []trip     `json:"trips"` // the latest first
	Incomplete bool       `json:"incomplete,omitempty"`
}

// traffic notes where messages go while somebody looks, and asks the other nodes for their part.
type traffic struct {
	chat // static; without traffic

	mu sync.Mutex
	// Guarded by mu.
	looked time.Time // when somebody, here or on another node, has looked last
	trips  []noted   // the latest last

	asking sync.Mutex // held while the other nodes are asked
	// Guarded by asking.
	at     time.Time // of the view
	latest *clusterView
}

type noted struct {
	trip
	at time.Time
}

func newTraffic(c chat) *traffic {
	t := &traffic{chat: c}
	c.sockets.HandleServerSide(lookEvent, server.ServerSideFuncAck(func(context.Context, server.None) (part, error) { return t.part(), nil }))
	return t
}

// note remembers a message if somebody looks.
func (t *traffic) note(ctx context.Context, to name) {
	t.mu.Lock()
	watched := time.Since(t.looked) < lookFor
	t.mu.Unlock()
	if !watched {
		return
	}
	n := noted{trip{ID: string(adapter.NewNodeID()), From: t.node(), All: to.isRoom()}, time.Now()}
	if !n.All {
		nodes, err := t.dir.User(string(to)).Nodes(ctx)
		if err != nil {
			return
		}
		for _, node := range nodes {
			n.To = append(n.To, node.Name)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trips = append(t.trips[max(0, len(t.trips)-maxTrips+1):], n)
}

// part is what this node tells.
func (t *traffic) part() part {
	stats := t.dir.Stats()
	p := part{Users: stats.Users, Sockets: t.sockets.LocalCount()}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.looked = time.Now()
	for _, n := range t.trips {
		n.Age = time.Since(n.at).Milliseconds()
		p.Trips = append(p.Trips, n.trip)
	}
	return p
}

// look answers with the nodes, who is on which, what travelled last, and how long the bus takes. However many look, each
// other node is asked once a second at most.
func (t *traffic) look(ctx context.Context, _ *server.Socket, _ server.None) (clusterView, error) {
	t.asking.Lock()
	defer t.asking.Unlock()
	if t.latest != nil && time.Since(t.at) < lookPause {
		return *t.latest, nil
	}
	v, err := t.ask(ctx)
	if err == nil {
		t.at, t.latest = time.Now(), &v
	}
	return v, err
}

// ask asks every node at the same time.
func (t *traffic) ask(ctx context.Context) (clusterView, error) {
	ctx, cancel := context.WithTimeout(ctx, clusterPatience)
	defer cancel()
	nodes, err := t.srv.Nodes(ctx)
	if err != nil && !isPartial(err) {
		return clusterView{}, err
	}
	views, parts := make([]nodeView, len(nodes)), make([]part, len(nodes))
	var asked sync.WaitGroup
	for i, n := range nodes {
		views[i] = nodeView{Name: n.Name, State: n.State.String()}
		if n.ID == t.srv.Node().ID {
			views[i].Self, parts[i] = true, t.part()
			continue
		}
		asked.Go(func() {
			start := time.Now()
			p, err := server.ServerSideEmitWithAckTo[part](ctx, t.sockets, n.ID, lookEvent)
			if err != nil {
				return
			}
			parts[i] = p
			took := float64(time.Since(start).Microseconds()) / 1000
			views[i].Trip = &took
		})
	}
	asked.Wait()
	v := clusterView{Nodes: views, Trips: []trip{}, Incomplete: t.dir.Stats().Mixed}
	for i, p := range parts {
		views[i].Users, views[i].Sockets = p.Users, p.Sockets
		v.Trips = append(v.Trips, p.Trips...)
	}
	slices.SortFunc(v.Nodes, func(a, b nodeView) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(v.Trips, func(a, b trip) int { return cmp.Compare(a.Age, b.Age) })
	v.Trips = v.Trips[:min(len(v.Trips), maxTrips)]
	return v, nil
}
