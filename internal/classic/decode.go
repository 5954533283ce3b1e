package classic

import (
	"errors"
	"fmt"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/msgpack"
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
	m, err := c.readBroadcast(body)
	return m, wrapFrame(err)
}

func (c *Codec) readBroadcast(body []byte) (*adapter.Message, error) {
	r, err := msgpack.NewReader(body, nil)
	if err != nil {
		return nil, err
	}
	n, err := r.Array()
	if err != nil {
		return nil, err
	}
	if n < 3 {
		return nil, frameError("broadcast is too short")
	}
	m := &adapter.Message{Kind: adapter.KindBroadcast}
	uid, err := r.Text()
	if err != nil {
		return nil, err
	}
	if uid == c.uid {
		return nil, nil
	}
	m.From = nodeID(uid)
	p := packet{namespace: "/"}
	if err := p.read(&r); err != nil {
		return nil, err
	}
	if p.namespace != c.namespace {
		return nil, nil
	}
	if m.Packet, err = p.packet(c.namespace); err != nil {
		return nil, err
	}
	if err := readOptions(&r, m); err != nil {
		return nil, err
	}
	for range n - 3 {
		if err := r.Skip(); err != nil {
			return nil, err
		}
	}
	return m, r.End()
}

// packet is a packet as it comes.
type packet struct {
	kind      parser.Type
	namespace string
	id        int64
	data      parser.Payload
}

func (p *packet) read(r *msgpack.Reader) error {
	p.id = parser.NoID
	return readMap(r, func(key []byte) (err error) {
		switch string(key) {
		case "type":
			var kind int64
			kind, err = r.Int()
			p.kind = parser.Type(min(max(kind, 0), 0xff))
		case "nsp":
			if !r.Nil() {
				p.namespace, err = r.Text()
			}
		case "id":
			if !r.Nil() {
				p.id, err = r.Int()
			}
		case "data":
			p.data, err = r.Payload()
		default:
			err = r.Skip()
		}
		return err
	})
}

// packet checks that it is an event that clients take: they disconnect when the name is no string or number or is a reserved
// one. Nothing else is broadcast, and a client told to disconnect by a broadcast would be one that no node knows to be gone.
func (p *packet) packet(namespace string) (*parser.Packet, error) {
	if p.kind != parser.Event && p.kind != parser.BinaryEvent {
		return nil, frameError("packet is no event")
	}
	event := &parser.Packet{Type: parser.Event, Namespace: namespace, ID: max(p.id, parser.NoID), Payload: p.data}
	name, _, err := event.Event()
	if err != nil {
		return nil, err
	}
	if parser.ReservedEvent(name) {
		return nil, frameError("event with a reserved name")
	}
	return event, nil
}

// readMap reads the keys of a map. value has to read or skip what belongs to one.
func readMap(r *msgpack.Reader, value func(key []byte) error) error {
	n, err := r.Map()
	if err != nil {
		return err
	}
	for range n {
		key, err := r.Key()
		if err != nil {
			return err
		}
		if err := value(key); err != nil {
			return err
		}
	}
	return nil
}

// readOptions reads the selection and the flags.
func readOptions(r *msgpack.Reader, m *adapter.Message) error {
	return readMap(r, func(key []byte) (err error) {
		switch string(key) {
		case "rooms":
			m.Selection.Rooms, err = readTexts(r)
		case "except":
			m.Selection.Except, err = readTexts(r)
		case "flags":
			if !r.Nil() {
				err = readFlags(r, &m.Flags)
			}
		default:
			err = r.Skip()
		}
		return err
	})
}

func readTexts(r *msgpack.Reader) ([]string, error) {
	if r.Nil() {
		return nil, nil
	}
	return r.Texts()
}

// readFlags reads the flags that mean something to a node that receives them.
func readFlags(r *msgpack.Reader, f *adapter.Flags) error {
	return readMap(r, func(key []byte) error {
		name, kind := string(key), r.Kind()
		switch {
		case name == "volatile" && kind == msgpack.Bool:
			on, err := r.Bool()
			f.Volatile = on
			return err
		case name == "compress" && kind == msgpack.Bool:
			on, err := r.Bool()
			f.NoCompress = !on
			return err
		case name == "timeout" && kind == msgpack.Int:
			if ms, err := r.Int(); err == nil {
				f.Timeout = timeoutOf(ms)
				return nil
			}
		}
		return r.Skip()
	})
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

	uid       string
	requestID string
	kind      int  // -1 when there is none
	hasOpts   bool // the command or question has a selection
	rooms     []string
	sid, room string
	close     bool
	sids      bool
	packet    packet
	data      parser.Payload
}

// DecodeRequest reads a request in either format. It returns nil for one of this node.
func (c *Codec) DecodeRequest(body []byte) (*Request, error) {
	q := &Request{kind: -1}
	var err error
	if len(body) > 0 && body[0] == '{' {
		err = q.readJSON(body)
	} else {
		err = q.readMsgpack(body)
	}
	if err == nil && q.uid == c.uid {
		return nil, nil
	}
	if err == nil {
		err = q.check(c.namespace)
	}
	if err != nil {
		return nil, wrapFrame(err)
	}
	return q, nil
}

func (q *Request) readMsgpack(body []byte) error {
	r, err := msgpack.NewReader(body, nil)
	if err != nil {
		return err
	}
	if err := readMap(&r, func(key []byte) error { return q.readEntry(&r, key) }); err != nil {
		return err
	}
	return r.End()
}

func (q *Request) readEntry(r *msgpack.Reader, key []byte) (err error) {
	if r.Nil() {
		return nil
	}
	switch string(key) {
	case "uid":
		q.uid, err = r.Text()
	case "requestId":
		q.requestID, err = r.Text()
	case "type":
		var kind int64
		kind, err = r.Int()
		q.kind = int(min(max(kind, -1), 1<<16))
	case "opts":
		q.hasOpts = true
		err = readOptions(r, &q.Message)
	case "rooms":
		q.rooms, err = r.Texts()
	case "sid":
		q.sid, err = r.Text()
	case "room":
		q.room, err = readRoom(r)
	case "close":
		q.close, err = r.Bool()
	case "packet":
		err = q.packet.read(r)
	case "data":
		q.data, err = r.Payload()
	case "sids":
		q.sids, err = r.Bool()
	default:
		err = r.Skip()
	}
	return err
}

// readRoom reads a room's name, which may be a number.
func readRoom(r *msgpack.Reader) (string, error) {
	switch r.Kind() {
	case msgpack.Int, msgpack.Float:
		key, err := r.Key()
		return string(key), err
	}
	return r.Text()
}

// check completes the message and refuses what Node would not send.
func (q *Request) check(namespace string) error {
	m := &q.Message
	m.From = nodeID(q.uid)
	asks, who := false, anyNode
	switch q.kind {
	case typeSockets:
		m.Kind, asks, who = adapter.KindFetch, true, wantsIDs
		m.Selection.Rooms = q.rooms
	case typeAllRooms:
		m.Kind, asks = adapter.KindListRooms, true
	case typeJoin, typeLeave, typeDisconnect:
		return q.checkControl()
	case typeFetch:
		if !q.hasOpts {
			return frameError("fetch without opts")
		}
		m.Kind, asks = adapter.KindFetch, true
	case typeServerSide:
		if _, err := q.data.Args(); err != nil || len(q.data.JSON) == 0 {
			return frameError("server-side event without arguments")
		}
		m.Kind, m.Payload = adapter.KindServerSide, q.data
	case typeBroadcast:
		if !q.hasOpts {
			return frameError("broadcast without opts")
		}
		p, err := q.packet.packet(namespace)
		if err != nil {
			return err
		}
		p.ID = parser.NoID
		m.Kind, m.Packet, asks = adapter.KindBroadcast, p, true
		if q.sids {
			who = sockeye
		}
	default:
		return ErrUnknownRequest
	}
	if asks && q.requestID == "" {
		return frameError("question without an id")
	}
	if q.requestID != "" {
		m.Request = who.request(q.requestID)
	}
	return nil
}

// checkControl completes a command. One about a single socket, from an old node, selects the room of that id.
func (q *Request) checkControl() error {
	m := &q.Message
	m.Kind = map[int]adapter.Kind{
		typeJoin: adapter.KindJoin, typeLeave: adapter.KindLeave, typeDisconnect: adapter.KindDisconnect,
	}[q.kind]
	m.Rooms, m.Close = q.rooms, q.close
	if q.hasOpts {
		return nil
	}
	if q.sid == "" {
		return frameError("command without a selection")
	}
	q.Socket = q.sid
	m.Selection.Rooms = []string{q.sid}
	if q.kind != typeDisconnect {
		m.Rooms = []string{q.room}
	}
	return nil
}
