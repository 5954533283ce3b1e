package adapter_test

import (
	"context"
	"errors"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
)

// unwritten is an EmitterWire that must not be asked to send.
type unwritten struct{ t *testing.T }

func (w unwritten) Send(_ context.Context, _ string, m *adapter.Message) error {
	w.t.Errorf("message %+v is sent", m)
	return errors.New("sent")
}

// TestEmitterNobody: what is sent to an empty list of rooms does not reach the wire, where it would mean everybody.
func TestEmitterNobody(t *testing.T) {
	e := adapter.NewEmitter(unwritten{t})
	var none []string
	for _, op := range []adapter.BroadcastOperator{e.To(), e.To(none...), e.In(none...), e.Except("x").To(none...), e.To(none...).Volatile()} {
		ctx := t.Context()
		err := errors.Join(op.Emit(ctx, "x"), op.SocketsJoin(ctx, "a"), op.SocketsLeave(ctx, "a"), op.DisconnectSockets(ctx), op.DisconnectClients(ctx))
		if err != nil {
			t.Error(err)
		}
		if err := op.Emit(ctx, "connect"); !errors.Is(err, adapter.ErrReservedEvent) {
			t.Errorf("reserved event: %v", err)
		}
	}
}
