package adapter

import (
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye/server/parser"
)

// ErrReservedEvent is returned for event names that the protocol, or Node's EventEmitter, keeps for itself.
var ErrReservedEvent = errors.New("reserved event name")

// ReservedServerSide reports whether an event must not be sent from node to node. The names differ from those of events
// to clients, see parser.ReservedEvent.
func ReservedServerSide(event string) bool {
	switch event {
	case "connect", "connection", "new_namespace":
		return true
	}
	return false
}

// EventPayload makes ["event", ...args] for clients. The error is ErrReservedEvent or that of parser.MarshalEvent.
func EventPayload(event string, args ...any) (parser.Payload, error) {
	return eventPayload(parser.ReservedEvent(event), event, args)
}

// ServerSidePayload makes ["event", ...args] for nodes. The error is ErrReservedEvent or that of parser.MarshalEvent.
func ServerSidePayload(event string, args ...any) (parser.Payload, error) {
	return eventPayload(ReservedServerSide(event), event, args)
}

func eventPayload(reserved bool, event string, args []any) (parser.Payload, error) {
	if reserved {
		return parser.Payload{}, fmt.Errorf("%w: %q", ErrReservedEvent, event)
	}
	return parser.MarshalEvent(event, args...)
}
