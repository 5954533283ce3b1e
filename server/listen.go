package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/internal/httpserve"
)

const (
	// drainTimeout is how long connections get to take what is queued for them when ListenAndServe ends.
	drainTimeout = 5 * time.Second
	// shutdownTimeout is how long handlers get after that.
	shutdownTimeout = 10 * time.Second
)

// ListenAndServe answers HTTP requests on a TCP address, host:port, until ctx ends, and then ends as gently as http.Server.Shutdown
// ends requests: the servers are drained (see [Server.Drain]), without a grace, for 5 s at most, so that clients get what is queued for
// them and do not all come to the other nodes at once; then, within 10 s, the listener closes, the servers shut down (see
// [Server.Shutdown]), and the HTTP server. What is done sooner is not waited for. It returns nil after a clean end, and else what failed.
// A program that wants to tell load balancers before, or another pace, calls Drain itself and ends ctx afterwards.
//
// The handler is a Server, or a mux with Servers in it; those of them that have been asked anything are shut down, others are
// left to the program. Unlike http.ListenAndServe it does not let a client keep half a request open for ever: the head of a
// request may take 10 s and have 64 KB, the next one may be 2 minutes away; websockets and parked polls have deadlines of their
// own. With a Server as handler, EngineOptions.MaxHalfOpen and MaxIdle bound the connections without one. When the process has no
// descriptors left, new connections are closed at once. The listener is one of NewListener. Logs go to the Server's logger, if
// it is the handler, or to slog.Default().
func ListenAndServe(ctx context.Context, addr string, handler http.Handler) error {
	listener, err := httpserve.Listen(ctx, addr)
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return Serve(ctx, NewListener(listener), handler)
}

// Serve is ListenAndServe on a listener, which it closes: server.NewListener(l), or for TLS
//
//	tls.NewListener(server.NewListener(l), config)
func Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	asked := &askedServers{}
	web := httpserve.Server{
		Handler:  handler,
		Log:      slog.Default(),
		Values:   context.WithValue(ctx, askedServersKey{}, asked),
		Drain:    func(error) { asked.drain() },
		Shutdown: asked.shutdown,
		Timeout:  shutdownTimeout,
	}
	if srv, ok := handler.(*Server); ok {
		asked.note(srv)
		web.Log, web.ConnState = srv.opts.Logger, srv.engine.ConnState
	}
	return web.Serve(ctx, listener)
}

// askedServers are the Servers that have been asked anything through one call of Serve. It is a value of each request's context.
type askedServers struct {
	mu sync.Mutex
	// Guarded by mu.
	list []*Server
}

type askedServersKey struct{}

// noteAsked tells the Serve through which a request came whom to shut down. It costs the request a look at its context.
func (srv *Server) noteAsked(r *http.Request) {
	asked, _ := r.Context().Value(askedServersKey{}).(*askedServers)
	if asked != nil && srv.askedBy.Load() != asked {
		asked.note(srv)
	}
}

func (a *askedServers) note(srv *Server) {
	a.mu.Lock()
	defer a.mu.Unlock()
	srv.askedBy.Store(a)
	for _, known := range a.list {
		if known == srv {
			return
		}
	}
	a.list = append(a.list, srv)
}

func (a *askedServers) servers() []*Server {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.list
}

// drain empties the servers at the same time. What comes of it does not matter: they shut down next.
func (a *askedServers) drain() {
	var running sync.WaitGroup
	for _, srv := range a.servers() {
		if srv.engine.Len() > 0 || srv.relays() > 0 {
			running.Go(func() { _ = srv.Drain(context.Background(), &DrainOptions{Timeout: drainTimeout}) })
		}
	}
	running.Wait()
}

// shutdown ends the servers at the same time.
func (a *askedServers) shutdown(ctx context.Context) error {
	list := a.servers()
	ended := make(chan error, len(list))
	for _, srv := range list {
		go func() { ended <- srv.Shutdown(ctx) }()
	}
	var failed error
	for range list {
		if err := <-ended; err != nil {
			failed = err
		}
	}
	return failed
}
