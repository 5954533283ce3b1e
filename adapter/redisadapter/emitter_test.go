package redisadapter

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

func TestEmitter(t *testing.T) {
	server := redistest.Single(t)
	n := startPubSub(t, server, PubSubOptions{Key: "app"})
	n.Connect("s1", "r")
	n.Connect("s2")
	e := NewPubSubEmitter(clientOf(t, server), &PubSubEmitterOptions{Key: "app"}).Of("chat")
	ctx := within(t)
	base := e.To("r")
	for _, err := range []error{
		e.SocketsJoin(ctx, "all"),
		base.SocketsJoin(ctx, "one", "two"),
		e.Except("r").SocketsLeave(ctx, "all"),
		base.Volatile().Compress(false).Emit(ctx, "flags"),
		base.To("x").Emit(ctx, "rooms"), // leaves base as it was
		base.Emit(ctx, "binary", []byte{1}),
		e.To("nowhere").Emit(ctx, "lost"),
		e.ServerSideEmit(ctx, "side", 1),
		e.In("two").DisconnectClients(ctx),
		e.DisconnectSockets(ctx),
		e.Emit(ctx, "last"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	arrives(t, n, `2/chat,["last"]`)
	if got, want := n.got(), []string{`2/chat,["flags"]`, `2/chat,["rooms"]`, `51-/chat,["binary",{"_placeholder":true,"num":0}]`, `2/chat,["last"]`}; !slices.Equal(got, want) {
		t.Errorf("delivered %q, want %q", got, want)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.flags[0] != (adapter.Flags{Volatile: true, NoCompress: true}) || n.flags[1] != (adapter.Flags{}) {
		t.Errorf("flags %+v", n.flags)
	}
	if !slices.Equal(n.events, []string{`["side",1]`}) || !slices.Equal(n.closing, []bool{true, false}) {
		t.Errorf("server-side events %q, disconnects %v", n.events, n.closing)
	}
}

func TestEmitterJoins(t *testing.T) {
	server := redistest.Single(t)
	n := startPubSub(t, server, PubSubOptions{})
	s := n.Connect("s", "r")
	e := NewPubSubEmitter(clientOf(t, server), nil).Of("/chat")
	if err := e.In("r").SocketsJoin(within(t), "a", "b"); err != nil {
		t.Fatal(err)
	}
	if err := e.SocketsLeave(within(t), "a"); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "b without a", func() bool {
		return slices.Contains(s.Rooms(), "b") && !slices.Contains(s.Rooms(), "a")
	})
}

func TestEmitterErrors(t *testing.T) {
	server := redistest.Single(t)
	e := NewPubSubEmitter(clientOf(t, server), nil)
	for _, err := range []error{
		e.Emit(within(t), "disconnect"), e.To("r").Emit(within(t), "connect_error"), e.ServerSideEmit(within(t), "connection"),
	} {
		if !errors.Is(err, ErrReservedEvent) {
			t.Errorf("reserved name: error %v", err)
		}
	}
	var loop []any
	loop = append(loop, nil)
	loop[0] = loop
	for _, err := range []error{e.Emit(within(t), "e", loop), e.ServerSideEmit(within(t), "e", loop)} {
		if err == nil {
			t.Error("a value that contains itself was sent")
		}
	}
	server.Kill()
	if err := e.Emit(context.Background(), "e"); err == nil {
		t.Error("sent without a server")
	}
}
