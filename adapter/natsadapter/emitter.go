package natsadapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/freshrooms"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

// EmitterOptions configure NewEmitter. Its field is that of the nodes' Options.
type EmitterOptions struct {
	Prefix string // Default: "sockeye".
}

// NewEmitter returns an emitter for the namespace "/" of a cluster of nodes with New. Each call is one message, and returns when the
// server has it, after 10 s at most if the context has no deadline. The server hands it on to the nodes that are connected then. If the nodes
// keep broadcasts for clients that come back, see server.Options.Recovery, they are stored; a user needs the right to subscribe to its inboxes
// for that, else who was away starts anew. opts may be nil. The caller closes the connection.
func NewEmitter(conn *nats.Conn, opts *EmitterOptions) *adapter.Emitter {
	w := emitterWire{conn: conn, fresh: new(freshrooms.Rooms), log: new(emitterLog)}
	if opts != nil {
		w.prefix = opts.Prefix
	}
	w.prefix = cmp.Or(w.prefix, defaultPrefix)
	return adapter.NewEmitter(w)
}

// emitterPatience is how long an emitter waits for NATS at most without a deadline.
const emitterPatience = 10 * time.Second

// emitterWire is the adapter.EmitterWire over NATS.
type emitterWire struct {
	conn   *nats.Conn
	prefix string
	fresh  *freshrooms.Rooms // of all namespaces
	log    *emitterLog
}

// Send publishes a message where a node would.
func (w emitterWire) Send(ctx context.Context, namespace string, m *adapter.Message) error {
	if err := checkPrefix(w.prefix); err != nil {
		return err
	}
	codec, err := envelope.New(envelope.Emitter, namespace, nil)
	if err != nil {
		return err
	}
	body, err := codec.Sharded(m)
	if err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, emitterPatience)
		defer cancel()
	}
	if m.Logged() && w.log.there() {
		if done, err := w.log.write(ctx, w.conn, subjects{prefix: w.prefix}.log(namespace), body); done || err != nil {
			return err
		}
	}
	w.fresh.Note(m, freshrooms.For)
	to := subjects{prefix: w.prefix}.namespace(namespace)
	subject := to.of(m)
	if subject != to.all && w.fresh.ToAll(m) {
		subject = to.all
	}
	err = w.conn.Publish(subject, []byte(body))
	if errors.Is(err, nats.ErrMaxPayload) {
		return fmt.Errorf("publish: %w: %w", adapter.ErrTooLarge, err)
	}
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	if err := w.conn.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("wait for nats: %w", err)
	}
	// The server refuses before it answers the flush.
	if violates(w.conn, subject) {
		return fmt.Errorf("publish: %w", w.conn.LastError())
	}
	return nil
}
