package adapter

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// ErrHistoryGap says that not all that came after an offset is known any more, or that it is no offset of this history.
var ErrHistoryGap = errors.New("history does not reach back to the offset")

// HistoryOptions configure a history.
type HistoryOptions struct {
	// Retain is how long a broadcast is kept at least, unless there are too many.
	Retain time.Duration
	// Expired is told when a session that this node has saved has not been gone on with in its time. It must not block. nil: nobody is told.
	Expired func(s *Session)
}

// Historian is implemented by adapters that can keep what they broadcast, so that a client can go on where its connection was lost.
type Historian interface {
	// Keep begins to keep. It is called once, before every other method, and returns errors.ErrUnsupported if the adapter has nothing to
	// keep it in. From then on Local.Deliver gets everything that this node
	// delivers in one order, which is that of the history, and events to which clients can come back with their offset as last
	// argument, which is in Flags.Offset, too, or else, if the history is too slow, in Flags.Place once it has them. Broadcast may return
	// before this node's sockets have been served.
	Keep(opts HistoryOptions) (History, SessionStore, error)
}

// History is what was broadcast in a namespace and can be asked for again: events that want no acknowledgement, are not volatile and
// not for one node alone. All methods may be called concurrently.
type History interface {
	// Position returns an offset that stands before everything that will be delivered on this node from now on, and behind what has
	// been; "" while it is not known. It does not block.
	Position() string

	// Missed returns what came after an offset for a socket in some rooms. It returns ErrHistoryGap if it cannot return all, and
	// ErrHistoryLimit if that is more than the limits allow. When it returns, all that this node has delivered and that is among the
	// missed has its offset.
	Missed(ctx context.Context, offset string, rooms []string, limits HistoryLimits) (Missed, error)

	// Compare tells which of two offsets comes first, like strings.Compare. What is no offset of this history comes before all.
	Compare(a, b string) int

	// Turn calls f when what this node has broadcast before has been delivered here: at once, or later on another goroutine. f must not
	// block. It gives what is sent past the history its place in the order.
	Turn(f func())
}

// HistoryLimits bound what one client gets at once.
type HistoryLimits struct{ Packets, Bytes int }

// ErrHistoryLimit says that a client has missed too much.
var ErrHistoryLimit = errors.New("too much was missed")

// Missed is what a client has missed.
type Missed struct {
	// Events are complete: each has its offset as last argument.
	Events []parser.Payload
	// Had reports whether a broadcast with an offset is among the events, or older.
	Had func(offset string) bool
}

// Selects reports whether a selection selects a socket that is in rooms, its own included.
func (s Selection) Selects(rooms []string) bool {
	in := func(list []string) bool {
		return slices.ContainsFunc(rooms, func(room string) bool { return slices.Contains(list, room) })
	}
	return (len(s.Rooms) == 0 || in(s.Rooms)) && !in(s.Except)
}

// Kept reports whether a history keeps a broadcast.
func Kept(p *parser.Packet, flags Flags) bool {
	return p.Type == parser.Event && p.ID < 0 && !flags.Volatile && !flags.Local && !flags.Only
}

// Logged reports whether a message is a broadcast of this cluster that a log has when broadcasts are kept.
func (m *Message) Logged() bool {
	return m.Kind == KindBroadcast && m.Request == "" && !m.Flags.Foreign && Kept(m.Packet, m.Flags)
}

// WithArgument returns an event with one more argument, a JSON text.
func WithArgument(p parser.Payload, text string) parser.Payload {
	end := len(p.JSON)
	for end > 0 && p.JSON[end-1] != ']' {
		end--
	}
	if end == 0 {
		return p // no event
	}
	list := make(json.RawMessage, 0, end+len(text)+1)
	list = append(list, p.JSON[:end-1]...)
	list = append(list, ',')
	list = append(list, text...)
	list = append(list, ']')
	return parser.Payload{JSON: list, Attachments: p.Attachments}
}

// withOffset returns a packet with its offset as last argument.
func withOffset(p *parser.Packet, offset string) *parser.Packet {
	q := *p
	q.Payload = WithArgument(p.Payload, strconv.Quote(offset))
	return &q
}
