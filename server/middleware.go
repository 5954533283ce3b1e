package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/sockeye-io/sockeye/internal/jsontext"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/parser"
)

// attempt is a CONNECT packet that has not been answered, because application code decides about it.
type attempt struct {
	// Static after construction.
	name   string
	auth   int // bytes
	ctx    context.Context
	cancel context.CancelCauseFunc
	end    func(error) // of the operation

	stale bool // guarded by client.mu: the client has left, or sent another CONNECT; nobody waits for the answer

	socket *Socket // owned by the goroutine that decides; nil until there is a namespace for it
}

// connect handles a CONNECT packet. Without middlewares it is done on the spot; anything that runs application code leaves
// the reading side. The newest CONNECT for a namespace counts: an attempt that has not been decided ends here, a socket
// of the client goes on until its successor has been decided about.
func (c *client) connect(name string, auth []byte) {
	c.giveUp(name)
	text := c.tooMuch(name, len(auth))
	if text == "" && jsontext.HoldsLone(auth) {
		text = "Lone surrogate in the auth data"
	}
	if text != "" {
		c.refuse(nil, name, text, nil)
		return
	}
	if len(c.server.hooks.beforeConnect) > 0 && !c.mayConnect(name, auth) {
		return
	}
	nsp := c.server.acquire(name)
	if nsp == nil && !c.server.hasParents() {
		c.refuse(nil, name, "Invalid namespace", nil)
		return
	}
	if nsp != nil && len(nsp.hooks().middlewares) == 0 && !nsp.mayResume(auth) {
		c.joinAtOnce(nsp, auth)
		return
	}
	a := &attempt{name: name, auth: len(auth)}
	if !c.begin(a) {
		if nsp != nil {
			nsp.release()
		}
		_ = c.server.exceeded(limitAttempts, "one more namespace whose middlewares run for a client", maxAttempts)
		c.refuse(nil, name, "Too many attempts to connect", nil)
		return
	}
	a.ctx, a.end = c.server.begin(a.ctx, Operation{Kind: OperationConnect, Namespace: name})
	c.continueWith(func() { c.decide(a, nsp, auth) })
}

// joinAtOnce makes a socket for which nothing has to be decided.
func (c *client) joinAtOnce(nsp *Namespace, auth []byte) {
	end := c.beginConnect(nsp.name)
	s := newSocket(nsp, c, auth)
	start, ok := c.join(s, nil)
	if !ok {
		s.abandon(ReasonForcedServerClose)
		end(ErrDisconnected)
		return
	}
	end(nil)
	s.welcome(start, c.continueWith)
}

// beginConnect begins the operation. It allocates nothing unless somebody watches.
func (c *client) beginConnect(name string) (end func(error)) {
	if !c.server.watched() {
		return nothingEnds
	}
	_, end = c.server.begin(c.withValues(context.Background()), Operation{Kind: OperationConnect, Namespace: name})
	return end
}

// tooMuch says why a client may not join a namespace besides those that it is in, "" if it may. Only the reading side adds
// namespaces, so that the answer holds until it has.
func (c *client) tooMuch(name string, auth int) string {
	srv := c.server
	namespaces, kept := c.load(name)
	cost := socketCost + int64(auth)
	switch {
	case srv.checkName("name of a namespace", name) != nil:
		return "Namespace name too long"
	case namespaces >= srv.opts.MaxNamespaces:
		_ = srv.exceeded(limitNamespaces, "one more namespace of a client", int64(srv.opts.MaxNamespaces))
		return "Too many namespaces"
	case kept+auth > srv.opts.MaxAuth:
		_ = srv.exceeded(limitAuth, fmt.Sprintf("%d more bytes of auth objects", auth), int64(srv.opts.MaxAuth))
		return "Too much auth data"
	case c.keep(cost) != nil:
		return "Server is full"
	}
	c.session.ReleaseState(cost) // newSocket charges it
	return ""
}

// load returns in how many namespaces besides one the client is or may be soon, and the bytes of its auth objects.
func (c *client) load(name string) (namespaces, kept int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.sockets {
		if s.nsp.name != name {
			kept += len(s.auth)
			namespaces++
		}
	}
	for _, a := range c.attempts {
		kept += a.auth
		if !a.stale && c.socketLocked(a.name) == nil {
			namespaces++
		}
	}
	return namespaces, kept
}

// begin registers an attempt. It refuses more than a client can need; those that are stale count as long as they run.
func (c *client) begin(a *attempt) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.attempts) >= maxAttempts {
		return false
	}
	a.ctx, a.cancel = context.WithCancelCause(c.withValues(context.Background()))
	c.attempts = append(c.attempts, a)
	return true
}

// giveUp makes the attempt for a namespace that is not decided, if there is one, stale. It reports whether there was.
func (c *client) giveUp(name string) bool {
	c.mu.Lock()
	i := slices.IndexFunc(c.attempts, func(a *attempt) bool { return a.name == name && !a.stale })
	if i < 0 {
		c.mu.Unlock()
		return false
	}
	a := c.attempts[i]
	a.stale = true
	c.mu.Unlock()
	a.cancel(&DisconnectError{ReasonClientDisconnect})
	return true
}

func (c *client) isStale(a *attempt) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return a.stale
}

func (c *client) forgetLocked(a *attempt) {
	if i := slices.Index(c.attempts, a); i >= 0 {
		c.attempts = slices.Delete(c.attempts, i, i+1)
	}
}

// decide runs the application's part of a CONNECT, answers it, and then serves as the socket's first worker. nsp is nil
// when the namespace does not exist yet.
func (c *client) decide(a *attempt, nsp *Namespace, auth []byte) {
	err := errPanic // what it stays if a callback calls runtime.Goexit
	defer func() {
		a.cancel(context.Canceled)
		c.conclude(a, err)
		if a.socket == nil && err == nil {
			err = errNoNamespace
		}
		a.end(err)
	}()
	err = c.consult(a, nsp, auth)
}

// consult asks the application, when it is the attempt's turn. It sets the attempt's socket as soon as there is a namespace for it.
func (c *client) consult(a *attempt, nsp *Namespace, auth []byte) error {
	// What a client goes on with is taken when it is its turn: it would be lost if the client went away while it waits.
	if err := c.takeTurn(a); err != nil {
		if nsp != nil {
			nsp.release()
		}
		return err
	}
	defer c.server.turns.giveBack()
	if nsp != nil {
		a.socket = c.newcomer(a, nsp, auth)
	} else {
		nsp, created, err := c.server.createDynamic(a.ctx, a.name, authOrEmpty(auth))
		if nsp == nil {
			return err
		}
		a.socket = c.newcomer(a, nsp, auth)
		if created {
			c.server.announce(nsp)
		}
	}
	n := a.socket.nsp
	n.connecting.Add(1)
	defer n.connecting.Add(-1)
	if err := a.socket.runMiddlewares(a.ctx); err != nil || a.socket.restored == nil {
		a.socket.tellRecovery(refusedRecovery(err))
		return err
	}
	err := a.socket.recheck(a.ctx)
	if err == nil {
		err = a.socket.catchUp(a.ctx)
	}
	if err == nil {
		err = a.socket.resumes(a.ctx)
	}
	a.socket.tellRecovery(err)
	if err == nil {
		return nil
	}
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	// The client starts anew.
	if held, ok := c.server.unconnected.Pass("restore "+n.name, failureInterval); ok {
		c.server.opts.Logger.Debug("socket cannot go on", "namespace", n.name, "socket", a.socket.id, "error", err, "notLogged", held)
	}
	n.refs.Add(1) // the old socket still holds one
	a.socket.abandon(ReasonForcedServerClose)
	a.socket = newSocket(n, c, auth)
	return a.socket.runMiddlewares(a.ctx)
}

// newcomer makes the socket of an attempt: one that goes on, if there is something to go on with, or a new one.
func (c *client) newcomer(a *attempt, nsp *Namespace, auth []byte) *Socket {
	if nsp.resume != nil {
		if from := nsp.resume(a.ctx, c, auth); from != nil {
			return newRestoredSocket(nsp, c, auth, from)
		}
	}
	return newSocket(nsp, c, auth)
}

// conclude answers an attempt, unless it is stale.
func (c *client) conclude(a *attempt, err error) {
	s := a.socket
	switch {
	case s == nil:
		text := "Invalid namespace"
		switch {
		case errors.Is(err, errFull):
			text = "Server is full"
		case errors.Is(err, ErrLimit):
			text = "Too many namespaces"
		}
		c.refuse(a, a.name, text, nil)
	case err != nil:
		ce := clientError(err)
		stale := c.abandon(a)
		if !stale && ce.Message == hiddenMessage && err != errPanic && !errors.Is(err, ErrDisconnected) {
			if held, ok := c.server.unconnected.Pass(a.name, failureInterval); ok {
				c.server.opts.Logger.Warn("namespace middleware failed", "namespace", a.name, "error", err, "notLogged", held)
			}
		}
		c.refuse(a, a.name, ce.Message, ce.Data)
	default:
		start, ok := c.join(s, a)
		if !ok {
			if !c.abandon(a) {
				c.drop() // nobody would answer the client
			}
			return
		}
		s.endEarly()
		s.welcome(start, func(work func()) { work() })
	}
}

// abandon ends the socket of an attempt that has failed, and reports whether the attempt was stale.
func (c *client) abandon(a *attempt) (stale bool) {
	reason := ReasonForcedServerClose
	if stale = c.isStale(a); stale {
		reason = ReasonClientDisconnect
	}
	a.socket.abandon(reason)
	return stale
}

func authOrEmpty(auth []byte) json.RawMessage {
	if len(auth) == 0 {
		return json.RawMessage("{}")
	}
	return auth
}

// runMiddlewares runs those that are to decide about a socket; of one that goes on, those that always do.
func (s *Socket) runMiddlewares(ctx context.Context) error {
	skip := s.restored != nil && s.nsp.recovery != nil && !s.nsp.recovery.opts.RunMiddlewares
	for _, m := range s.nsp.hooks().middlewares {
		if skip && !m.value.always {
			continue
		}
		if err := s.protect("middleware", func() error { return m.value.run(ctx, s) }); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// join makes a socket connected: part of the client and of the index, with its CONNECT packet on the way, in one step
// with respect to the client's end and to broadcasts. start tells the caller to run the socket's worker.
func (c *client) join(s *Socket, a *attempt) (start, ok bool) {
	packet := c.encodeControl(&parser.Packet{Type: parser.Connect, Namespace: s.nsp.name, ID: parser.NoID,
		Payload: parser.Payload{JSON: s.connectData()}})
	c.mu.Lock()
	former, start, ok := c.joinLocked(s, a, packet)
	c.mu.Unlock()
	s.nsp.index.Flush()
	former.finish()
	return start, ok
}

func (c *client) joinLocked(s *Socket, a *attempt, packet *engine.Message) (former *detachment, start, ok bool) {
	if a != nil {
		c.forgetLocked(a)
	}
	if packet == nil || c.closed || c.server.closing.Load() || a != nil && a.stale {
		return nil, false, false
	}
	r := s.nsp.recovery
	if r != nil {
		r.claim(s)
	}
	start, ok = s.beginLocked(packet)
	if !ok {
		if r != nil {
			r.gone(s)
		}
		return nil, false, false
	}
	former = c.detachLocked(s.nsp.name)
	c.sockets = append(c.sockets, s)
	s.nsp.counts.joined.Add(1)
	if r != nil {
		r.enter(s)
	}
	if !c.joined {
		c.joined = true
		c.server.unjoined.Add(-1)
		c.timer.Stop()
		c.timer = nil
	}
	if s.restored == nil {
		s.nsp.index.Connect(member{s})
		// SendQueued does no I/O. A session that has closed takes nothing; its OnClose waits for c.mu.
		_ = c.session.SendQueued(packet)
		s.announced.Store(true)
	}
	return former, start, true
}

// detachLocked ends the socket of a client that has come back to its namespace.
func (c *client) detachLocked(namespace string) *detachment {
	if s := c.socketLocked(namespace); s != nil {
		return s.detachLocked(ReasonClientDisconnect, nil)
	}
	return nil
}

// beginLocked makes a socket connected and queues its first task; start is as for join. Client.mu is held.
func (s *Socket) beginLocked(connect *engine.Message) (start, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restored == nil {
		s.state.Store(stateConnected)
	} else if !s.openLocked(connect) {
		return false, false
	}
	if len(s.nsp.hooks().connection) > 0 {
		s.putLocked(task{step: stepConnection})
		start = s.staffLocked()
	}
	return start, true
}

// connectData is what the CONNECT packet tells the client.
func (s *Socket) connectData() []byte {
	if s.ticket == nil {
		return []byte(`{"sid":"` + s.id + `"}`)
	}
	raw, _ := encodeJSON(struct { // strings always have a JSON form
		SID string `json:"sid"`
		PID string `json:"pid,omitempty"`
	}{s.id, s.ticket.pid})
	return raw
}

// welcome tells of a socket that has joined and then, if start says so, hands its first worker to run.
func (s *Socket) welcome(start bool, run func(work func())) {
	told := false
	defer func() {
		switch {
		case start && told:
			run(s.work)
		case start: // a hook has ended this goroutine by runtime.Goexit
			s.nsp.server.spawn(s.work)
		}
	}()
	if len(s.nsp.server.hooks.afterConnect) > 0 {
		s.tellConnect()
	}
	told = true
}

// refuse answers a CONNECT with CONNECT_ERROR, unless its attempt is stale. The client is not in the namespace afterwards.
// Data that cannot be encoded is left out. a is nil if the answer is given on the reading side.
func (c *client) refuse(a *attempt, namespace, message string, data any) {
	raw, err := encodeJSON(errorBody{message, data})
	if err != nil {
		raw, _ = encodeJSON(errorBody{Message: message})
	}
	m := c.encodeControl(&parser.Packet{Type: parser.ConnectError, Namespace: namespace, ID: parser.NoID, Payload: parser.Payload{JSON: raw}})
	c.mu.Lock()
	if a != nil {
		c.forgetLocked(a)
	}
	var former *detachment
	answered := a == nil || !a.stale
	if answered {
		former = c.detachLocked(namespace)
		if m != nil {
			// With the lock held, so that no answer to a later CONNECT overtakes it. The session may have closed; then nobody waits.
			_ = c.session.SendQueued(m)
		}
	}
	c.mu.Unlock()
	former.finish()
	if answered {
		c.server.countRefusal(a, namespace)
	}
}
