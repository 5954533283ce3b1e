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

// shutdownTimeout is how long handlers get when ListenAndServe ends.
const shutdownTimeout = 10 * time.Second

// ListenAndServe answers HTTP requests on a TCP address, host:port, until ctx ends, and then shuts everything down in the right
// order: the listener, the servers (see [Server.Shutdown]), the HTTP server. That takes 10 s at most. It returns nil after a clean
// end, and else what failed.
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

// shutdown ends the servers at the same time.
func (a *askedServers) shutdown(ctx context.Context) error {
	a.mu.Lock()
	list := a.list
	a.mu.Unlock()
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
