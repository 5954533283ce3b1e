package server

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/seldom"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Server is a Socket.IO server. It is an http.Handler for the paths below Options.Engine.Path. All methods may be called
// from any goroutine.
type Server struct {
	// Static after construction.
	opts    Options
	limits  parser.Limits
	codecs  []parser.Codec // those of opts, with their panics contained
	engine  *engine.Server
	cluster adapter.Cluster
	files   *clientFiles // nil when disabled
	hot     bool         // the engine has a goroutine that runs what is quick, see tempo
	asking  *tempo       // of the hooks on the reading side; nil without any, and unless hot
	hooks   hookLists

	turns      turns // static
	selector   selector
	goroutines goroutines
	drain      draining
	shedding   shedding
	closing    atomic.Bool
	ctx        context.Context // ends when the server begins to shut down
	cancel     context.CancelFunc
	farewell   context.Context // of disconnect functions; ends when Shutdown has waited for them
	leave      context.CancelFunc

	panics, failures, parseErrors, unknownAcks atomic.Uint64
	inboxPauses, serverSideDrops, ackTimeouts  atomic.Uint64
	disconnections                             [len(reasons)]atomic.Uint64
	strays                                     namespaceCounts // CONNECT packets for namespaces that there are not
	incomplete, encodeFailures                 atomic.Uint64
	limitHits                                  [limitKinds]atomic.Uint64
	recoveries                                 recoveryCounts
	restores                                   slots
	misfits                                    misfits
	refused                                    atomic.Uint64
	pendingAcks, unjoined                      atomic.Int64
	warnedEncoding, warnedEncode               seldom.Gate
	warnedLimit                                [limitKinds]seldom.Counted
	askedBy                                    atomic.Pointer[askedServers] // who shuts it down, see Serve
	failed, panicked, unconnected, alone       seldom.Keyed                 // what the log tells of callbacks, and of adapters

	mu sync.RWMutex
	// Guarded by mu.
	namespaces   map[string]*Namespace
	dynamic      int // how many of them clients have caused
	parents      []*ParentNamespace
	onNamespaces []*slot[func(*Namespace)]
}

// New makes a server. It returns an error that names the option that is wrong. Nothing runs until requests come.
func New(opts *Options) (*Server, error) {
	o, err := opts.settings()
	if err != nil {
		return nil, failed("options", err)
	}
	if err := o.useForwarder(); err != nil {
		return nil, failed("options", err)
	}
	srv := &Server{
		opts:       o,
		limits:     o.limits(),
		hooks:      newHookLists(o.Hooks),
		namespaces: make(map[string]*Namespace),
		turns:      make(turns, o.MaxConnecting),
		restores:   make(slots, maxRestores),
	}
	srv.hot = o.Engine.ReadMode == engine.ReadHot
	if srv.hot && srv.hooks.onReadingSide() {
		srv.asking = new(tempo)
	}
	srv.codecs = srv.guardCodecs(o.Codecs)
	srv.ctx, srv.cancel = context.WithCancel(context.Background())
	srv.farewell, srv.leave = context.WithCancel(context.Background())
	srv.engine, err = engine.New(&o.Engine, srv.newClient)
	if err != nil {
		return nil, failed("options", err)
	}
	if err := srv.joinCluster(); err != nil {
		return nil, failed("adapter", err)
	}
	if !o.DisableClientFiles {
		srv.files = newClientFiles(o.Engine.Path, o.ClientFiles)
		srv.engine.Use(srv.files.middleware)
	}
	srv.handlePeers()
	if o.Forwarder != nil {
		o.Forwarder.Start(srv)
	}
	return srv, nil
}

// ServeHTTP serves connections and, unless disabled, the client bundle.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if srv.closing.Load() {
		w.Header().Set("Connection", "close")
		http.Error(w, "server shutting down", http.StatusServiceUnavailable)
		return
	}
	srv.noteAsked(r)
	srv.engine.ServeHTTP(w, r)
}

// Engine returns the server of the connections below, for its middlewares and counters.
func (srv *Server) Engine() *engine.Server { return srv.engine }

// Of returns the namespace of a name, creating it if necessary. A missing leading slash is added. A new namespace whose
// name matches a pattern of OfPattern becomes a child of that parent.
func (srv *Server) Of(name string) *Namespace {
	if !strings.HasPrefix(name, "/") {
		name = "/" + name
	}
	srv.mu.RLock()
	n := srv.namespaces[name]
	var parent *ParentNamespace
	for _, p := range srv.parents {
		if n == nil && p.pattern != nil && p.pattern.MatchString(name) {
			parent = p
			break
		}
	}
	srv.mu.RUnlock()
	if n != nil {
		n.open()
		return n
	}
	n, created := srv.namespace(name, parent)
	if created {
		srv.announce(n)
	}
	return n
}

// namespace finds or creates a namespace. Whoever has created one must announce it.
func (srv *Server) namespace(name string, parent *ParentNamespace) (n *Namespace, created bool) {
	srv.mu.Lock()
	n, created = srv.namespaceLocked(name, parent)
	srv.mu.Unlock()
	n.open()
	return n, created
}

func (srv *Server) namespaceLocked(name string, parent *ParentNamespace) (n *Namespace, created bool) {
	if n = srv.namespaces[name]; n != nil {
		return n, false
	}
	n = newNamespace(srv, name, parent)
	srv.namespaces[name] = n
	if parent != nil {
		parent.add(n)
		srv.dynamic++
	}
	return n, true
}

// namespaceFor is namespace for a client, with a reference taken. It returns nil when there are too many that clients have
// caused, and nobody has left one of those looked at.
func (srv *Server) namespaceFor(name string, parent *ParentNamespace) (n *Namespace, created bool) {
	srv.mu.Lock()
	var empty *Namespace
	if srv.namespaces[name] == nil && srv.dynamic >= srv.opts.MaxDynamicNamespaces {
		if empty = srv.discardEmptyLocked(); empty == nil {
			srv.mu.Unlock()
			return nil, false
		}
	}
	n, created = srv.namespaceLocked(name, parent)
	n.refs.Add(1)
	srv.mu.Unlock()
	if empty != nil {
		empty.closeAdapter()
	}
	n.open()
	return n, created
}

// emptySearch bounds the search for a namespace that can make room, which begins anywhere.
const emptySearch = 64

func (srv *Server) discardEmptyLocked() *Namespace {
	seen := 0
	for _, n := range srv.namespaces {
		if seen++; seen > emptySearch {
			return nil
		}
		if n.parent != nil && srv.discardLocked(n) {
			return n
		}
	}
	return nil
}

// announce tells the OnNewNamespace functions.
func (srv *Server) announce(n *Namespace) {
	srv.mu.RLock()
	hooks := srv.onNamespaces
	srv.mu.RUnlock()
	each(hooks, func(f *slot[func(*Namespace)]) {
		_ = srv.protect("OnNewNamespace", n.name, "", func() error {
			f.value(n)
			return nil
		})
	})
}

// acquire finds a namespace for a client and takes a reference on it.
func (srv *Server) acquire(name string) *Namespace {
	srv.mu.RLock()
	n := srv.namespaces[name]
	if n != nil {
		n.refs.Add(1)
	}
	srv.mu.RUnlock()
	if n != nil {
		n.open()
	}
	return n
}

// discard removes a namespace that nobody refers to and reports whether it did.
func (srv *Server) discard(n *Namespace) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.discardLocked(n)
}

func (srv *Server) discardLocked(n *Namespace) bool {
	if n.refs.Load() != 0 || srv.namespaces[n.name] != n {
		return false
	}
	delete(srv.namespaces, n.name)
	n.parent.remove(n)
	srv.dynamic--
	return true
}

// Namespaces lists the namespaces that exist now, dynamic ones included, by name.
func (srv *Server) Namespaces() []*Namespace {
	list := srv.all()
	slices.SortFunc(list, func(a, b *Namespace) int { return strings.Compare(a.name, b.name) })
	return list
}

// OnNewNamespace registers a function that is called with each namespace created afterwards. The returned function
// removes it.
func (srv *Server) OnNewNamespace(f func(n *Namespace)) (remove func()) {
	refuseNil("OnNewNamespace", f)
	s := &slot[func(*Namespace)]{f}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.onNamespaces = with(srv.onNamespaces, s)
	return func() {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		srv.onNamespaces = without(srv.onNamespaces, s)
	}
}

// Namespace returns the namespace of a name if it exists on this server; Of creates it.
func (srv *Server) Namespace(name string) (n *Namespace, ok bool) {
	srv.mu.RLock()
	n, ok = srv.namespaces[name]
	srv.mu.RUnlock()
	return n, ok
}

// all returns the namespaces that exist now.
func (srv *Server) all() []*Namespace {
	srv.mu.RLock()
	defer srv.mu.RUnlock()
	list := make([]*Namespace, 0, len(srv.namespaces))
	for _, n := range srv.namespaces {
		list = append(list, n)
	}
	return list
}

// KeepValues makes a function for EngineOptions.SessionContext, see engine.KeepValues:
//
//	Engine: server.EngineOptions{SessionContext: server.KeepValues(userKey{})}
func KeepValues(keys ...any) func(context.Context, *http.Request) (context.Context, error) {
	return engine.KeepValues(keys...)
}

// NewListener returns a listener with which requests of one session do not overtake each other, and with which idle websocket
// connections need no goroutine also where TLS ends in this process; see engine.NewListener.
//
//	http.Serve(server.NewListener(l), srv)
//	http.Serve(tls.NewListener(server.NewListener(l), config), srv)
func NewListener(l net.Listener) net.Listener { return engine.NewListener(l) }
