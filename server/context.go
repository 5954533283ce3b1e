package server

import (
	"context"
	"time"

	"github.com/sockeye-io/sockeye/server/engine"
)

// socketContext is a Socket as a context. The real context behind it is made when somebody waits for it or asks it for
// its cause, so that a socket whose handlers ignore their contexts has none.
type socketContext Socket

type cancelContext struct {
	context.Context
	cancel context.CancelCauseFunc
}

// Deadline reports that there is none.
func (c *socketContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done is closed when the socket disconnects.
func (c *socketContext) Done() <-chan struct{} { return c.real().Done() }

// Err is context.Canceled after the disconnect.
func (c *socketContext) Err() error {
	if c.phase.Load() == phaseClosed {
		return context.Canceled
	}
	c.mu.Lock()
	ctx := c.ctx
	c.mu.Unlock()
	if ctx == nil {
		return nil
	}
	return ctx.Err()
}

// Value returns what EngineOptions.SessionContext has kept. It also lets the context package find the real context, for
// context.Cause and for contexts derived from this one.
func (c *socketContext) Value(key any) any {
	if v := c.client.session.Value(key); v != nil {
		return v
	}
	return c.real().Value(key)
}

func (c *socketContext) real() *cancelContext {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		c.ctx = &cancelContext{ctx, cancel}
		if c.phase.Load() == phaseClosed {
			cancel(&DisconnectError{c.reason})
		}
	}
	return c.ctx
}

// withValues returns a context that ends with parent and has the values of the client's session.
func (c *client) withValues(parent context.Context) context.Context {
	if c.server.opts.Engine.SessionContext == nil {
		return parent
	}
	return &sessionContext{parent, c.session}
}

// sessionContext is a context with the values of a session, which hide those of the context.
type sessionContext struct {
	context.Context
	session *engine.Session
}

// Value asks the session first. It has nothing under the keys of package context itself.
func (c *sessionContext) Value(key any) any {
	if v := c.session.Value(key); v != nil {
		return v
	}
	return c.Context.Value(key)
}

// cancelContext ends the context, if there is one. The socket is closed already, so that a later one is born ended.
func (s *Socket) cancelContext() {
	s.mu.Lock()
	ctx, reason := s.ctx, s.reason
	s.mu.Unlock()
	if ctx != nil {
		ctx.cancel(&DisconnectError{reason})
	}
}
