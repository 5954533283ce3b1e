package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/tracing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// emitWithin emits in every way that takes a context.
func emitWithin(ctx context.Context, srv *server.Server, s *server.Socket) error {
	return errors.Join(
		s.WithContext(ctx).Emit("own"),
		s.Compress(false).WithContext(ctx).Emit("flagged"),
		s.WithContext(ctx).Broadcast().Emit("others"),
		srv.Of("/").WithContext(ctx).Emit("all"),
	)
}

// TestSpans has a client connect to two namespaces, one of which refuses it, and send an event whose handler emits and asks.
func TestSpans(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	provider := trace.NewTracerProvider(trace.WithSyncer(spans))
	defer func() {
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	srv, err := server.New(&server.Options{Hooks: []server.Hooks{tracing.Hooks(provider)}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/closed").Use(func(context.Context, *server.Socket) error { return &server.ClientError{Message: "no entry"} })
	srv.Of("/").Handle("work", server.FuncAck(func(ctx context.Context, s *server.Socket, _ server.None) (int, error) {
		if err := s.Emit("progress", 1); err != nil {
			return 0, err
		}
		if err := srv.Of("/").To("a", "b").Emit("news"); err != nil {
			return 0, err
		}
		if err := emitWithin(ctx, srv, s); err != nil {
			return 0, err
		}
		all, err := srv.Of("/").FetchSockets(ctx)
		if err != nil {
			return 0, err
		}
		_, err = server.EmitWithAck[string](ctx, s, "question")
		return len(all.Values), err
	}))
	srv.Of("/").Handle("fail", server.FuncAck(func(context.Context, *server.Socket, server.None) (int, error) {
		return 0, errors.New("out of order")
	}))
	c := servertest.New(t, srv, nil).Dial(t, nil)
	c.Send("40/closed,")
	c.Expect(`44/closed,{"message":"no entry"}`)
	c.Send("40")
	c.Next()
	c.Send(`420["work"]`)
	c.Expect(`42["progress",1]`, `42["own"]`, `42["flagged"]`, `42["all"]`, `420["question"]`)
	c.Send(`430["answer"]`)
	c.Expect(`430[1]`)
	c.Send(`427["fail"]`)
	c.Expect(`437[{"error":{"message":"internal error"}}]`)
	c.Close()
	if err := srv.Shutdown(t.Context()); err != nil { // waits for the last span
		t.Fatal(err)
	}

	var got []string
	var work tracetest.SpanStub
	all := spans.GetSpans()
	for _, s := range all {
		line := s.Name
		for _, a := range s.Attributes {
			if a.Key != tracing.SocketKey {
				line += " " + a.Value.String()
			}
		}
		if s.Status.Code == codes.Error {
			line += " error " + s.Status.Description
		}
		got = append(got, fmt.Sprint(line, " ", s.SpanKind))
		if line == "socketio event / work" {
			work = s
		}
	}
	slices.Sort(got)
	want := []string{
		"socketio ask / fetch sockets true client", "socketio ask / question client", "socketio connect / server",
		"socketio connect /closed error no entry server",
		"socketio emit / all true producer", "socketio emit / flagged producer",
		"socketio emit / news true producer", "socketio emit / others true producer", "socketio emit / own producer",
		"socketio emit / progress producer",
		"socketio event / fail error out of order server", "socketio event / work server",
	}
	if !slices.Equal(got, want) {
		t.Errorf("spans\n%q, want\n%q", got, want)
	}
	for _, s := range all {
		within := s.Name == "socketio ask" || s.Name == "socketio emit" && !slices.ContainsFunc(s.Attributes, func(a attribute.KeyValue) bool {
			return a.Key == tracing.EventKey && (a.Value.AsString() == "progress" || a.Value.AsString() == "news")
		})
		if within != (s.Parent.IsValid() && s.Parent.SpanID() == work.SpanContext.SpanID()) {
			t.Errorf("parent of %s %v is %v", s.Name, s.Attributes, s.Parent.SpanID())
		}
	}
}
