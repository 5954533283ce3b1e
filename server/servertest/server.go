package servertest

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

const (
	defaultBufferSize = 64 << 10
	defaultPath       = "/socket.io/"
	defaultTimeout    = 10 * time.Second
)

// Options configure a Server. Nil and the zero value mean the defaults.
type Options struct {
	// BufferSize is how many bytes a connection holds in each direction before a write blocks, as the socket buffers of
	// a kernel do. A small one lets a test fill the line to a client that does not read. Default 64 KiB.
	BufferSize int
	// Path of the requests that clients make. Default "/socket.io/".
	Path string
	// Timeout is how long the methods that fail the test wait before they do. Default 10 s. In a synctest bubble that is
	// virtual time, and waiting for what takes longer, such as a ping timeout, needs more.
	Timeout time.Duration
	// Configure, if not nil, may change the HTTP server before it starts, for example its timeouts.
	Configure func(*http.Server)
}

// Server serves one handler on connections in memory, until the test ends. All methods may be called from any goroutine,
// but see the package's notes on those that fail the test.
type Server struct {
	// Static after construction.
	t        testing.TB
	handler  http.Handler
	opts     Options
	http     *http.Server
	listener *listener
	web      *http.Client

	serving sync.WaitGroup // the accept loop
	conns   sync.WaitGroup // connections that the HTTP server looks after
}

// New serves h, usually a *server.Server, until the test t ends, and then closes it if it is an io.Closer. A
// *server.Server is shut down instead: handlers get Options.Timeout to return, and the test fails if they do not or if
// sockets, rooms, sessions or acknowledgements are left behind.
func New(t testing.TB, h http.Handler, opts *Options) *Server {
	t.Helper()
	srv := &Server{t: t, handler: h}
	if opts != nil {
		srv.opts = *opts
	}
	if srv.opts.BufferSize <= 0 {
		srv.opts.BufferSize = defaultBufferSize
	}
	if srv.opts.Path == "" {
		srv.opts.Path = defaultPath
	}
	if srv.opts.Timeout <= 0 {
		srv.opts.Timeout = defaultTimeout
	}
	srv.listener = newListener(srv.opts.BufferSize)
	srv.web = &http.Client{Transport: &http.Transport{DialContext: srv.DialContext}}
	srv.http = &http.Server{Handler: h}
	if srv.opts.Configure != nil {
		srv.opts.Configure(srv.http)
	}
	srv.http.ConnState = srv.counted(srv.http.ConnState)
	srv.serving.Go(func() { _ = srv.http.Serve(srv.listener) })
	t.Cleanup(srv.close)
	return srv
}

// counted makes the end of the test wait for the HTTP server's goroutines. All connections are new before the accept loop
// ends; one that is taken over belongs to the handler.
func (srv *Server) counted(next func(net.Conn, http.ConnState)) func(net.Conn, http.ConnState) {
	return func(c net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			srv.conns.Add(1)
		case http.StateClosed, http.StateHijacked:
			defer srv.conns.Done()
		}
		if next != nil {
			next(c, state)
		}
	}
}

func (srv *Server) close() {
	srv.web.CloseIdleConnections()
	under, _ := srv.handler.(*server.Server)
	if under != nil {
		ctx, cancel := srv.patience()
		defer cancel()
		if err := under.Shutdown(ctx); err != nil {
			srv.t.Errorf("servertest: shutdown: %v; stats %+v", err, under.Stats())
			under = nil
		}
	} else if closer, ok := srv.handler.(io.Closer); ok {
		if err := closer.Close(); err != nil {
			srv.t.Errorf("servertest: close the handler: %v", err)
		}
	}
	_ = srv.http.Close() // closes the listener and with it every connection
	srv.serving.Wait()
	srv.conns.Wait()
	if under == nil {
		return
	}
	if s := under.Stats(); leftBehind(&s) {
		srv.t.Errorf("servertest: left behind after the shutdown: %+v", s)
	}
}

func leftBehind(s *server.Stats) bool {
	return s.Sockets+s.Connecting+s.Rooms+s.PendingAcks+s.Workers+
		s.Engine.Sessions+s.Engine.Polling+s.Engine.WebSocket+s.Engine.Upgrading+s.Engine.Closing != 0
}

// DialContext opens a bare connection to the HTTP server, for tests of what comes before or instead of the protocol and
// for clients of other packages; network and address are ignored. The caller closes it.
func (srv *Server) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	c, err := srv.listener.dial(ctx)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// HTTPClient returns a client whose requests all go to the server, whatever host their URL names.
func (srv *Server) HTTPClient() *http.Client { return srv.web }

// Connect dials over websocket and joins a namespace, see [Client.Connect].
func (srv *Server) Connect(t testing.TB, namespace string, auth any) *Socket {
	t.Helper()
	return srv.Dial(t, nil).Connect(namespace, auth)
}
