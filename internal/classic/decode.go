package classic

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Errors of decoding, beside those of the formats themselves.
var (
	// ErrMalformed is wrapped by the errors of frames that Node would not send.
	ErrMalformed = errors.New("classic adapter: malformed message")
	// ErrUnknownRequest is the error of a request of a type that 8.3 does not know. Node is silent then and so are we: an
	// answer without the key that Node awaits is worse than none, because it is counted and then does not complete the
	// call.
	ErrUnknownRequest = errors.New("classic adapter: unknown request type")
)

func frameError(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// wrapFrame turns an error of a decoder into one of a frame.
func wrapFrame(err error) error {
	if err == nil || errors.Is(err, ErrMalformed) || errors.Is(err, ErrUnknownRequest) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// DecodeBroadcast reads [uid, packet, opts]. It returns nil for a message of this node or of another namespace.
func (c *Codec) DecodeBroadcast(body []byte) (*adapter.Message, error) {
	f, err := c.encoding.DecodeBroadcast(body)
	if err != nil {
		return nil, wrapFrame(err)
	}
	if f.UID == c.uid || cmp.Or(f.Packet.Namespace, "/") != c.namespace {
		return nil, nil
	}
	m := &adapter.Message{Kind: adapter.KindBroadcast, From: nodeID(f.UID)}
	if m.Packet, err = f.Packet.event(c.namespace); err == nil {
		err = f.Options.set(m)
	}
	if err != nil {
		return nil, wrapFrame(err)
	}
	return m, nil
}

// event checks that it is an event that clients take: they disconnect when the name is no string or number or is a reserved
// one. Nothing else is broadcast, and a client told to disconnect by a broadcast would be one that no node knows to be gone.
func (p *Packet) event(namespace string) (*parser.Packet, error) {
	if p.Type != parser.Event && p.Type != parser.BinaryEvent {
		return nil, frameError("packet is no event")
	}
	event := &parser.Packet{Type: parser.Event, Namespace: namespace, ID: max(p.ID, parser.NoID), Payload: p.Data}
	name, _, err := event.Event()
	if err != nil {
		return nil, err
	}
	if parser.ReservedEvent(name) {
		return nil, frameError("event with a reserved name")
	}
	return event, nil
}

// set fills in what options say.
func (o *Options) set(m *adapter.Message) error {
	m.Selection, m.Flags = adapter.Selection{Rooms: o.Rooms, Except: o.Except}, o.Flags
	return o.Numbers.set(m)
}

// maxTimeoutMillis is the longest timeout of setTimeout.
const maxTimeoutMillis = 1<<31 - 1

// timeoutOf makes a timeout of the milliseconds of a peer.
func timeoutOf(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), maxTimeoutMillis)) * time.Millisecond
}

// Request is a question or a command of another node.
type Request struct {
	Message adapter.Message
	// Socket is the id of the only socket that is meant, in a command of an old node. A node that has it does what Message
	// says and confirms it, other nodes do nothing. Else it is "".
	Socket string

	requestID string
}

// DecodeRequest reads a request in either format. It returns nil for one of this node.
func (c *Codec) DecodeRequest(body []byte) (*Request, error) {
	var f RequestFrame
	var err error
	if isJSON(body) {
		f, err = decodeJSONRequest(body)
	} else {
		f, err = c.encoding.DecodeRequest(body)
	}
	if err == nil && f.UID == c.uid {
		return nil, nil
	}
	q := &Request{requestID: f.RequestID}
	if err == nil {
		err = q.fill(&f, c.namespace)
	}
	if err != nil {
		return nil, wrapFrame(err)
	}
	return q, nil
}

// fill makes the message of a frame and refuses what Node would not send.
func (q *Request) fill(f *RequestFrame, namespace string) error {
	m := &q.Message
	m.From = nodeID(f.UID)
	if err := f.Options.set(m); err != nil {
		return err
	}
	asks, who := false, anyNode
	switch f.Type {
	case typeSockets:
		m.Kind, asks, who = adapter.KindFetch, true, wantsIDs
		m.Selection.Rooms = f.Rooms
	case typeAllRooms:
		m.Kind, asks = adapter.KindListRooms, true
	case typeJoin, typeLeave, typeDisconnect:
		return q.fillCommand(f)
	case typeFetch:
		if !f.HasOptions {
			return frameError("fetch without opts")
		}
		m.Kind, m.Want, asks = adapter.KindFetch, f.Only, true
	case typeServerSide:
		if _, err := f.Data.Args(); err != nil || len(f.Data.JSON) == 0 {
			return frameError("server-side event without arguments")
		}
		m.Kind, m.Payload = adapter.KindServerSide, f.Data
	case typeBroadcast:
		if !f.HasOptions {
			return frameError("broadcast without opts")
		}
		p, err := f.Packet.event(namespace)
		if err != nil {
			return err
		}
		p.ID = parser.NoID
		m.Kind, m.Packet, asks = adapter.KindBroadcast, p, true
		if f.SIDs {
			who = sockeye
		}
	default:
		return ErrUnknownRequest
	}
	if asks && f.RequestID == "" {
		return frameError("question without an id")
	}
	if f.RequestID != "" {
		m.Request = who.request(f.RequestID)
	}
	return nil
}

// fillCommand completes a command. One about a single socket, from an old node, selects the room of that id.
func (q *Request) fillCommand(f *RequestFrame) error {
	m := &q.Message
	m.Kind = map[int]adapter.Kind{
		typeJoin: adapter.KindJoin, typeLeave: adapter.KindLeave, typeDisconnect: adapter.KindDisconnect,
	}[f.Type]
	m.Rooms, m.Close = f.Rooms, f.Close
	if f.HasOptions {
		return nil
	}
	if f.SID == "" {
		return frameError("command without a selection")
	}
	q.Socket = f.SID
	m.Selection.Rooms = []string{f.SID}
	if f.Type != typeDisconnect {
		m.Rooms = []string{f.Room}
	}
	return nil
}
