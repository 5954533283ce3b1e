package soak

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

// app is the server under test: an application that uses what leaves something behind when it goes wrong.
type app struct {
	*server.Server

	connected, disconnected atomic.Int64

	mu sync.Mutex
	// Guarded by mu.
	reasons map[string]map[server.Reason]int // by what the client said it would do
}

// registrar is what namespaces and their parents have in common.
type registrar interface {
	Use(server.Middleware) (remove func())
	Handle(event string, handler server.Handler) (remove func())
	OnConnection(func(context.Context, *server.Socket)) (remove func())
	OnDisconnect(func(context.Context, *server.Socket, server.Reason)) (remove func())
	OnError(func(context.Context, *server.Socket, string, error)) (remove func())
}

func newApp(t testing.TB, opts *server.Options) *app {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = quiet()
	}
	opts.Engine.ReadMode = engine.ReadMode(*readMode)
	opts.CleanupEmptyChildNamespaces = true
	srv, err := server.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	a := &app{Server: srv, reasons: make(map[string]map[server.Reason]int)}
	a.register(srv.Of("/"))
	for _, name := range []string{"/n1", "/n2", "/n3", "/n4"} {
		a.register(srv.Of(name))
	}
	guarded := srv.Of("/guarded")
	a.register(guarded)
	guarded.Use(func(context.Context, *server.Socket) error { return &server.ClientError{Message: "not you"} })
	slow := srv.Of("/slow")
	a.register(slow)
	slow.Use(func(ctx context.Context, s *server.Socket) error {
		_ = s.Join(ctx, "early")
		<-ctx.Done()
		return nil
	})
	a.register(srv.OfPattern(regexp.MustCompile(`^/pattern-`)))
	refusing := srv.OfPattern(regexp.MustCompile(`^/refusing-`))
	a.register(refusing)
	refusing.Use(func(context.Context, *server.Socket) error { return errors.New("no") })
	a.register(srv.OfFunc(func(_ context.Context, name string, _ json.RawMessage) bool {
		return strings.HasPrefix(name, "/func-")
	}))
	return a
}

func (a *app) register(n registrar) {
	n.OnError(func(context.Context, *server.Socket, string, error) {})
	n.OnConnection(func(ctx context.Context, s *server.Socket) {
		a.connected.Add(1)
		_ = s.Join(ctx, "all", "initial-"+s.ID()[:1])
	})
	n.OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) {
		a.disconnected.Add(1)
		a.note(pathOf(s), reason)
	})
	n.Handle("echo", server.FuncAck(func(_ context.Context, _ *server.Socket, args server.Args) (server.Args, error) {
		return args, nil
	}))
	n.Handle("join", server.Func(func(ctx context.Context, s *server.Socket, room string) error { return s.Join(ctx, room) }))
	n.Handle("kick", server.Func(func(_ context.Context, s *server.Socket, _ server.None) error {
		s.DisconnectClient()
		return nil
	}))
	n.Handle("leave", server.Func(func(_ context.Context, s *server.Socket, _ server.None) error {
		s.Disconnect()
		return nil
	}))
	n.Handle("ask", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error {
		_, err := server.EmitWithAck[server.None](ctx, s, "question")
		return err
	}))
	n.Handle("askAll", server.Func(func(ctx context.Context, s *server.Socket, room string) error {
		_, err := server.BroadcastWithAck[server.None](ctx, s.Namespace().To(room), "question")
		return err
	}))
	n.Handle("late", server.FuncReply(func(ctx context.Context, _ *server.Socket, _ server.None, reply *server.Reply) error {
		go func() {
			<-ctx.Done()
			_ = reply.Send("too late")
		}()
		return nil
	}))
	n.Handle("pour", server.Func(func(_ context.Context, s *server.Socket, packets int) error {
		for range packets {
			if err := s.Emit("drop", chunk); err != nil {
				return err
			}
		}
		return nil
	}))
}

var chunk = strings.Repeat("x", 16<<10)

func pathOf(s *server.Socket) string {
	var auth struct{ Path string }
	_ = json.Unmarshal(s.Auth(), &auth)
	return auth.Path
}

func (a *app) note(path string, reason server.Reason) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.reasons[path] == nil {
		a.reasons[path] = make(map[server.Reason]int)
	}
	a.reasons[path][reason]++
}

// reasonsOf returns how often sockets of a path ended for each reason.
func (a *app) reasonsOf(path string) map[server.Reason]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	reasons := make(map[server.Reason]int)
	for reason, n := range a.reasons[path] {
		reasons[reason] = n
	}
	return reasons
}

// serveTCP serves the application on loopback until the test ends, and then looks for what is left.
func serveTCP(t testing.TB, a *app, configure func(*http.Server)) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: a, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10}
	if configure != nil {
		configure(web)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = web.Serve(listener) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := a.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v; %+v", err, a.Stats())
		}
		_ = web.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

// loopback dials addr from ever other loopback addresses, where the system has them, so that ports in TIME_WAIT do not
// run out.
func loopback(addr string) dialFunc {
	var next atomic.Uint32
	return func() (net.Conn, error) {
		var d net.Dialer
		if runtime.GOOS == "linux" {
			n := next.Add(1)
			d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 1, byte(n>>4)&0x3f, byte(n&15)+1)}
		}
		return d.Dial("tcp", addr)
	}
}
