package classic

import (
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/msgpack"
	"github.com/sockeye-io/sockeye/server/parser"
)

// reply is an answer of another node as it comes.
type reply struct {
	kind       int // -1 when there is none
	requestID  string
	uid        string
	sockets    []adapter.SocketDetails
	hasSockets bool
	rooms      []string
	hasRooms   bool
	value      parser.Payload // data or packet
	count      int
	hasCount   bool
	sid        string
	sids       []string
}

// DecodeAnswer reads an answer in either format. It returns nil for one to a question of another node.
func (c *Codec) DecodeAnswer(body []byte) (*adapter.Message, error) {
	a := &reply{kind: -1}
	var err error
	if len(body) > 0 && body[0] == '{' {
		err = a.readJSON(body)
	} else {
		err = a.readMsgpack(body)
	}
	if err != nil {
		return nil, wrapFrame(err)
	}
	request, ok := c.questionOf(a.requestID)
	if !ok || a.uid == c.uid {
		return nil, nil
	}
	m := &adapter.Message{From: nodeID(a.uid), Request: request, SocketID: a.sid}
	switch {
	case a.kind == typeServerSide:
		m.Kind, m.Payload = adapter.KindServerReply, a.value
	case a.kind == typeCount && a.hasCount && a.count >= 0:
		m.Kind, m.Count = adapter.KindCount, a.count
	case a.kind == typeAck:
		m.Kind, m.Payload = adapter.KindAck, a.value
	case a.kind == typeGone:
		m.Kind, m.SocketIDs = adapter.KindGone, a.sids
	case a.hasSockets:
		m.Kind, m.Sockets = adapter.KindSockets, a.sockets
	case a.hasRooms:
		m.Kind, m.Rooms = adapter.KindRooms, a.rooms
	default:
		return nil, frameError("answer of no known kind")
	}
	return m, nil
}

func (a *reply) readMsgpack(body []byte) error {
	r, err := msgpack.NewReader(body, nil)
	if err != nil {
		return err
	}
	if err := readMap(&r, func(key []byte) error { return a.readEntry(&r, key) }); err != nil {
		return err
	}
	return r.End()
}

func (a *reply) readEntry(r *msgpack.Reader, key []byte) (err error) {
	switch string(key) {
	case "packet", "data": // null is an answer too
		a.value, err = r.Payload()
		return err
	}
	if r.Nil() {
		return nil
	}
	switch string(key) {
	case "type":
		a.kind, err = readSmall(r)
	case "requestId":
		a.requestID, err = r.Text()
	case "uid":
		a.uid, err = r.Text()
	case "clientCount":
		a.hasCount = true
		a.count, err = readSmall(r)
	case "sid":
		a.sid, err = r.Text()
	case "sids":
		a.sids, err = r.Texts()
	case "rooms":
		a.hasRooms = true
		a.rooms, err = r.Texts()
	case "sockets":
		a.hasSockets = true
		a.sockets, err = readSockets(r)
	default:
		err = r.Skip()
	}
	return err
}

// readSmall reads an integer and holds it to 32 bits.
func readSmall(r *msgpack.Reader) (int, error) {
	n, err := r.Int()
	return int(min(max(n, -1), 1<<31-1)), err
}

// readSockets reads the descriptions of sockets. Binary data in them becomes what JSON.stringify makes of it.
func readSockets(r *msgpack.Reader) ([]adapter.SocketDetails, error) {
	n, err := r.Array()
	if err != nil {
		return nil, err
	}
	sockets := make([]adapter.SocketDetails, 0, min(n, 64))
	for range n {
		var s adapter.SocketDetails
		err := readMap(r, func(key []byte) (err error) {
			switch string(key) {
			case "id":
				s.ID, err = r.Text()
			case "handshake":
				s.Handshake, err = readInline(r)
			case "rooms":
				s.Rooms, err = readTexts(r)
			case "data":
				s.Data, err = readInline(r)
			default:
				err = r.Skip()
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		sockets = append(sockets, s)
	}
	return sockets, nil
}

func readInline(r *msgpack.Reader) ([]byte, error) {
	p, err := r.Payload()
	if err == nil {
		p, err = p.Inline()
	}
	return p.JSON, err
}
