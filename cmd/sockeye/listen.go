package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
)

// freshConns are the connections on which no request has begun. The zero value is ready.
type freshConns struct {
	mu sync.Mutex
	// Guarded by mu.
	open   map[net.Conn]struct{}
	closed bool
}

// note follows a connection's state; it is an http.Server's ConnState.
func (f *freshConns) note(conn net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if state != http.StateNew {
		delete(f.open, conn)
		return
	}
	if f.closed {
		conn.Close()
		return
	}
	if f.open == nil {
		f.open = make(map[net.Conn]struct{})
	}
	f.open[conn] = struct{}{}
}

// close closes the connections, and those to come.
func (f *freshConns) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for conn := range f.open {
		conn.Close()
	}
}

// httpLog is where an http.Server logs. Nearly all it has to say is what a client did wrong, which is for debugging; but
// that no connection can be accepted, for want of descriptors, is for the operator. The server itself slows down to one
// such line a second.
type httpLog struct{ slog.Handler }

// Handle raises the level of what an operator must see.
func (h httpLog) Handle(ctx context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "Accept error") {
		r.Level = slog.LevelError
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// Enabled lets everything through to Handle, which knows the level.
func (h httpLog) Enabled(context.Context, slog.Level) bool { return true }
