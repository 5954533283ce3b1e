package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Connection state recovery: a client that comes back in time goes on with its socket's id, its rooms and its data, and gets what it
// has missed. The parts are
//
//   - the adapter's history, which gives events their offsets, and what is delivered on this node one order (adapter.History);
//   - sessions, which are saved when a socket ends for a reason that is not its client's will (adapter.SessionStore);
//   - this file, which saves them, and finds what a CONNECT packet with a pid can go on with;
//   - restore.go, which makes a socket of that.
//
// An event without an offset whose last argument is a string would make the client believe that this is its offset. It gets null as one
// more argument.

// Defaults of RecoveryOptions.
const (
	defaultMaxDisconnection = 2 * time.Minute
	defaultMaxMissed        = 10_000
	defaultMaxMissedBytes   = 4 << 20
	// saveTimeout bounds how long a session's end waits for the store.
	saveTimeout = 5 * time.Second
	// endTimeout bounds how long a client that comes back waits until its session is saved.
	endTimeout = 2 * time.Second
	// maxRestores is how many clients of a server wait for what they have missed at the same time. Those of a cluster read it together.
	maxRestores = 256
)

// RecoveryOptions configure connection state recovery, see Options.Recovery.
type RecoveryOptions struct {
	// MaxDisconnectionDuration is how long after the end of its connection a client can go on. Default 2 min.
	MaxDisconnectionDuration time.Duration

	// RunMiddlewares runs the namespace's middlewares also for clients that go on. By default those of Use are skipped, as in the
	// reference, and those of UseAlways run.
	RunMiddlewares bool

	// Recheck decides whether the client of a socket that goes on may do so: whether the new connection, see Socket.Handshake, is still
	// whose the session is, which Socket.Data and Rooms show. It runs before the client gets anything. After an error the client starts
	// anew, through the middlewares. It must be able to run on many goroutines. Default: every client may that knows the session's secret.
	Recheck func(ctx context.Context, s *Socket) error

	// MaxMissed and MaxMissedBytes bound what one client gets when it goes on; one that has missed more starts anew. Defaults 10,000
	// events and 4 MiB.
	MaxMissed, MaxMissedBytes int

	// Expired is told when a client that could have gone on has not come back in time, on one node of the cluster: on that which has
	// saved the session, or if sessions outlive their nodes on any. It is up to MaxDisconnectionDuration later if the client's node was
	// killed, and a few seconds in any case. It must not block. Default: nobody is told.
	Expired func(n *Namespace, e ExpiredSession)
}

// ExpiredSession is what is known of a client that has not come back.
type ExpiredSession struct {
	SocketID string
	Rooms    []string        // its own included
	Data     json.RawMessage // an object
}

// settings returns a copy with all defaults filled in.
func (o *RecoveryOptions) settings() (*RecoveryOptions, error) {
	if o == nil {
		return nil, nil
	}
	s := *o
	return &s, cmp.Or(
		setting("MaxDisconnectionDuration", &s.MaxDisconnectionDuration, defaultMaxDisconnection),
		setting("MaxMissed", &s.MaxMissed, defaultMaxMissed),
		setting("MaxMissedBytes", &s.MaxMissedBytes, defaultMaxMissedBytes),
	)
}

// Recovery results, the keys of Stats.Recovery.
const (
	recoveryDone    = iota // the client has gone on
	recoveryUnknown        // there is no such session, or not any more
	recoveryGap            // not all that was missed is known any more, or the offset is none
	recoveryLimit          // too much was missed
	recoveryRefused        // Recheck or a middleware has refused it
	recoveryFailed         // the store or the history could not be reached
	recoveryGone           // the client went away meanwhile
	recoveryForeign        // other nodes serve the namespace whose broadcasts are in no history
	recoveryResults
)

var recoveryNames = [recoveryResults]string{"recovered", "unknown", "gap", "limit", "refused", "failed", "gone", "foreign"}

// recovery is what a namespace keeps for clients that come back.
type recovery struct {
	// Static after construction.
	nsp     *Namespace
	opts    *RecoveryOptions
	history adapter.History
	store   adapter.SessionStore
	keeper  *keeper // nil if the store ends with the node
	reaper  *reaper // nil if nobody wants to know, or the store tells by itself, or cannot

	mu sync.Mutex
	// Guarded by mu.
	live    map[string]*Socket        // by pid, until their sessions are saved
	awaited map[*Socket]chan struct{} // closed when the socket is live no more
}

// recoveryCounts count results.
type recoveryCounts [recoveryResults]atomic.Uint64

// snapshot is nil if nothing is kept.
func (c *recoveryCounts) snapshot() map[string]uint64 {
	m := make(map[string]uint64, recoveryResults)
	for i := range c {
		m[recoveryNames[i]] = c[i].Load()
	}
	return m
}

// newRecovery makes the adapter keep what it broadcasts. It returns nil, and says so, if the adapter cannot.
func newRecovery(n *Namespace, a adapter.Adapter) *recovery {
	opts := n.server.opts.Recovery
	r := &recovery{nsp: n, opts: opts, live: make(map[string]*Socket), awaited: make(map[*Socket]chan struct{})}
	err := errors.ErrUnsupported
	if h, ok := a.(adapter.Historian); ok {
		r.history, r.store, err = h.Keep(adapter.HistoryOptions{Retain: opts.MaxDisconnectionDuration, Expired: r.expired})
	}
	if err == nil {
		if store, ok := r.store.(adapter.SessionKeeper); ok {
			r.keeper = newKeeper(r, store)
		}
		if store, ok := r.store.(adapter.SessionReaper); ok && opts.Expired != nil {
			r.reaper = newReaper(r, store)
		}
		return r
	}
	if held, ok := n.server.alone.Pass("recovery", failureInterval); ok {
		n.server.opts.Logger.Warn("the adapter keeps no history: clients that come back start anew", "namespace", n.name, "error", err, "notLogged", held)
	}
	return nil
}

func (r *recovery) expired(s *adapter.Session) {
	if r.opts.Expired == nil {
		return
	}
	e := ExpiredSession{SocketID: s.SocketID, Rooms: s.Rooms, Data: s.Data.JSON}
	_ = r.nsp.server.protect("recovery expired", r.nsp.name, s.SocketID, func() error {
		r.opts.Expired(r.nsp, e)
		return nil
	})
}

func (r *recovery) count(result int) { r.nsp.server.recoveries[result].Add(1) }

// mayResume reports whether a client may have asked to go on. It is cheap for those that have not.
func (n *Namespace) mayResume(auth []byte) bool {
	return n.resume != nil && (n.recovery == nil || bytes.Contains(auth, []byte(`"pid"`)))
}

// resume finds what a client can go on with. Of several that come with one secret the last one goes on.
func (r *recovery) resume(ctx context.Context, c *client, auth []byte) *restoration {
	var asked struct {
		PID    string `json:"pid"`
		Offset any    `json:"offset"`
	}
	if !r.nsp.mayResume(auth) || json.Unmarshal(auth, &asked) != nil || asked.PID == "" {
		return nil
	}
	if !isID(asked.PID) { // of which the store is not to make a key
		r.count(recoveryUnknown)
		return nil
	}
	if err := r.end(ctx, c, asked.PID); err != nil {
		r.count(recoveryFailed)
		r.complain(err)
		return nil
	}
	session, err := r.take(ctx, asked.PID)
	switch {
	case err != nil:
		r.count(recoveryFailed)
		r.complain(err)
		return nil
	case session == nil, session.Namespace != "" && session.Namespace != r.nsp.name:
		r.count(recoveryUnknown)
		return nil
	}
	from := &restoration{id: session.SocketID, pid: session.PID, rooms: session.Rooms, data: objectOf(session.Data),
		position: session.Offset, owner: session.Owner}
	if offset, ok := asked.Offset.(string); ok {
		if r.history.Compare(offset, cmp.Or(session.Since, session.Offset)) < 0 { // of what was sent before the client came it has no right to know
			r.count(recoveryGap)
			return nil
		}
		if r.history.Compare(offset, from.position) >= 0 { // else it has got what came in between
			from.position = offset
		}
	}
	from.missed = func(ctx context.Context) (adapter.Missed, error) {
		if err := r.nsp.server.restores.take(ctx); err != nil {
			return adapter.Missed{}, err
		}
		defer r.nsp.server.restores.giveBack()
		limits := adapter.HistoryLimits{Packets: r.opts.MaxMissed, Bytes: r.opts.MaxMissedBytes}
		return r.history.Missed(ctx, from.position, session.Rooms, limits)
	}
	return from
}

// take loads a session. One that is in this node's memory stays there until the client has gone on: a middleware may refuse it for now,
// or its connection may be lost again.
func (r *recovery) take(ctx context.Context, pid string) (*adapter.Session, error) {
	if r.keeper != nil {
		return r.keeper.take(ctx, pid)
	}
	return r.store.Load(ctx, pid)
}

// end ends the socket of a client that has come back before its old connection was known to be dead, or while its end is being dealt
// with. Its session is saved when end returns without an error.
func (r *recovery) end(ctx context.Context, asker *client, pid string) error {
	r.mu.Lock()
	s := r.live[pid]
	if s == nil {
		r.mu.Unlock()
		return nil
	}
	left := r.awaited[s]
	if left == nil {
		left = make(chan struct{})
		r.awaited[s] = left
	}
	r.mu.Unlock()
	s.client.mu.Lock() // it may be about to connect
	connected := s.Connected()
	s.client.mu.Unlock()
	if s.client != asker && connected {
		s.client.end(ReasonTransportClose)
		s.client.session.Discard()
	}
	timer := time.NewTimer(endTimeout)
	defer timer.Stop()
	select {
	case <-left:
		return nil
	case <-timer.C:
		return errNotSaved
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errNotSaved = errors.New("the session could not be saved")

// tellRecovery counts what came of a client's wish to go on, if it had one.
func (s *Socket) tellRecovery(err error) {
	r := s.nsp.recovery
	if r == nil || s.restored == nil {
		return
	}
	switch {
	case err == nil:
		r.count(recoveryDone)
	case errors.Is(err, ErrDisconnected):
		r.count(recoveryGone)
	case errors.Is(err, errIDTaken): // another connection goes on with it
		r.count(recoveryUnknown)
	case errors.Is(err, adapter.ErrHistoryGap):
		r.count(recoveryGap)
	case errors.Is(err, adapter.ErrHistoryForeign):
		r.count(recoveryForeign)
	case errors.Is(err, adapter.ErrHistoryLimit):
		r.count(recoveryLimit)
	case errors.Is(err, errRefusedRecovery):
		r.count(recoveryRefused)
	default:
		r.count(recoveryFailed)
		r.complain(err)
	}
}

// claim says that the session is that of a socket which is about to connect: as soon as the client knows, it may come back. client.mu is
// held. If the socket does not connect, gone ends it.
func (r *recovery) claim(s *Socket) {
	if s.restored == nil {
		s.ticket.since = r.history.Position() // before the keeper can see it
		s.ticket.position.Store(s.ticket.since)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live[s.ticket.pid] = s
}

// enter gives a socket that is about to connect what it can be found by, client.mu is held.
func (r *recovery) enter(s *Socket) {
	if s.restored != nil && r.keeper == nil {
		_, _ = r.store.Delete(context.Background(), s.ticket.pid) // in memory it neither fails nor waits
	}
	s.ticket.entered.Store(true)
	r.changed(s)
}

// changed has the session of a socket written whose rooms or data have changed, or that has just come.
func (r *recovery) changed(s *Socket) {
	if r.keeper != nil && s.Connected() {
		r.keeper.put(s)
	}
}

// leave saves the session of a socket that has ended, unless its client wanted the end, or goes on elsewhere already.
func (r *recovery) leave(s *Socket, reason Reason) {
	switch {
	case s.ticket.taken.Load():
	case r.keeper != nil:
		r.keeper.end(s, reason)
		return
	case recoverable(reason):
		ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
		defer cancel()
		if err := r.store.Save(ctx, r.session(s), r.opts.MaxDisconnectionDuration); err != nil {
			r.complain(err)
		}
	}
	r.gone(s)
}

// gone forgets a socket whose session is saved, or will not be.
func (r *recovery) gone(s *Socket) {
	pid := s.ticket.pid
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.live[pid] == s {
		delete(r.live, pid)
	}
	if left := r.awaited[s]; left != nil {
		close(left)
		delete(r.awaited, s)
	}
}

// close returns when the sessions of sockets that have ended are saved, or cannot be.
func (r *recovery) close() {
	if r.keeper != nil {
		r.keeper.close()
	}
	if r.reaper != nil {
		r.reaper.close()
	}
}

// ticket is what a client goes on with.
type ticket struct {
	pid      string // static: the secret by which the client finds its session again
	since    string // before all that the client has got since it started or last went on; set before it has connected
	position offset // before all that the client may not have got; set before it has connected
	pong     offset // the history's at the last pong: the next one says that the client has got what came before

	entered atomic.Bool // the socket has connected
	taken   atomic.Bool // the client goes on elsewhere
	owner   atomic.Pointer[string]
}

// offset is one of a history, "" at first.
type offset struct{ text atomic.Pointer[string] }

func (o *offset) Store(text string) { o.text.Store(&text) }

func (o *offset) Load() string {
	if text := o.text.Load(); text != nil {
		return *text
	}
	return ""
}

// answered notes that the client has answered a ping. What was delivered before the pong before was sent to it before that ping.
func (r *recovery) answered(s *Socket) {
	if before := s.ticket.pong.Load(); before != "" {
		s.ticket.position.Store(before)
	}
	s.ticket.pong.Store(r.history.Position())
}

func (t *ticket) ownedBy() string {
	if owner := t.owner.Load(); owner != nil {
		return *owner
	}
	return ""
}

// SetOwner says whose the socket is, for clients that come back, see Options.Recovery: one that is another owner's when it comes starts
// anew. Middlewares of UseAlways call it; by default a socket is nobody's, and whoever knows the session's secret goes on. It does
// nothing without recovery.
func (s *Socket) SetOwner(owner string) {
	if s.ticket != nil {
		s.ticket.owner.Store(&owner)
	}
}

func (r *recovery) complain(err error) {
	srv := r.nsp.server
	if held, ok := srv.unconnected.Pass("recovery "+r.nsp.name, failureInterval); ok {
		srv.opts.Logger.Warn("sessions of clients cannot be kept or found", "namespace", r.nsp.name, "error", err, "notLogged", held)
	}
}

// slots bound how many do something at the same time.
type slots chan struct{}

func (s slots) take(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s slots) giveBack() { <-s }

// objectOf returns the members of a JSON object.
func objectOf(p parser.Payload) map[string]json.RawMessage {
	var members map[string]json.RawMessage
	_ = json.Unmarshal(p.JSON, &members) // what is no object has none
	return members
}

// unoffset returns an event that has no offset in a form that leaves the offset alone that the client has.
func (n *Namespace) unoffset(p *parser.Packet) *parser.Packet {
	if n.recovery == nil || p.Type != parser.Event || p.ID >= 0 || !endsInString(p.Payload.JSON) {
		return p
	}
	q := *p
	q.Payload = adapter.WithArgument(p.Payload, "null")
	return &q
}

// endsInString reports whether the last element of a JSON array is a string.
func endsInString(list []byte) bool {
	list = bytes.TrimRight(list, " \t\r\n")
	if len(list) == 0 || list[len(list)-1] != ']' {
		return false
	}
	list = bytes.TrimRight(list[:len(list)-1], " \t\r\n")
	return len(list) > 0 && list[len(list)-1] == '"'
}
