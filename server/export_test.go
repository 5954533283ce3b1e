package server

import (
	"context"
	"encoding/json"

	"github.com/sockeye-io/sockeye/server/parser"
)

// Restoration is what a test lets a socket go on with.
type Restoration struct {
	ID, PID string
	Rooms   []string
	Data    map[string]json.RawMessage
	Missed  func(ctx context.Context) ([]parser.Payload, func(p *parser.Packet) bool, error)
}

// SetResume sets what clients of the namespace go on with, before the first of them connects.
func (n *Namespace) SetResume(f func(auth []byte) *Restoration) {
	n.resume = func(_ context.Context, auth []byte) *restoration {
		r := f(auth)
		if r == nil {
			return nil
		}
		return &restoration{id: r.ID, pid: r.PID, rooms: r.Rooms, data: r.Data, missed: r.Missed}
	}
}
