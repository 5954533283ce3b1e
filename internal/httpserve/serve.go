// Package httpserve runs an HTTP server that strangers reach: what they may keep open has deadlines, those for whom no
// descriptor is left are refused at once, and it ends in an order in which nobody waits for nothing.
package httpserve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// readHeaderTimeout bounds the head of a request, idleTimeout the time between two of a connection.
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
)

// Server is an HTTP server together with what is behind its handler.
type Server struct {
	Handler http.Handler
	Log     *slog.Logger
	// ConnState is told of the connections, as http.Server's; nil for nobody.
	ConnState func(net.Conn, http.ConnState)
	// About is what the line "listening" says besides the address.
	About []any
	// Values are those of the context of each request; its end is not.
	Values context.Context
	// Drain, if not nil, is called with the cause when ctx has ended, while requests are still taken: the listener closes when it
	// returns.
	Drain func(cause error)
	// Shutdown ends what is behind the handler: when it returns, no request waits for anything any more.
	Shutdown func(context.Context) error
	// Timeout bounds what comes after Drain, Shutdown included.
	Timeout time.Duration
}

// parker is a listener that takes connections on which nothing happens away from the HTTP server, and brings them back by another
// listener; see engine.NewListener.
type parker interface {
	Park(*http.Server) (back net.Listener, settle func(context.Context))
}

// Listen opens a TCP address, host:port. The connections have no probes of TCP: each has deadlines of its own, for the head
// of a request, for the next one, for the next pong, and the probes, which Node does not use either, would cost four system
// calls for each.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	return config.Listen(ctx, "tcp", addr)
}

// Serve answers the requests of a listener, which it closes, until ctx ends or the listener fails. It returns when everything
// has ended, or Timeout after Drain; nil says that ctx has ended it and everything was done.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	var fresh freshConns
	kept := newReserve(listener, s.Log)
	web := &http.Server{
		Handler:           s.Handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(httpLog{s.Log.Handler()}, slog.LevelDebug),
		ConnState: func(conn net.Conn, state http.ConnState) {
			fresh.note(conn, state)
			if s.ConnState != nil {
				s.ConnState(conn, state)
			}
		},
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(s.Values) },
	}
	settle := func(context.Context) {}
	var back sync.WaitGroup
	if l, ok := listener.(parker); ok {
		var parked net.Listener
		parked, settle = l.Park(web)
		back.Go(func() { _ = web.Serve(parked) })
	}
	failed := make(chan error, 1)
	go func() { failed <- web.Serve(kept) }()
	s.Log.Info("listening", append([]any{"addr", listener.Addr().String(), "descriptors", DescriptorLimit()}, s.About...)...)

	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		if s.Drain != nil {
			s.Drain(context.Cause(ctx))
		}
		s.Log.Info("shutting down", "timeout", s.Timeout.String())
		// Serve has let go of the listener when it returns; before, web.Shutdown would close it a second time and complain.
		_ = kept.Close()
		<-failed
	}
	kept.spend()
	stopped := s.stop(web, &fresh, settle)
	back.Wait()
	if stopped != nil {
		err = errors.Join(err, fmt.Errorf("shut down: %w", stopped))
	}
	if err == nil {
		s.Log.Info("stopped")
	}
	return err
}

// stop ends what is behind the handler first, so that parked polls have ended when the HTTP server waits for them.
func (s *Server) stop(web *http.Server, fresh *freshConns, settle func(context.Context)) error {
	deadline, cancel := context.WithTimeout(context.Background(), s.Timeout)
	defer cancel()
	err := s.Shutdown(deadline)
	settle(deadline)
	// Connections on which nothing was ever asked would be waited for.
	fresh.close()
	err = errors.Join(err, web.Shutdown(deadline))
	_ = web.Close()
	return err
}

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
// that no connection can be accepted is for the operator. The server itself slows down to one such line a second.
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
