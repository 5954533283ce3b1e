package engine

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/internal/seldom"
	"github.com/sockeye-io/sockeye/internal/timerwheel"
)

const (
	// wheelTick is the resolution of all deadlines.
	wheelTick = 10 * time.Millisecond
	// closeGrace is how long Server.Close waits for peers to answer the websocket closing handshake.
	closeGrace  = time.Second
	tableShards = 16
	idLength    = 20
	nodeTagSize = 4
)

// Handler receives what arrives on one session. The calls come one at a time, in order, from different goroutines. They
// must not block: they hold up the connection. A panic ends the session, and the process unless the call came from a POST
// request, whose panics net/http contains.
type Handler interface {
	// OnText gets a text message, without the packet type. The data is valid only during the call and may be changed.
	OnText(data []byte)
	// OnBinary gets a binary message, under the same terms.
	OnBinary(data []byte)
	// OnClose is called exactly once, last. Reason is one of the Reason constants or what was given to Session.Fail; err
	// has details and may be nil.
	OnClose(reason string, err error)
}

// Server is an Engine.IO v4 server: an http.Handler that can be mounted in any mux, at the root or at its path. All
// methods may be called from any goroutine.
type Server struct {
	// Static after construction.
	cfg    *settings
	accept func(*Session) Handler
	wheel  *timerwheel.Wheel
	poller *poller // nil: a goroutine reads each connection
	shards []*shard
	tag    [nodeTagSize]byte

	// Safe for concurrent use by themselves.
	table                       [tableShards]tableShard
	tasks                       tasks
	workers                     workers
	count                       counters
	nextShard                   atomic.Uint32
	closed                      atomic.Bool
	shedding                    atomic.Bool
	inputBytes                  atomic.Int64 // what the sessions hold, see Session.HoldInput
	chain                       atomic.Pointer[http.Handler]
	originRefused               sync.Once
	foreignCookie               sync.Once
	notHijackable               sync.Once
	warnedTooLarge, warnedInput seldom.Gate

	mu sync.Mutex
	// Guarded by mu.
	middlewares []func(http.Handler) http.Handler
	lingering   map[*wsConn]struct{} // closing handshake under way
}

type tableShard struct {
	mu       sync.RWMutex
	sessions map[string]*Session
}

// New returns a server that calls accept for each new session, before anything that the client sends is handled; it
// must not block and returns who receives the session's messages, never nil. Nil options mean the defaults. An error
// names the bad option.
func New(opts *Options, accept func(*Session) Handler) (*Server, error) {
	if accept == nil {
		return nil, errors.New("an accept function is required")
	}
	cfg, err := newSettings(opts)
	if err != nil {
		return nil, err
	}
	srv := &Server{cfg: cfg, accept: accept, lingering: make(map[*wsConn]struct{})}
	if _, err := rand.Read(srv.tag[:]); err != nil {
		return nil, err
	}
	srv.workers.tasks = &srv.tasks
	srv.wheel = timerwheel.New(wheelTick, srv.tasks.start)
	if cfg.ReadMode != ReadGoroutine {
		srv.poller = newPoller(&srv.tasks, &srv.workers)
	}
	for range runtime.GOMAXPROCS(0) {
		srv.shards = append(srv.shards, &shard{srv: srv})
	}
	for i := range srv.table {
		srv.table[i].sessions = make(map[string]*Session)
	}
	srv.rebuildChain()
	return srv, nil
}

// Use adds a middleware around every request under the path, websocket handshakes included. Headers that it sets on a
// handshake go into the 101 response. Middlewares run in the order of the calls, after CORS.
func (srv *Server) Use(middleware func(http.Handler) http.Handler) {
	srv.mu.Lock()
	srv.middlewares = append(srv.middlewares, middleware)
	srv.mu.Unlock()
	srv.rebuildChain()
}

func (srv *Server) rebuildChain() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	var h http.Handler = http.HandlerFunc(srv.serve)
	for i := len(srv.middlewares) - 1; i >= 0; i-- {
		h = srv.middlewares[i](h)
	}
	if srv.cfg.cors != nil {
		h = srv.cfg.cors.wrap(srv, h)
	}
	srv.chain.Store(&h)
}

// Matches reports whether the request belongs to this server: whether the request target, as it came over the wire or
// as a mux has rewritten it, starts with the path. The rest of the URL's path does not matter, as in Node.
func (srv *Server) Matches(r *http.Request) bool {
	return strings.HasPrefix(r.RequestURI, srv.cfg.Path) || strings.HasPrefix(r.URL.RequestURI(), srv.cfg.Path)
}

// ServeHTTP answers the requests under the path and 404 to all others.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !srv.Matches(r) {
		http.NotFound(w, r)
		return
	}
	(*srv.chain.Load()).ServeHTTP(w, r)
}

// serve is the end of the middleware chain.
func (srv *Server) serve(w http.ResponseWriter, r *http.Request) {
	if srv.closed.Load() {
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return
	}
	query := parseEngineQuery(rawURL(r))
	upgrade := srv.isUpgrade(r)
	session, refusal := srv.verify(r, &query, upgrade)
	switch {
	case refusal != nil:
		srv.refuse(w, r, refusal)
	case upgrade:
		srv.serveWebSocket(w, r, &query, session)
	case session != nil:
		session.servePolling(w, r)
	default:
		srv.openPolling(w, r, &query)
	}
}

// newSession makes a session that is not registered yet. It reports false after it has refused the request.
func (srv *Server) newSession(w http.ResponseWriter, r *http.Request) (*Session, bool) {
	handshake, ok := newHandshake(r)
	if !ok {
		srv.count.limits[limitHandshakeSize].Add(1)
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestHeaderFieldsTooLarge)
		return nil, false
	}
	id := srv.newID()
	shard := srv.shards[srv.nextShard.Add(1)%uint32(len(srv.shards))]
	return &Session{srv: srv, shard: shard, id: id, handshake: handshake, calling: true}, true
}

// newID returns 20 characters: 4 bytes that are the same for all sessions of this server and 11 random ones.
func (srv *Server) newID() string {
	var b [idLength / 4 * 3]byte
	copy(b[:], srv.tag[:])
	_, _ = rand.Read(b[nodeTagSize:]) // crypto/rand.Read does not fail
	return base64.URLEncoding.EncodeToString(b[:])
}

// open registers a session whose transport is in place and introduces it to the application. It reports false when
// the server has been closed.
func (srv *Server) open(s *Session) bool {
	shard := srv.tableShard(s.id)
	shard.mu.Lock()
	if srv.closed.Load() {
		shard.mu.Unlock()
		return false
	}
	shard.sessions[s.id] = s
	shard.mu.Unlock()
	srv.count.opened.Add(1)
	s.transportGauge().Add(1)
	s.startHeartbeat()
	s.setHandler(srv.accept(s))
	return true
}

func (srv *Server) tableShard(id string) *tableShard {
	// Any character of an id is random; their low four bits are evenly spread.
	return &srv.table[id[idLength-1]%tableShards]
}

// lookup finds a live session.
func (srv *Server) lookup(id string) *Session {
	if len(id) != idLength {
		return nil
	}
	shard := srv.tableShard(id)
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	return shard.sessions[id]
}

func (srv *Server) forget(s *Session) {
	shard := srv.tableShard(s.id)
	shard.mu.Lock()
	delete(shard.sessions, s.id)
	shard.mu.Unlock()
	srv.count.closed.Add(1)
}

// Len returns the number of live sessions.
func (srv *Server) Len() int {
	n := 0
	for i := range srv.table {
		shard := &srv.table[i]
		shard.mu.RLock()
		n += len(shard.sessions)
		shard.mu.RUnlock()
	}
	return n
}

// Sessions returns the live sessions, in no order.
func (srv *Server) Sessions() []*Session {
	sessions := make([]*Session, 0, srv.Len())
	for i := range srv.table {
		shard := &srv.table[i]
		shard.mu.RLock()
		for _, s := range shard.sessions {
			sessions = append(sessions, s)
		}
		shard.mu.RUnlock()
	}
	return sessions
}

// Close ends all sessions as Discard does, refuses new ones with 503 and returns when every goroutine of the server has
// ended. Peers get one second for the websocket closing handshake. It is safe at any time, from any goroutine except a
// Handler's, and any number of times; the error is always nil.
func (srv *Server) Close() error {
	srv.closed.Store(true)
	for _, s := range srv.Sessions() {
		s.Discard()
	}
	if srv.tasks.wait(closeGrace) {
		return nil
	}
	for _, c := range srv.stillLingering() {
		c.close()
	}
	srv.tasks.wait(-1)
	return nil
}

func (srv *Server) stillLingering() []*wsConn {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return slices.Collect(maps.Keys(srv.lingering))
}

// setLingering notes that c waits for the end of its closing handshake, or no longer does.
func (srv *Server) setLingering(c *wsConn, on bool) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if _, was := srv.lingering[c]; was == on {
		return
	}
	if on {
		srv.lingering[c] = struct{}{}
		srv.count.closing.Add(1)
	} else {
		delete(srv.lingering, c)
		srv.count.closing.Add(-1)
	}
}
