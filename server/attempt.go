package server

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
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

// addAttempt registers an attempt. It refuses more than a client can need; those that are stale count as long as they run.
func (c *client) addAttempt(a *attempt) bool {
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

func (c *client) removeAttemptLocked(a *attempt) {
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
