package users_test

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

type traceKey struct{}

// TestEmitWithinContext: what traces are told of a message to a user is a part of what the context is a part of.
func TestEmitWithinContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var within []any
		srv, err := server.New(&server.Options{Logger: slog.New(slog.DiscardHandler), Hooks: []server.Hooks{{
			Begin: func(ctx context.Context, op server.Operation) (context.Context, func(error)) {
				if op.Kind == server.OperationEmit && op.Event == "news" {
					mu.Lock()
					defer mu.Unlock()
					within = append(within, ctx.Value(traceKey{}))
				}
				return ctx, nil
			},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		dir, err := users.New(srv, users.Options{Store: users.NewMemoryStore(), Mixed: users.MixedOff, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = dir.Close() })
		srv.Of("/").OnConnection(func(ctx context.Context, s *server.Socket) {
			if err := dir.Bind(ctx, s, "ann", nil); err != nil {
				t.Error(err)
			}
		})
		ann := servertest.New(t, srv, nil).Connect(t, "/", nil)
		time.Sleep(20 * time.Second) // the directory knows that it is alone
		if err := dir.User("ann").Emit(context.WithValue(t.Context(), traceKey{}, "handler"), "news"); err != nil {
			t.Fatal(err)
		}
		ann.Expect("news")
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(within, []any{"handler"}) {
			t.Errorf("emitted within %v", within)
		}
	})
}
