package server_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// TestCallsFromCallbacks ends things from inside of callbacks, where a lock that is held would be a deadlock.
func TestCallsFromCallbacks(t *testing.T) {
	type call = func(n *node, s *server.Socket) error
	calls := map[string]call{
		"Disconnect":        func(n *node, s *server.Socket) error { s.Disconnect(); return nil },
		"DisconnectClient":  func(n *node, s *server.Socket) error { s.DisconnectClient(); return nil },
		"DisconnectSockets": func(n *node, s *server.Socket) error { return n.Of("/").DisconnectSockets() },
		"DisconnectClients": func(n *node, s *server.Socket) error { return n.Of("/").DisconnectClients() },
		"Discard":           func(n *node, s *server.Socket) error { s.Conn().Discard(); return nil },
		"Close":             func(n *node, s *server.Socket) error { return n.Close() },
		"Shutdown": func(n *node, s *server.Socket) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			if err := n.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				return errors.Join(errors.New("Shutdown does not wait for the callback that calls it"), err)
			}
			return nil
		},
		"BroadcastWithAck": func(n *node, s *server.Socket) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			_, _ = server.BroadcastWithAck[int](ctx, n.Of("/"), "ask")
			s.DisconnectClient()
			return nil
		},
	}
	places := map[string]func(n *node, run func(s *server.Socket)){
		"handler": func(n *node, run func(s *server.Socket)) {
			n.Of("/").Handle("go", server.Func(func(_ context.Context, s *server.Socket, _ server.None) error { run(s); return nil }))
		},
		"HandleAny": func(n *node, run func(s *server.Socket)) {
			n.Of("/").HandleAny(func(_ context.Context, s *server.Socket, _ *server.Event) { run(s) })
		},
		"HandleAnyOutgoing": func(n *node, run func(s *server.Socket)) {
			once := make(chan struct{}, 1)
			n.Of("/").HandleAnyOutgoing(func(_ context.Context, s *server.Socket, _ *server.Event) {
				select {
				case once <- struct{}{}:
					run(s)
				default:
				}
			})
			n.Of("/").Handle("go", server.Func(func(context.Context, *server.Socket, server.None) error { return n.Of("/").Emit("out") }))
		},
		"OnConnection": func(n *node, run func(s *server.Socket)) {
			n.Of("/").OnConnection(func(_ context.Context, s *server.Socket) { run(s) })
		},
		"OnDisconnect": func(n *node, run func(s *server.Socket)) {
			n.Of("/").OnConnection(func(_ context.Context, s *server.Socket) {
				s.OnDisconnect(func(_ context.Context, s *server.Socket, _ server.Reason) { run(s) })
				s.Disconnect()
			})
		},
		"middleware": func(n *node, run func(s *server.Socket)) {
			n.Of("/").Use(func(_ context.Context, s *server.Socket) error {
				if err := s.Join(context.Background(), "room"); err != nil {
					return err
				}
				run(s)
				return errors.New("no")
			})
		},
	}
	for place, register := range places {
		for name, f := range calls {
			t.Run(place+"/"+name, func(t *testing.T) {
				t.Parallel()
				n := start(t, nil)
				done := make(chan error, 1)
				register(n, func(s *server.Socket) { done <- f(n, s) })
				p := n.websocket(t)
				p.send("0")
				p.send(`2["go"]`)
				if err := await(t, done); err != nil {
					t.Error(err)
				}
				p.close()
				eventually(t, "nothing is left", func() bool {
					s := n.Stats()
					return s.Sockets+s.Workers+s.PendingAcks+s.Rooms+s.Connecting == 0
				})
			})
		}
	}
}
