package classic

import (
	"cmp"
	"errors"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/lenient"
	"github.com/sockeye-io/sockeye/server/parser"
)

// DecodeBroadcast reads [uid, packet, opts]. It returns nil for a message of this node or of another namespace.
func (c *Codec) DecodeBroadcast(body []byte) (*adapter.Message, error) {
	f, err := c.encoding.DecodeBroadcast(body)
	if err != nil {
		return nil, refused(f.UID, c.other(body, err))
	}
	if f.UID == c.uid || cmp.Or(f.Packet.Namespace, "/") != c.namespace {
		return nil, nil
	}
	m := &adapter.Message{Kind: adapter.KindBroadcast, From: nodeID(f.UID)}
	if m.Packet, err = f.Packet.event(c.namespace); err == nil {
		err = f.Options.set(m)
	}
	if err != nil {
		return nil, refused(f.UID, err)
	}
	return m, nil
}

// event checks that it is an event that clients take: they disconnect when the name is no string or number or is a reserved
// one. Nothing else is broadcast, and a client told to disconnect by a broadcast would be one that no node knows to be gone.
func (p *Packet) event(namespace string) (*parser.Packet, error) {
	if p.Type != parser.Event && p.Type != parser.BinaryEvent {
		return nil, inField("packet.type", errors.New("not an event"))
	}
	event := &parser.Packet{Type: parser.Event, Namespace: namespace, ID: max(p.ID, parser.NoID), Payload: p.Data}
	name, _, err := event.Event()
	if err == nil && parser.ReservedEvent(name) {
		err = errors.New("event with a reserved name")
	}
	return event, inField("packet.data", err)
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
	oddID     bool
}

// DecodeRequest reads a request in either format. It returns nil for one of this node. Beside an error it returns a question that
// someone waits for nevertheless, see Empty, and else nil.
func (c *Codec) DecodeRequest(body []byte) (*Request, error) {
	var f RequestFrame
	var err error
	if isJSON(body) {
		f, err = decodeJSONRequest(body, nil)
	} else {
		f, err = c.encoding.DecodeRequest(body)
		err = c.other(body, err)
	}
	if err == nil && f.UID == c.uid {
		return nil, nil
	}
	q := &Request{requestID: f.RequestID, oddID: f.OddID}
	if err == nil {
		err = q.fill(&f, c.namespace)
	}
	if err != nil {
		return unread(&f, c.uid), refused(f.UID, err)
	}
	return q, nil
}

// unread is the question in a frame that is refused, without what it asks; nil if nobody waits for an answer.
func unread(f *RequestFrame, uid string) *Request {
	q := &Request{Message: adapter.Message{From: nodeID(f.UID)}}
	who := anyNode
	switch f.Type {
	case typeSockets:
		q.Message.Kind, who = adapter.KindFetch, wantsIDs
	case typeFetch:
		q.Message.Kind = adapter.KindFetch
	case typeBroadcast:
		q.Message.Kind = adapter.KindBroadcast
	default:
		return nil
	}
	if f.RequestID == "" || f.UID == uid {
		return nil
	}
	q.Message.Request = who.question(f.RequestID, f.OddID)
	return q
}

// Empty is the answer to a question that is refused: no socket, or none that has got the broadcast.
func (q *Request) Empty() *adapter.Message {
	if q.Message.Kind == adapter.KindBroadcast {
		return &adapter.Message{Kind: adapter.KindCount, Request: q.Message.Request}
	}
	return &adapter.Message{Kind: adapter.KindSockets, Request: q.Message.Request}
}

// fill makes the message of a frame and refuses what Node would not send.
func (q *Request) fill(f *RequestFrame, namespace string) (err error) {
	m := &q.Message
	m.From = nodeID(f.UID)
	if err := f.Options.set(m); err != nil {
		return inField("opts", err)
	}
	asks, who := true, anyNode
	switch f.Type {
	case typeSockets:
		m.Kind, who = adapter.KindFetch, wantsIDs
		if m.Selection.Rooms, err = lenient.Rooms(string(f.Rooms.JSON)); err != nil {
			return inField("rooms", err)
		}
	case typeAllRooms:
		m.Kind = adapter.KindListRooms
	case typeJoin, typeLeave, typeDisconnect:
		return q.fillCommand(f)
	case typeFetch:
		m.Kind, m.Want = adapter.KindFetch, f.Only
	case typeServerSide:
		if _, err := f.Data.Args(); err != nil || len(f.Data.JSON) == 0 {
			return inField("data", errors.New("not the arguments of an event"))
		}
		m.Kind, m.Payload = adapter.KindServerSide, f.Data
		asks = !f.OddID || f.RequestID != ""
	case typeBroadcast:
		p, err := f.Packet.event(namespace)
		if err != nil {
			return err
		}
		p.ID = parser.NoID
		m.Kind, m.Packet = adapter.KindBroadcast, p
		if f.SIDs {
			who = sockeye
		}
	default:
		return ErrUnknownRequest
	}
	if asks {
		m.Request = who.question(f.RequestID, f.OddID)
	}
	return nil
}

// fillCommand completes a command. One about a single socket, from an old node, selects the room of that id.
func (q *Request) fillCommand(f *RequestFrame) error {
	m := &q.Message
	m.Kind = map[int]adapter.Kind{
		typeJoin: adapter.KindJoin, typeLeave: adapter.KindLeave, typeDisconnect: adapter.KindDisconnect,
	}[f.Type]
	m.Close = f.Close
	names, err := lenient.Names(string(f.Rooms.JSON))
	if err != nil {
		return inField("rooms", err)
	}
	if m.Rooms = names; f.HasOptions {
		return nil
	}
	if f.SID == "" {
		return inField("opts", errors.New("neither they nor sid are there"))
	}
	q.Socket = f.SID
	m.Selection.Rooms = []string{f.SID}
	if f.Type != typeDisconnect {
		m.Rooms = []string{f.Room}
	}
	return nil
}
