package main

import (
	"context"
	"log/slog"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

// engineApp is a bare Engine.IO server that sends every message back.
func (c *serveCommand) engineApp(log *slog.Logger) (*app, error) {
	opts := c.engineOptions(log, "/engine.io")
	limited := server.Options{Engine: opts, Logger: log}
	l, err := c.limitFlags.install(&limited)
	if err != nil {
		return nil, err
	}
	srv, err := engine.New(&limited.Engine, func(s *engine.Session) engine.Handler { return echo{s} })
	if err != nil {
		return nil, err
	}
	return &app{
		handler:  srv,
		engine:   srv,
		limits:   l,
		shutdown: func(context.Context) error { return srv.Close() },
	}, nil
}

// echo sends every message of a session back. The data is borrowed, so binary messages are copied; a text is copied
// into its frame anyway.
type echo struct{ session *engine.Session }

func (e echo) OnText(data []byte) { e.send(engine.NewMessage(data)) }

func (e echo) OnBinary(data []byte) {
	e.send(engine.NewBinaryMessage(append([]byte(nil), data...)))
}

// send ignores the error: it says that the session has closed, and OnClose says so too.
func (e echo) send(m *engine.Message) { _ = e.session.Send(m) }

func (echo) OnClose(string, error) {}
