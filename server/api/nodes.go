package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// maxNamespaces bounds how many namespaces a node lists.
const maxNamespaces = 1000

// nodeStatus is what a node says of itself.
type nodeStatus struct {
	Sockets     int  `json:"sockets"`
	Connections int  `json:"connections"`
	Namespaces  int  `json:"namespaces"`
	Rooms       int  `json:"rooms"`
	Users       int  `json:"users"`  // that have sockets there; 0 without a directory
	Relays      int  `json:"relays"` // websockets of sessions on other nodes that come through it
	Draining    bool `json:"draining"`
	Emptying    bool `json:"emptying"` // a drain is under way there, its grace included, which has not ended
}

func (g *Agent) status() *nodeStatus {
	s := g.srv.Stats()
	status := &nodeStatus{Sockets: s.Sockets, Connections: s.Engine.Sessions, Namespaces: s.Namespaces, Rooms: s.Rooms,
		Relays: s.Relays, Draining: s.Draining, Emptying: s.Drains > 0}
	if g.dir != nil {
		status.Users = g.dir.Stats().Users
	}
	return status
}

// nodeView is a node of the cluster.
type nodeView struct {
	ID      string      `json:"id"`
	Name    string      `json:"name"`
	Self    bool        `json:"self"`
	State   string      `json:"state"` // alive, silent or absent
	Address string      `json:"address,omitempty"`
	Version string      `json:"version,omitempty"`
	Adapter string      `json:"adapter,omitempty"`
	Started time.Time   `json:"started"`
	Status  *nodeStatus `json:"status,omitempty"` // absent if the node has not answered
}

type nodesAnswer struct {
	partial
	Nodes   []nodeView `json:"nodes"`   // this one first, then by name
	Foreign int        `json:"foreign"` // Node.js nodes, which have no names
}

func (a *API) nodes(ctx context.Context, _ *http.Request) (any, error) {
	answers, lacks := a.agent.askAll(ctx, question{Op: opStatus})
	nodes, err := a.srv.Nodes(ctx)
	if err := lacks.lacks(err); err != nil {
		return nil, err
	}
	out := nodesAnswer{partial: lacks, Nodes: []nodeView{}}
	for i, n := range nodes {
		view := view(n, i == 0, nil)
		if j := slices.IndexFunc(answers, func(r nodeReply) bool { return r.node.ID == n.ID }); j >= 0 {
			view.Status = answers[j].Status
		}
		out.Nodes = append(out.Nodes, view)
	}
	if all, err := a.agent.main.ServerCount(ctx); err == nil {
		alive := 0
		for _, n := range nodes {
			if n.State == server.NodeAlive {
				alive++
			}
		}
		out.Foreign = max(0, all-alive)
	}
	return out, nil
}

// namespaceStatus is what a node says of a namespace.
type namespaceStatus struct {
	Name    string `json:"name"`
	Sockets int    `json:"sockets"`
}

// namespaces lists those with most sockets.
func (g *Agent) namespaces() (list []namespaceStatus, more bool) {
	for _, n := range g.srv.Namespaces() {
		list = append(list, namespaceStatus{n.Name(), n.LocalCount()})
	}
	return busiest(list)
}

func busiest(list []namespaceStatus) (most []namespaceStatus, more bool) {
	slices.SortFunc(list, func(a, b namespaceStatus) int {
		return cmp.Or(cmp.Compare(b.Sockets, a.Sockets), strings.Compare(a.Name, b.Name))
	})
	return list[:min(len(list), maxNamespaces)], len(list) > maxNamespaces
}

type namespacesAnswer struct {
	partial
	Namespaces []namespaceStatus `json:"namespaces"` // of all nodes, those with most sockets first
	More       bool              `json:"more"`       // there are more than are listed
}

func (a *API) namespaces(ctx context.Context, _ *http.Request) (any, error) {
	answers, lacks := a.agent.askAll(ctx, question{Op: opNamespaces})
	all := make(map[string]int)
	out := namespacesAnswer{partial: lacks}
	for _, r := range answers {
		out.More = out.More || r.More
		for _, n := range r.Namespaces {
			all[n.Name] += n.Sockets
		}
	}
	list := make([]namespaceStatus, 0, len(all))
	for name, sockets := range all {
		list = append(list, namespaceStatus{name, sockets})
	}
	var more bool
	out.Namespaces, more = busiest(list)
	out.More = out.More || more
	return out, nil
}
