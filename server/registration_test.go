package server_test

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/server"
)

// registrar is what registers callbacks for the sockets of a namespace or of the children of a parent.
type registrar interface {
	Use(server.Middleware) (remove func())
	UseEvent(server.EventMiddleware) (remove func())
	Handle(string, server.Handler) (remove func())
	HandleAny(func(context.Context, *server.Socket, *server.Event)) (remove func())
	HandleAnyOutgoing(func(context.Context, *server.Socket, *server.Event)) (remove func())
	HandleServerSide(string, server.ServerSideHandler) (remove func())
	OnConnection(func(context.Context, *server.Socket)) (remove func())
	OnDisconnecting(func(context.Context, *server.Socket, server.Reason)) (remove func())
	OnDisconnect(func(context.Context, *server.Socket, server.Reason)) (remove func())
	OnError(func(context.Context, *server.Socket, string, error)) (remove func())
}

// recorder notes which callbacks have run.
type recorder struct {
	mu   sync.Mutex
	seen []string
}

func (r *recorder) note(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, what)
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// registerAll registers one callback of each kind, and two handlers of one event.
func (r *recorder) registerAll(to registrar) (remove []func()) {
	event := func(what string) func(context.Context, *server.Socket, *server.Event) {
		return func(context.Context, *server.Socket, *server.Event) { r.note(what) }
	}
	end := func(what string) func(context.Context, *server.Socket, server.Reason) {
		return func(context.Context, *server.Socket, server.Reason) { r.note(what) }
	}
	handler := func(what string) server.Handler {
		return server.Func(func(_ context.Context, s *server.Socket, _ server.None) error {
			r.note(what)
			return errors.Join(s.Emit("out"), errors.New("fails"))
		})
	}
	return []func(){
		to.Use(func(context.Context, *server.Socket) error { r.note("middleware"); return nil }),
		to.UseEvent(func(context.Context, *server.Socket, *server.Event) error { r.note("event middleware"); return nil }),
		to.Handle("x", handler("first")),
		to.Handle("x", handler("second")),
		to.HandleAny(event("any")),
		to.HandleAnyOutgoing(event("outgoing")),
		to.OnConnection(func(context.Context, *server.Socket) { r.note("connection") }),
		to.OnDisconnecting(end("disconnecting")),
		to.OnDisconnect(end("disconnect")),
		to.OnError(func(context.Context, *server.Socket, string, error) { r.note("error") }),
	}
}

// TestRegistrations registers callbacks of all kinds on everything that takes them, lets a client come and go, and does
// so again after their removal.
func TestRegistrations(t *testing.T) {
	all := []string{"middleware", "connection", "any", "event middleware", "first", "outgoing", "error", "second", "outgoing", "error",
		"any", "event middleware", "disconnecting", "disconnect"}
	tests := []struct {
		name string
		// on returns what to register on, and what to connect to before and after the removal.
		on func(n *node) (to registrar, namespaces [2]string)
	}{
		{"namespace", func(n *node) (registrar, [2]string) { return n.Of("/a"), [2]string{"/a", "/a"} }},
		{"parent", func(n *node) (registrar, [2]string) {
			return n.OfPattern(regexp.MustCompile("^/b")), [2]string{"/b1", "/b2"}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t, nil)
			var seen recorder
			to, namespaces := tt.on(n)
			remove := seen.registerAll(to)
			to.Handle("done", server.FuncAck(func(context.Context, *server.Socket, server.None) (server.None, error) {
				return server.None{}, nil
			}))
			gone := make(chan struct{}, 1)
			to.OnDisconnect(func(context.Context, *server.Socket, server.Reason) { gone <- struct{}{} }) // the last one to run
			visit(t, n, namespaces[0], gone)
			if got := seen.take(); !slices.Equal(got, all) {
				t.Errorf("ran %q, want %q", got, all)
			}
			for _, f := range remove {
				f()
				f() // once more does nothing
			}
			visit(t, n, namespaces[1], gone)
			if got := seen.take(); len(got) != 0 {
				t.Errorf("ran after the removal: %q", got)
			}
		})
	}
}

// visit connects a client, lets it send one event and waits until everything that follows has run.
func visit(t *testing.T, n *node, namespace string, gone <-chan struct{}) {
	t.Helper()
	p := n.websocket(t)
	p.join(namespace, "")
	p.send("2" + namespace + `,["x"]`)
	p.send("2" + namespace + `,1["done"]`)
	for p.next() != "3"+namespace+",1[]" {
	}
	p.send("1" + namespace + ",")
	<-gone
}

func TestSocketRegistrations(t *testing.T) {
	n := start(t, nil)
	main := n.Of("/")
	p, s := n.connect(t)
	var seen recorder
	end := func(context.Context, *server.Socket, server.Reason) { seen.note("end") }
	event := func(context.Context, *server.Socket, *server.Event) { seen.note("event") }
	remove := []func(){
		s.UseEvent(func(context.Context, *server.Socket, *server.Event) error { seen.note("middleware"); return nil }),
		s.Handle("x", server.Func(func(context.Context, *server.Socket, server.None) error { seen.note("handler"); return nil })),
		s.HandleAny(event), s.HandleAnyOutgoing(event), s.OnDisconnecting(end), s.OnDisconnect(end),
	}
	main.Handle("done", server.FuncAck(func(context.Context, *server.Socket, server.None) (int, error) { return 1, nil }))
	p.send(`2["x"]`)
	p.send(`21["done"]`)
	p.expect("31[1]")
	if got, want := seen.take(), []string{"event", "middleware", "handler", "event", "middleware"}; !slices.Equal(got, want) {
		t.Errorf("ran %q, want %q", got, want)
	}
	for _, f := range remove {
		f()
	}
	p.send(`2["x"]`)
	p.send("1")
	eventually(t, "the socket is gone", func() bool { s := n.Stats(); return s.Sockets+s.Workers == 0 })
	if got := seen.take(); len(got) != 0 {
		t.Errorf("ran after the removal: %q", got)
	}
}

func TestOnNewNamespaceRemoval(t *testing.T) {
	n := start(t, nil)
	var created []string
	remove := n.OnNewNamespace(func(ns *server.Namespace) { created = append(created, ns.Name()) })
	n.Of("/one")
	remove()
	n.Of("/two")
	if !slices.Equal(created, []string{"/one"}) {
		t.Errorf("told of %q", created)
	}
}

func TestRegistrationPanics(t *testing.T) {
	n := start(t, nil)
	main := n.Of("/")
	handler := server.Func(func(context.Context, *server.Socket, server.None) error { return nil })
	remote := server.ServerSideFunc(func(context.Context, server.None) error { return nil })
	for name, register := range map[string]func(){
		`server: Handle("x") got nil`:           func() { main.Handle("x", nil) },
		`server: HandleServerSide("x") got nil`: func() { main.HandleServerSide("x", nil) },
		`server: Use got nil`:                   func() { main.Use(nil) },
		`server: OnDisconnect got nil`:          func() { main.OnDisconnect(nil) },
		`server: OnNewNamespace got nil`:        func() { n.OnNewNamespace(nil) },
		`server: clients cannot send event "disconnect"; see OnConnection, OnDisconnecting and OnDisconnect`: func() { main.Handle("disconnect", handler) },
		`server: nodes cannot send event "connection"; see OnConnection and OnNewNamespace`:                  func() { main.HandleServerSide("connection", remote) },
	} {
		func() {
			defer func() {
				if got := recover(); got != name {
					t.Errorf("panic %v, want %q", got, name)
				}
			}()
			register()
		}()
	}
}

// TestDisconnectContext looks at the context of disconnect functions: it outlives the socket and what Shutdown waits for.
func TestDisconnectContext(t *testing.T) {
	type end struct{ hook, socket error }
	tests := []struct {
		name string
		end  func(n *node)
		want error // of the function's context when the socket has gone
	}{
		{"the socket disconnects", func(n *node) { n.Of("/").Sockets()[0].Disconnect() }, nil},
		{"the server shuts down", func(n *node) { _ = n.Shutdown(context.Background()) }, nil},
		{"the server does not wait", func(n *node) { _ = n.Close() }, context.Canceled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t, nil)
			ends, contexts, closed := make(chan end, 1), make(chan context.Context, 1), make(chan struct{})
			n.Of("/").OnDisconnect(func(ctx context.Context, s *server.Socket, _ server.Reason) {
				if tt.want != nil {
					<-closed
				}
				ends <- end{ctx.Err(), s.Context().Err()}
				contexts <- ctx
			})
			n.connect(t)
			tt.end(n)
			close(closed)
			if got := await(t, ends); got != (end{tt.want, context.Canceled}) {
				t.Errorf("got %v", got)
			}
			_ = n.Shutdown(context.Background())
			if err := (<-contexts).Err(); err != context.Canceled {
				t.Errorf("after the shutdown: %v", err)
			}
		})
	}
}
