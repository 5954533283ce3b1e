package server_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

type beganKey struct{}

// operationLog notes what begins and ends.
type operationLog struct {
	mu    sync.Mutex
	lines []string
}

func (r *operationLog) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *operationLog) hooks(name string) server.Hooks {
	return server.Hooks{Begin: func(ctx context.Context, op server.Operation) (context.Context, func(error)) {
		r.note("%s begins %s %s %s", name, op.Kind, op.Namespace, op.Event)
		return context.WithValue(ctx, beganKey{}, name), func(err error) { r.note("%s ends %s %v", name, op.Kind, err) }
	}}
}

// TestBegin: hooks are told in their order, and of ends in the opposite one; callbacks get the last one's context; what panics, or
// wants to know nothing, harms nobody.
func TestBegin(t *testing.T) {
	var r operationLog
	srv, err := server.New(&server.Options{Logger: slog.New(slog.DiscardHandler), Hooks: []server.Hooks{
		r.hooks("one"),
		{Begin: func(context.Context, server.Operation) (context.Context, func(error)) { panic("no") }},
		{Begin: func(context.Context, server.Operation) (context.Context, func(error)) { return nil, nil }},
		r.hooks("two"),
		{Begin: func(ctx context.Context, _ server.Operation) (context.Context, func(error)) {
			return ctx, func(error) { panic("no") }
		}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	nsp := srv.Of("/")
	nsp.Use(func(ctx context.Context, _ *server.Socket) error {
		r.note("middleware of %v", ctx.Value(beganKey{}))
		return nil
	})
	nsp.Handle("ask", server.FuncAck(func(ctx context.Context, _ *server.Socket, _ server.None) (string, error) {
		r.note("handler of %v", ctx.Value(beganKey{}))
		return "", errors.New("out of order")
	}))
	c := servertest.New(t, srv, nil).Dial(t, nil)
	c.Send("40")
	c.Next()
	c.Send(`421["ask"]`)
	c.Expect(`431[{"error":{"message":"internal error"}}]`)
	c.Send("40/nowhere,")
	c.Expect(`44/nowhere,{"message":"Invalid namespace"}`)
	if _, err := nsp.Count(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := nsp.Local().Emit("news"); err != nil {
		t.Fatal(err)
	}
	c.Expect(`42["news"]`)
	c.Close()
	if err := srv.Shutdown(t.Context()); err != nil { // waits for what ends late
		t.Fatal(err)
	}
	want := []string{
		"one begins connect / ", "two begins connect / ", "middleware of two", "two ends connect <nil>", "one ends connect <nil>",
		"one begins event / ask", "two begins event / ask", "handler of two", "two ends event out of order", "one ends event out of order",
		"one begins ask / count sockets", "two begins ask / count sockets", "two ends ask <nil>", "one ends ask <nil>",
		"one begins emit / news", "two begins emit / news", "two ends emit <nil>", "one ends emit <nil>",
	}
	// An event and what comes after it end on goroutines of their own.
	slices.Sort(want)
	slices.Sort(r.lines)
	if !slices.Equal(r.lines, want) {
		t.Errorf("noted\n%q, want\n%q", r.lines, want)
	}
}
