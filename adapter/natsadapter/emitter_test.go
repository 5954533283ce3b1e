package natsadapter

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/natstest"
)

// TestEmitterPermission has a user that may publish to one namespace alone.
func TestEmitterPermission(t *testing.T) {
	server := natstest.Single(t, `authorization { users: [{user: u, password: p, permissions: {publish: ["sockeye.ns./allowed.>"]}}] }`)
	conn, err := nats.Connect(server.URL, nats.UserInfo("u", "p"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	e := NewEmitter(conn, nil)
	if err := e.Of("/allowed").To("room").Emit(t.Context(), "event"); err != nil {
		t.Error(err)
	}
	if err := e.Emit(t.Context(), "event"); !errors.Is(err, nats.ErrPermissionViolation) {
		t.Errorf("refused with %v", err)
	}
	if err := e.Of("/allowed").Emit(t.Context(), "event"); err != nil {
		t.Errorf("after a refusal elsewhere: %v", err)
	}
}

// TestEmitterErrors: what cannot be sent is said.
func TestEmitterErrors(t *testing.T) {
	server := natstest.Single(t, "max_payload: 1000")
	conn, err := nats.Connect(server.URL, nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	e := NewEmitter(conn, nil)
	if err := e.Emit(t.Context(), "event", string(make([]byte, 2000))); !errors.Is(err, nats.ErrMaxPayload) || !errors.Is(err, adapter.ErrTooLarge) {
		t.Errorf("too long: %v", err)
	}
	if err := e.Emit(t.Context(), "connect"); !errors.Is(err, adapter.ErrReservedEvent) {
		t.Errorf("reserved: %v", err)
	}
	if err := NewEmitter(conn, &EmitterOptions{Prefix: "a b"}).Emit(t.Context(), "event"); err == nil {
		t.Error("sent with a prefix that is none")
	}
	server.Freeze()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := e.Emit(ctx, "event"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without an answer: %v", err)
	}
	server.Thaw()
	server.Kill()
	if err := e.Emit(t.Context(), "event"); err == nil {
		t.Error("sent without a server")
	}
}
