package server_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/server"
)

func TestDisconnectHooks(t *testing.T) {
	tests := []struct {
		name   string
		end    func(p *peer, s *server.Socket)
		reason server.Reason
		packet []string
	}{
		{"client leaves", func(p *peer, s *server.Socket) { p.send("1") }, "client namespace disconnect", nil},
		{"server disconnects", func(p *peer, s *server.Socket) { s.Disconnect() }, "server namespace disconnect", []string{"1"}},
		{"server closes", func(p *peer, s *server.Socket) { s.DisconnectClient() }, "server namespace disconnect", []string{"1"}},
		{"connection closes", func(p *peer, s *server.Socket) { p.close() }, "transport close", nil},
		{"engine closes", func(p *peer, s *server.Socket) { s.Conn().Close() }, "forced close", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t, nil)
			log := make(chan string, 8)
			rooms := make(chan []string, 8)
			main := n.Of("/")
			main.OnConnection(func(ctx context.Context, s *server.Socket) {
				_ = s.Join(ctx, "room")
				s.OnDisconnecting(func(_ context.Context, s *server.Socket, reason server.Reason) { log <- "own disconnecting" })
				s.OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) { log <- "own disconnect" })
			})
			main.OnDisconnecting(func(_ context.Context, s *server.Socket, reason server.Reason) {
				rooms <- s.Rooms()
				if err := s.Join(context.Background(), "late"); !errors.Is(err, server.ErrDisconnected) {
					t.Errorf("join after the end: %v", err)
				}
				log <- "disconnecting " + string(reason)
			})
			main.OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) {
				rooms <- s.Rooms()
				log <- "disconnect " + string(reason)
			})
			p, s := n.connect(t)
			eventually(t, "joined", func() bool { return len(s.Rooms()) == 2 })
			tt.end(p, s)
			for _, want := range []string{"disconnecting " + string(tt.reason), "own disconnecting", "disconnect " + string(tt.reason), "own disconnect"} {
				if got := await(t, log); got != want {
					t.Errorf("hook %q, want %q", got, want)
				}
			}
			for range 2 {
				if got := await(t, rooms); !slices.Equal(got, []string{s.ID(), "room"}) {
					t.Errorf("rooms %v", got)
				}
			}
			if err := s.Emit("x"); !errors.Is(err, server.ErrDisconnected) {
				t.Errorf("emit after the end: %v", err)
			}
			var de *server.DisconnectError
			if cause := context.Cause(s.Context()); !errors.As(cause, &de) || de.Reason != tt.reason || s.Context().Err() != context.Canceled {
				t.Errorf("cause %v, error %v", cause, s.Context().Err())
			}
			if tt.packet != nil {
				p.expect(tt.packet...)
			}
			if s.Connected() || n.Stats().Sockets != 0 || n.Stats().Rooms != 0 {
				t.Errorf("left: %+v", n.Stats())
			}
			s.Disconnect()
			s.DisconnectClient()
		})
	}
}

// TestContext waits in a handler for the end of the socket, through a derived context.
func TestContext(t *testing.T) {
	n := start(t, nil)
	causes := make(chan error, 1)
	n.Of("/").Handle("wait", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error {
		if ctx.Err() != nil {
			t.Error(ctx.Err())
		}
		derived, cancel := context.WithCancel(ctx)
		defer cancel()
		_ = s.Emit("waiting")
		<-derived.Done()
		causes <- context.Cause(derived)
		return nil
	}))
	p, _ := n.connect(t)
	p.send(`2["wait"]`)
	p.expect(`2["waiting"]`)
	p.close()
	var de *server.DisconnectError
	if err := await(t, causes); !errors.As(err, &de) || de.Reason != "transport close" {
		t.Errorf("cause %v", err)
	}
}

// TestEventsBeforeTheEnd checks that events that came before a client's disconnect are handled, and those that wait
// when this side disconnects are not.
func TestEventsBeforeTheEnd(t *testing.T) {
	n := start(t, nil)
	log := make(chan string, 8)
	gate := make(chan struct{})
	entered := make(chan struct{}, 2)
	main := n.Of("/")
	main.Handle("gate", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error {
		entered <- struct{}{}
		<-gate
		return nil
	}))
	main.Handle("x", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error {
		log <- "event"
		return nil
	}))
	main.OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) { log <- string(reason) })

	p, _ := n.connect(t)
	p.send(`2["gate"]`)
	p.send(`2["x"]`)
	p.send(`1`)
	await(t, entered)
	eventually(t, "the socket has gone", func() bool { return n.Stats().Sockets == 0 })
	gate <- struct{}{}
	for _, want := range []string{"event", "client namespace disconnect"} {
		if got := await(t, log); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}

	p, s := n.connect(t)
	p.send(`2["gate"]`)
	p.send(`2["x"]`)
	await(t, entered)
	s.Disconnect()
	gate <- struct{}{}
	if got := await(t, log); got != "server namespace disconnect" {
		t.Errorf("got %s after the disconnect", got)
	}
}

func TestShutdown(t *testing.T) {
	n := start(t, nil)
	reasons := make(chan server.Reason, 2)
	release := make(chan struct{})
	n.Of("/").OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) { reasons <- reason })
	n.Of("/").Handle("hold", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error {
		_ = s.Emit("holding")
		<-release
		return nil
	}))
	n.Of("/slow").Use(func(ctx context.Context, s *server.Socket) error {
		<-ctx.Done()
		return ctx.Err()
	})
	p, _ := n.connect(t)
	p.send(`2["hold"]`)
	p.expect(`2["holding"]`)
	q, _ := n.connect(t)
	q.send("0/slow,")
	eventually(t, "the middleware runs", func() bool { return n.Stats().Connecting == 1 })

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := n.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown with a busy handler: %v", err)
	}
	for _, peer := range []*peer{p, q} {
		if rest := peer.expectClosed(); len(rest) != 0 {
			t.Errorf("got %v at the shutdown", rest)
		}
	}
	close(release)
	if err := n.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for range 2 {
		if got := await(t, reasons); got != "server shutting down" {
			t.Errorf("reason %q", got)
		}
	}
	if resp := n.get(t, "/socket.io/?EIO=4&transport=polling", nil); resp.StatusCode != 503 {
		t.Errorf("status %d after the shutdown", resp.StatusCode)
	}
	if err := n.Of("/").Emit("x"); err == nil {
		t.Error("broadcast after the shutdown")
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}
