package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/forward"
	"github.com/sockeye-io/sockeye/server/limits"
	"github.com/sockeye-io/sockeye/server/users"
)

// Options configure Metrics. Nil and the zero value mean the defaults.
type Options struct {
	// MaxNamespaces is how many namespaces have a label of their own, those that are seen first; the others are "other" together. The
	// children of a parent have the parent's, see server.NamespaceStats. Default 50.
	MaxNamespaces int
}

// Metrics collects what one server has to tell, a prometheus.Collector. All methods may be called from any goroutine.
//
// Gauges and most counters are read from the server when Prometheus asks; only what is known of events, and how long they took, is
// counted by Hooks as it happens.
type Metrics struct {
	namespaces namespaces

	server    atomic.Pointer[server.Server]
	directory atomic.Pointer[users.Directory]
	forwarder atomic.Pointer[forward.Forwarder]
	limits    atomic.Pointer[limits.Limits]
	tokens    atomic.Pointer[func() map[string]uint64]
}

var _ prometheus.Collector = (*Metrics)(nil)

// New makes the metrics of a server that does not exist yet. opts may be nil:
//
//	m := metrics.New(nil)
//	srv, err := server.New(&server.Options{Hooks: []server.Hooks{m.Hooks()}})
//	...
//	m.Watch(srv)
//	http.Handle("/metrics", m.Handler())
func New(opts *Options) *Metrics {
	m := &Metrics{namespaces: namespaces{most: defaultMaxNamespaces}}
	if opts != nil && opts.MaxNamespaces > 0 {
		m.namespaces.most = opts.MaxNamespaces
	}
	return m
}

// Watch says which server it is. Before, nothing is collected.
func (m *Metrics) Watch(srv *server.Server) { m.server.Store(srv) }

// WatchDirectory adds the metrics of a directory of users.
func (m *Metrics) WatchDirectory(dir *users.Directory) { m.directory.Store(dir) }

// WatchForwarder adds the metrics of a forwarder.
func (m *Metrics) WatchForwarder(fwd *forward.Forwarder) { m.forwarder.Store(fwd) }

// WatchLimits adds the metrics of limits.
func (m *Metrics) WatchLimits(l *limits.Limits) { m.limits.Store(l) }

// WatchTokens adds what became of the tokens of clients: a count since the start for each result, of which there are few. Package auth
// has such counts; this one does not know it, so that who has no tokens compiles nothing of them.
func (m *Metrics) WatchTokens(results func() map[string]uint64) { m.tokens.Store(&results) }

// Hooks count events and the time of their handlers.
func (m *Metrics) Hooks() server.Hooks {
	return server.Hooks{AfterEvent: func(s *server.Socket, r server.EventResult) {
		m.namespaces.of(groupOf(s.Namespace())).count(r)
	}}
}

// groupOf is the name under which a namespace counts, see server.NamespaceStats.
func groupOf(n *server.Namespace) string {
	if p := n.Parent(); p != nil {
		return p.Name()
	}
	return n.Name()
}
