package server_test

import (
	"context"
	"encoding/json"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye/server"
)

// TestGoexit ends the goroutine of each kind of callback, as a failing assertion of a test does. What comes after must go
// on as after a panic.
func TestGoexit(t *testing.T) {
	log := make(chan string, 8)
	exits := func() { runtime.Goexit() }
	t.Run("handler", func(t *testing.T) {
		n := start(t, nil)
		main := n.Of("/")
		main.Handle("exit", server.Func(func(context.Context, *server.Socket, server.None) error { exits(); return nil }))
		main.Handle("echo", server.FuncAck(func(_ context.Context, _ *server.Socket, v int) (int, error) { return v, nil }))
		main.OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) { log <- string(reason) })
		p, _ := n.connect(t)
		for range 3 {
			p.send(`2["exit"]`)
			p.send(`27["echo",5]`)
			p.expect(`37[5]`)
		}
		p.send("1")
		if got := await(t, log); got != string(server.ReasonClientDisconnect) {
			t.Errorf("reason %q", got)
		}
		eventually(t, "the workers end", func() bool { return n.Stats().Workers == 0 })
		if got := n.Stats().Panics; got != 3 {
			t.Errorf("%d panics counted, want 3", got)
		}
	})
	t.Run("hooks", func(t *testing.T) {
		n := start(t, nil)
		main := n.Of("/")
		main.OnConnection(func(context.Context, *server.Socket) { exits() })
		main.Handle("echo", server.FuncAck(func(_ context.Context, _ *server.Socket, v int) (int, error) { return v, nil }))
		main.OnDisconnect(func(context.Context, *server.Socket, server.Reason) { log <- "disconnect"; exits() })
		p, _ := n.connect(t)
		p.send(`27["echo",5]`)
		p.expect(`37[5]`)
		p.close()
		await(t, log)
		eventually(t, "the workers end", func() bool { return n.Stats().Workers == 0 })
	})
	t.Run("concurrent handlers", func(t *testing.T) {
		n := start(t, &server.Options{HandlerConcurrency: 2})
		main := n.Of("/")
		main.Handle("exit", server.Func(func(context.Context, *server.Socket, server.None) error { exits(); return nil }))
		main.OnDisconnect(func(context.Context, *server.Socket, server.Reason) { log <- "disconnect" })
		p, _ := n.connect(t)
		for range 20 {
			p.send(`2["exit"]`)
		}
		p.send("1")
		await(t, log)
		eventually(t, "the workers end", func() bool { return n.Stats().Workers == 0 })
		if got := n.Stats().Panics; got != 20 {
			t.Errorf("%d panics counted, want 20", got)
		}
	})
	t.Run("middleware", func(t *testing.T) {
		n := start(t, &server.Options{CleanupEmptyChildNamespaces: true})
		n.OfFunc(func(context.Context, string, json.RawMessage) bool { exits(); return true })
		n.Of("/guarded").Use(func(context.Context, *server.Socket) error { exits(); return nil })
		p := n.websocket(t)
		p.send(`0/guarded,`)
		p.expect(`4/guarded,{"message":"internal error"}`)
		p.send(`0/dynamic,`)
		p.expect(`4/dynamic,{"message":"Invalid namespace"}`)
		p.join("/", "")
		eventually(t, "the workers end", func() bool { return n.Stats().Workers == 0 })
		if got := n.Stats(); got.Connecting != 0 || got.Panics != 2 || got.Sockets != 1 {
			t.Errorf("afterwards: %+v", got)
		}
	})
	t.Run("OnNewNamespace", func(t *testing.T) {
		n := start(t, &server.Options{CleanupEmptyChildNamespaces: true})
		n.OfFunc(func(context.Context, string, json.RawMessage) bool { return true })
		n.OnNewNamespace(func(*server.Namespace) { exits() })
		p := n.websocket(t)
		p.send(`0/dynamic,`)
		p.expect(`4/dynamic,{"message":"internal error"}`)
		eventually(t, "the namespace is gone", func() bool { return n.Stats().Namespaces == 1 && n.Stats().Workers == 0 })
	})
}

// TestGoexitInHooks ends the goroutine that reads from a client, or the one that decides about its CONNECT, in each hook.
// The connection may end; nothing may be left behind, which the end of start checks.
func TestGoexitInHooks(t *testing.T) {
	for name, hooks := range map[string]func(on func() bool) server.Hooks{
		"BeforeConnect": func(on func() bool) server.Hooks {
			return server.Hooks{BeforeConnect: func(*server.Conn, string, []byte) error { on(); runtime.Goexit(); return nil }}
		},
		"BeforeEvent": func(on func() bool) server.Hooks {
			return server.Hooks{BeforeEvent: func(*server.Socket, server.Incoming) error {
				if on() {
					runtime.Goexit()
				}
				return nil
			}}
		},
		"AfterConnect": func(on func() bool) server.Hooks {
			return server.Hooks{AfterConnect: func(*server.Socket) { on(); runtime.Goexit() }}
		},
		"AfterDisconnect": func(on func() bool) server.Hooks {
			return server.Hooks{AfterDisconnect: func(*server.Socket, server.Reason) { on(); runtime.Goexit() }}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int64
			n := start(t, &server.Options{Hooks: []server.Hooks{hooks(func() bool { return calls.Add(1) == 2 })}})
			main := n.Of("/")
			main.OnConnection(func(context.Context, *server.Socket) {})
			main.Handle("x", server.Func(func(context.Context, *server.Socket, server.None) error { return nil }))
			p := n.websocket(t)
			p.send("0")
			if name == "BeforeEvent" {
				p.next()
				p.batch(`42["x"]`, `42["x"]`, `42["x"]`)
			}
			eventually(t, "the hook has run", func() bool { return calls.Load() > 0 || name == "AfterDisconnect" })
			p.close()
			eventually(t, "everything ends", func() bool { s := n.Stats(); return s.Sockets+s.Workers+s.Engine.Sessions == 0 })
		})
	}
}
