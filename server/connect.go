package server

import (
	"context"
	"fmt"

	"github.com/sockeye-io/sockeye/internal/jsontext"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/parser"
)

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
	if !c.addAttempt(a) {
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
		c.removeAttemptLocked(a)
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

// beginLocked makes a socket connected and queues its first task; start is as for join. Client.mu is held.
func (s *Socket) beginLocked(connect *engine.Message) (start, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.restored == nil {
		s.phase.Store(phaseConnected)
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
		c.removeAttemptLocked(a)
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
