package engine

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strconv"
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
	// closeGrace is how long Server.Close waits for peers, closeTick how often it looks whether they have gone.
	closeGrace  = time.Second
	closeTick   = 5 * time.Millisecond
	tableShards = 16

	// A session id is the server's tag and 96 random bits in base64url.
	tagLength   = 4
	randomBytes = 12
	idLength    = tagLength + randomBytes/3*4
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

// PongHandler is implemented by a Handler that wants to know that everything has arrived which was sent before the last ping.
type PongHandler interface {
	// OnPong is called when the client has answered the last ping, under the terms of OnText. Other pongs are not told: those that answer
	// none, and those that answer one after which there was another, while the session was paused.
	OnPong()
}

// QuickHandler is implemented by a Handler that may not be quick at times.
type QuickHandler interface {
	// Quick reports whether OnText and OnBinary can be expected to return at once. Where one goroutine waits for all connections (see
	// ReadHot) it is asked before one is read: if it says no, a worker reads that connection, for which no other has to wait. Handlers
	// that cannot be asked are taken to be quick. It runs on the goroutine for which all wait.
	Quick() bool
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
	queued *budget // what its sessions have to send; messages keep it beyond the server's life

	// Safe for concurrent use by themselves.
	table          [tableShards]tableShard
	tasks          tasks
	workers        workers
	count          counters
	nextShard      atomic.Uint32
	closed         atomic.Bool
	tag            atomic.Pointer[string]
	shedding       atomic.Bool
	refusing       atomic.Bool   // new handshakes, see RefuseHandshakes
	input          pool          // see Session.HoldInput
	pressed        atomic.Uint32 // since when the input exceeds a quarter of its budget, see tenths
	state          pool          // see Session.KeepState
	live           atomic.Int64  // sessions, those included that are being opened
	room           roomMaker     // among live
	waiting        waitingConns  // see ConnState
	chain          atomic.Pointer[http.Handler]
	originRefused  sync.Once
	foreignCookie  sync.Once
	notHijackable  sync.Once
	warnedTooLarge seldom.Gate
	warnedContext  seldom.Gate
	warnedRevision seldom.Counted
	warnedInput    seldom.Counted
	warnedState    seldom.Counted

	mu sync.Mutex
	// Guarded by mu.
	middlewares []func(http.Handler) http.Handler
	lingering   map[closer]struct{} // connections whose closing handshake is under way
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
	srv := &Server{cfg: cfg, accept: accept, queued: &budget{}, lingering: make(map[closer]struct{})}
	var random [tagLength / 4 * 3]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read does not fail
	tag := base64.RawURLEncoding.EncodeToString(random[:])
	srv.tag.Store(&tag)
	for _, kind := range cfg.kinds {
		srv.count.gauges = append(srv.count.gauges, &gauge{kind: kind})
	}
	srv.workers.tasks = &srv.tasks
	srv.input.limit, srv.state.limit = cfg.InputTotal, cfg.StateTotal
	srv.waiting.most = [waitingKinds]int{halfOpen: cfg.MaxHalfOpen, idle: cfg.MaxIdle}
	srv.wheel = timerwheel.New(wheelTick, srv.tasks.start)
	if cfg.ReadMode != ReadGoroutine {
		srv.poller = newPoller(&srv.tasks, &srv.workers, cfg.ReadMode == ReadHot && runtime.GOMAXPROCS(0) > 1)
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
	early := mayBeUnread(w, r)
	if srv.Matches(r) {
		(*srv.chain.Load()).ServeHTTP(w, r)
	} else {
		http.NotFound(w, r)
	}
	if early {
		takeRest(w, r)
	}
}

// serve is the end of the middleware chain.
func (srv *Server) serve(w http.ResponseWriter, r *http.Request) {
	if srv.closed.Load() {
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
		return
	}
	query := parseEngineQuery(rawURL(r))
	if query.sid == "" && srv.refusing.Load() {
		srv.count.turnedAway.Add(1)
		Unavailable(w)
		return
	}
	query.turn = inFlight.take(query.sid, r.RemoteAddr)
	defer inFlight.end(query.turn)
	kind := srv.claimant(r)
	session, refusal := srv.verify(r, &query, kind)
	if refusal != nil {
		if refusal.Code == CodeUnknownSession {
			inFlight.end(query.turn) // what waits elsewhere holds up nothing here
			if srv.elsewhere(w, r, query.sid) {
				return
			}
		}
		srv.refuse(w, r, refusal)
		return
	}
	if kind == nil {
		kind = srv.cfg.kindNamed(query.transport)
	}
	kind.serve(srv, w, r, query, session)
}

// newSession makes a session that is not registered yet: open follows, or leave. It reports false after it has refused the
// request.
func (srv *Server) newSession(w http.ResponseWriter, r *http.Request, rev *revision) (*Session, bool) {
	handshake, ok := newHandshake(r, srv.cfg.TrustedProxies, srv.cfg.MaxHandshakeSize)
	if !ok {
		srv.count.limits[limitHandshakeSize].Add(1)
		w.Header().Set("Connection", "close")
		answerEmpty(w, http.StatusRequestHeaderFieldsTooLarge)
		return nil, false
	}
	values, refusal := srv.sessionContext(r)
	if refusal != nil {
		srv.refuse(w, r, refusal)
		return nil, false
	}
	s := &Session{
		srv: srv, shard: srv.nextOfShards(), id: srv.newID(), handshake: handshake, protocol: uint8(rev.number), calling: true,
	}
	if values != nil {
		s.extend().values = values
	}
	if !srv.admit(s) {
		Unavailable(w)
		return nil, false
	}
	return s, true
}

// nextOfShards spreads sessions evenly.
func (srv *Server) nextOfShards() *shard {
	return srv.shards[srv.nextShard.Add(1)%uint32(len(srv.shards))]
}

// SetTag sets the first 4 characters of the ids of later sessions, out of A-Z, a-z, 0-9, "-" and "_", so that whoever sees
// an id can tell whose it is. Without it they are random. It may be called at any time.
func (srv *Server) SetTag(tag string) error {
	if len(tag) != tagLength || strings.ContainsFunc(tag, func(r rune) bool { return !isTagCharacter(r) }) {
		return fmt.Errorf("tag %q must be %d characters out of A-Z, a-z, 0-9, \"-\" and \"_\"", tag, tagLength)
	}
	srv.tag.Store(&tag)
	return nil
}

// Tag returns what the ids of new sessions begin with.
func (srv *Server) Tag() string { return *srv.tag.Load() }

func isTagCharacter(r rune) bool {
	return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}

// newID returns the tag and 16 characters that cannot be guessed.
func (srv *Server) newID() string {
	var b [idLength]byte
	var random [randomBytes]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read does not fail
	copy(b[:], *srv.tag.Load())
	base64.RawURLEncoding.Encode(b[tagLength:], random[:])
	return string(b[:])
}

// open registers a session whose transport is in place and introduces it to the application. Errors are those of register.
func (srv *Server) open(s *Session) error {
	s.observe()
	if err := srv.register(s); err != nil {
		srv.abandon(s, err)
		return err
	}
	srv.count.opened.Add(1)
	srv.count.gauge(s.transport.kind()).Add(1)
	s.startHeartbeat()
	s.setHandler(srv.accept(s))
	if s.isClosed() { // perhaps before it was registered
		srv.unregister(s)
	}
	return nil
}

// abandon ends a session that could not be registered: it has no Handler. Who observes it may have ended it already.
func (srv *Server) abandon(s *Session, err error) {
	s.mu.Lock()
	ended := s.state == stateClosed
	var dropped messages
	if !ended {
		s.state, s.ending = stateClosed, &ending{reason: ReasonForcedClose, err: err}
		dropped = s.out.takeAll()
	}
	s.mu.Unlock()
	if ended {
		// finish has counted an end, and has Close wait for a Handler to be told.
		srv.count.opened.Add(1)
		srv.count.gauge(s.transport.kind()).Add(1)
		defer srv.tasks.done()
	} else {
		srv.count.drops[dropClosed].Add(uint64(dropped.release(srv.queued)))
		s.leave()
	}
	if s.observer() != nil {
		s.observer().Closed(s.ending.reason, s.ending.err)
	}
}

// register fails when the server has been closed, when handshakes are refused, or when the id is taken: another server may have
// chosen it. What it lets in is seen by whoever looks for sessions after RefuseHandshakes.
func (srv *Server) register(s *Session) error {
	shard := srv.tableShard(s.id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	switch _, taken := shard.sessions[s.id]; {
	case srv.closed.Load():
		return ErrClosed
	case srv.refusing.Load():
		return errRefusing
	case taken:
		return errTaken
	}
	shard.sessions[s.id] = s
	return nil
}

func (srv *Server) tableShard(id string) *tableShard {
	// The last character is random, and the low four bits of the alphabet spread well enough.
	return &srv.table[id[idLength-1]%tableShards]
}

// openPacket is the Engine.IO handshake; the order of the keys is the reference's.
func (srv *Server) openPacket(s *Session) string {
	cfg := srv.cfg
	return string(packetOpen) + `{"sid":"` + s.id + `","upgrades":` + cfg.upgrades[s.transport.kind()] +
		`,"pingInterval":` + strconv.FormatInt(cfg.PingInterval.Milliseconds(), 10) +
		`,"pingTimeout":` + strconv.FormatInt(cfg.PingTimeout.Milliseconds(), 10) +
		`,"maxPayload":` + strconv.FormatInt(cfg.MaxHTTPBufferSize, 10) + `}`
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
	srv.unregister(s)
	s.leave()
	srv.count.noteEnd(s.ending.reason)
}

// unregister takes a session out of the table, if it is there.
func (srv *Server) unregister(s *Session) {
	shard := srv.tableShard(s.id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if shard.sessions[s.id] == s {
		delete(shard.sessions, s.id)
	}
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

// Close refuses new sessions with 503, ends all there are as SendAway does, and returns when every goroutine of the server has
// ended. Peers get one second to take what is queued and to end their connections; then what is left is discarded. It is safe at
// any time, from any goroutine except a Handler's, and any number of times; the error is always nil.
func (srv *Server) Close() error {
	until := time.Now().Add(closeGrace)
	srv.refusing.Store(true)
	srv.sendAllAway(until)
	srv.closed.Store(true)
	for _, s := range srv.Sessions() {
		s.SendAway()
		s.Discard()
	}
	srv.waiting.close()
	if srv.tasks.wait(max(0, time.Until(until))) {
		return nil
	}
	for _, c := range srv.stillLingering() {
		c.close()
	}
	srv.tasks.wait(-1)
	return nil
}

// sendAllAway waits until all sessions have got what is queued and have ended, no longer than until some time.
func (srv *Server) sendAllAway(until time.Time) {
	for _, s := range srv.Sessions() {
		s.SendAway()
	}
	for srv.Len() > 0 && time.Now().Before(until) {
		time.Sleep(closeTick)
	}
}

// closer is a connection that can be closed at once, from any goroutine.
type closer interface{ close() }

func (srv *Server) stillLingering() []closer {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return slices.Collect(maps.Keys(srv.lingering))
}

// setLingering notes that c waits for the end of its closing handshake, or no longer does.
func (srv *Server) setLingering(c closer, on bool) {
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
