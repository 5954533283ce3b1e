package api

import (
	"context"
	"encoding/json"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

// maxEvent bounds the name of an event, in bytes.
const maxEvent = 1024

// publication is an event for clients.
type publication struct {
	selection
	Event    string            `json:"event"`
	Args     []json.RawMessage `json:"args,omitempty"` // each any JSON; {"$binary": "base64"} anywhere in it is binary
	Volatile bool              `json:"volatile,omitempty"`
	Compress *bool             `json:"compress,omitempty"` // default true
}

func (p *publication) encode() (server.Encoded, error) {
	if p.Event == "" || len(p.Event) > maxEvent {
		return server.Encoded{}, invalid("event has 1 to %d bytes", maxEvent)
	}
	args, err := arguments(p.Args)
	if err != nil {
		return server.Encoded{}, err
	}
	return server.Encode(p.Event, args...)
}

// publish sends an event.
func (a *API) publish(ctx context.Context, p publication) (any, error) {
	e, err := p.encode()
	if err != nil {
		return nil, clientFault(err)
	}
	plain := p.Compress != nil && !*p.Compress
	return a.run(ctx, &p.selection, func(op server.BroadcastOperator) error {
		if p.Volatile {
			op = op.Volatile()
		}
		return op.Compress(!plain).EmitEncoded(e)
	}, func(ctx context.Context, u users.User) error {
		if p.Volatile {
			u = u.Volatile()
		}
		return u.Compress(!plain).EmitEncoded(ctx, e)
	})
}

// clientFault says that what cannot be encoded was wrong.
func clientFault(err error) error {
	if f := failureOf(err); f.Code != "internal" {
		return f
	}
	return invalid("the event cannot be encoded: %v", err)
}
