package api

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

// agentEvent is the server-side event by which nodes ask each other, in the main namespace, which every node serves.
const agentEvent = "sockeye:api"

// AgentOptions configure an Agent. Nil and the zero value work.
type AgentOptions struct {
	// Directory is the users of the cluster; without it the node is asked about sockets only.
	Directory *users.Directory
	// Logger is told what other nodes had this one do. Default: slog.Default().
	Logger *slog.Logger
}

// Agent is one node's part in what the API of any node asks of the cluster. A node with an API has one; give one to nodes without,
// so that they are not missing in answers. All methods may be called from any goroutine.
type Agent struct {
	// Static after construction.
	srv    *server.Server
	dir    *users.Directory // nil without
	main   *server.Namespace
	log    *slog.Logger
	remove func()
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	running sync.WaitGroup
	mu      sync.Mutex // held while a drain begins or is called off

	watchMu sync.Mutex
	// Guarded by watchMu.
	watches map[string]*watch // on behalf of any node
	traces  map[string]*trace // that are asked of this node
}

// NewAgent makes a server answer the API of other nodes, until Close.
func NewAgent(srv *server.Server, opts *AgentOptions) *Agent {
	var o AgentOptions
	if opts != nil {
		o = *opts
	}
	g := &Agent{srv: srv, dir: o.Directory, main: srv.Of("/"), log: cmp.Or(o.Logger, slog.Default())}
	g.watches, g.traces = make(map[string]*watch), make(map[string]*trace)
	g.ctx, g.cancel = context.WithCancel(context.Background())
	asked := g.main.HandleServerSide(agentEvent, server.ServerSideFuncAck(func(_ context.Context, q question) (answer, error) {
		return g.answer(q), nil
	}))
	seen := g.main.HandleServerSide(traceEvent, server.ServerSideFunc(func(_ context.Context, b traceBatch) error {
		g.deliver(b)
		return nil
	}))
	g.remove = func() { asked(); seen() }
	return g
}

// Close ends it. A drain that it has begun stays as it is.
func (g *Agent) Close() error {
	g.remove()
	g.mu.Lock()
	g.cancel()
	g.mu.Unlock()
	g.watchMu.Lock()
	watches := slices.Collect(maps.Values(g.watches))
	g.watchMu.Unlock()
	for _, w := range watches {
		w.end()
	}
	g.running.Wait()
	return nil
}

// What nodes are asked.
const (
	opStatus     = "status"
	opNamespaces = "namespaces"
	opHas        = "has" // a namespace
	opDrain      = "drain"
	opUndrain    = "undrain"
	opWatch      = "watch"
	opUnwatch    = "unwatch"
)

// question is what one node asks another.
type question struct {
	Op        string      `json:"op"`
	Namespace string      `json:"namespace,omitempty"`
	Drain     *drainOrder `json:"drain,omitempty"`
	Watch     *watchOrder `json:"watch,omitempty"`
}

// answer is what the other one says.
type answer struct {
	Status     *nodeStatus       `json:"status,omitempty"`
	Namespaces []namespaceStatus `json:"namespaces,omitempty"`
	More       bool              `json:"more,omitempty"`    // Namespaces
	Has        bool              `json:"has,omitempty"`     // the namespace; or watches
	Sockets    int               `json:"sockets,omitempty"` // that are watched
	Error      *failure          `json:"error,omitempty"`
}

// answer answers a question. It is called on the goroutine that handles what other nodes say, and does not block.
func (g *Agent) answer(q question) (a answer) {
	switch q.Op {
	case opStatus:
		a.Status = g.status()
	case opNamespaces:
		a.Namespaces, a.More = g.namespaces()
	case opHas:
		_, a.Has = g.srv.Namespace(q.Namespace)
	case opDrain:
		a.Error = g.drain(cmp.Or(q.Drain, new(drainOrder)))
		a.Status = g.status()
	case opUndrain:
		g.undrain()
		a.Status = g.status()
	case opWatch:
		a.Sockets, a.Has = g.watch(q.Watch)
	case opUnwatch:
		if q.Watch != nil {
			g.unwatch(q.Watch.ID)
		}
	default:
		a.Error = refuse(http.StatusNotImplemented, "unknown_question", "the node does not know what was asked: it is of another version")
	}
	return a
}

// reply is the answer of a node.
type nodeReply struct {
	node adapter.Node
	answer
}

// ask puts a question to one node, which may be this one.
func (g *Agent) ask(ctx context.Context, node adapter.NodeID, q question) (answer, error) {
	if node == g.srv.Node().ID {
		return g.answer(q), nil
	}
	return server.ServerSideEmitWithAckTo[answer](ctx, g.main, node, agentEvent, q)
}

// askAll puts a question to all nodes at the same time. The answers are in the order of Server.Nodes, this node first.
func (g *Agent) askAll(ctx context.Context, q question) (answers []nodeReply, lacks partial) {
	nodes, err := g.srv.Nodes(ctx)
	if err != nil && lacks.lacks(err) != nil {
		g.log.Warn("nodes cannot be listed", "error", err)
		lacks.Partial = true
	}
	all, errs := make([]answer, len(nodes)), make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, node := range nodes {
		wg.Go(func() { all[i], errs[i] = g.ask(ctx, node.ID, q) })
	}
	wg.Wait()
	for i, node := range nodes {
		if errs[i] != nil {
			lacks.Partial = true
			lacks.Missing = append(lacks.Missing, node.Name)
			lacks.Unanswered++
			continue
		}
		answers = append(answers, nodeReply{node, all[i]})
	}
	return answers, lacks
}

// names tells how nodes are called.
func (g *Agent) names(ctx context.Context) func(adapter.NodeID) string {
	nodes, _ := g.srv.Nodes(ctx) // as far as they are known
	return func(id adapter.NodeID) string {
		for _, n := range nodes {
			if n.ID == id {
				return n.Name
			}
		}
		return string(id)
	}
}

// find returns the node with a name, or an id; "self" is this one.
func (g *Agent) find(ctx context.Context, name string) (adapter.Node, error) {
	self := g.srv.Node()
	if name == "self" || name == self.Name {
		return self, nil
	}
	nodes, err := g.srv.Nodes(ctx)
	for _, n := range nodes {
		if n.Name == name || string(n.ID) == name {
			return n, nil
		}
	}
	if err != nil && !errors.Is(err, server.ErrClusterUnavailable) {
		return self, err
	}
	return self, refuse(http.StatusNotFound, "unknown_node", "no node is called %q", name)
}
