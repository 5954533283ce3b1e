package classic

import (
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/msgpack"
	"github.com/sockeye-io/sockeye/server/parser"
)

// DecodeBroadcast implements Encoding.
func (*MessagePack) DecodeBroadcast(body []byte) (f BroadcastFrame, err error) {
	r, err := msgpack.NewReader(body, nil)
	if err != nil {
		return f, err
	}
	n, err := r.Array()
	if err != nil {
		return f, err
	}
	if n < 3 {
		return f, frameError("broadcast is too short")
	}
	if f.UID, err = r.Text(); err != nil {
		return f, err
	}
	if err := readPacket(&r, &f.Packet); err != nil {
		return f, err
	}
	if err := readOptions(&r, &f.Options); err != nil {
		return f, err
	}
	for range n - 3 {
		if err := r.Skip(); err != nil {
			return f, err
		}
	}
	return f, r.End()
}

// DecodeRequest implements Encoding.
func (*MessagePack) DecodeRequest(body []byte) (f RequestFrame, err error) {
	f.Type = -1
	r, err := msgpack.NewReader(body, nil)
	if err != nil {
		return f, err
	}
	if err := readMap(&r, func(key []byte) error { return readRequestEntry(&r, key, &f) }); err != nil {
		return f, err
	}
	return f, r.End()
}

func readRequestEntry(r *msgpack.Reader, key []byte, f *RequestFrame) (err error) {
	if r.Nil() {
		return nil
	}
	switch string(key) {
	case "uid":
		f.UID, err = r.Text()
	case "requestId":
		f.RequestID, err = r.Text()
	case "type":
		var kind int64
		kind, err = r.Int()
		f.Type = int(min(max(kind, -1), 1<<16))
	case "opts":
		f.HasOptions = true
		err = readOptions(r, &f.Options)
	case "rooms":
		f.Rooms, err = r.Texts()
	case "sid":
		f.SID, err = r.Text()
	case "room":
		f.Room, err = readRoom(r)
	case "close":
		f.Close, err = r.Bool()
	case "packet":
		err = readPacket(r, &f.Packet)
	case "data":
		f.Data, err = r.Payload()
	case "sids":
		f.SIDs, err = r.Bool()
	default:
		err = r.Skip()
	}
	return err
}

// DecodeAnswer implements Encoding.
func (*MessagePack) DecodeAnswer(body []byte) (f AnswerFrame, err error) {
	f.Type = -1
	r, err := msgpack.NewReader(body, nil)
	if err != nil {
		return f, err
	}
	if err := readMap(&r, func(key []byte) error { return readAnswerEntry(&r, key, &f) }); err != nil {
		return f, err
	}
	return f, r.End()
}

func readAnswerEntry(r *msgpack.Reader, key []byte, f *AnswerFrame) (err error) {
	switch string(key) {
	case "packet", "data": // null is an answer too
		f.Value, err = r.Payload()
		return err
	}
	if r.Nil() {
		return nil
	}
	switch string(key) {
	case "type":
		f.Type, err = readSmall(r)
	case "requestId":
		f.RequestID, err = r.Text()
	case "uid":
		f.UID, err = r.Text()
	case "clientCount":
		f.HasCount = true
		f.Count, err = readSmall(r)
	case "sid":
		f.SID, err = r.Text()
	case "sids":
		f.SIDs, err = r.Texts()
	case "rooms":
		f.HasRooms = true
		f.Rooms, err = r.Texts()
	case "sockets":
		f.HasSockets = true
		f.Sockets, err = readSockets(r)
	default:
		err = readNumber(r, key, &f.Numbers)
	}
	return err
}

func readPacket(r *msgpack.Reader, p *Packet) error {
	p.ID = parser.NoID
	return readMap(r, func(key []byte) (err error) {
		switch string(key) {
		case "type":
			var kind int64
			kind, err = r.Int()
			p.Type = parser.Type(min(max(kind, 0), 0xff))
		case "nsp":
			if !r.Nil() {
				p.Namespace, err = r.Text()
			}
		case "id":
			if !r.Nil() {
				p.ID, err = r.Int()
			}
		case "data":
			p.Data, err = r.Payload()
		default:
			err = r.Skip()
		}
		return err
	})
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

func readOptions(r *msgpack.Reader, o *Options) error {
	return readMap(r, func(key []byte) (err error) {
		switch string(key) {
		case "rooms":
			o.Rooms, err = readTexts(r)
		case "except":
			o.Except, err = readTexts(r)
		case "flags":
			if !r.Nil() {
				err = readFlags(r, &o.Flags)
			}
		default:
			err = readNumber(r, key, &o.Numbers)
		}
		return err
	})
}

// readNumber reads the value of a key if it is one of the numbers, and else skips it.
func readNumber(r *msgpack.Reader, key []byte, n *Numbers) error {
	var number *uint64
	switch string(key) {
	case "seq":
		number = &n.Seq
	case "after":
		number = &n.After
	case "directed":
		number = &n.Directed
	default:
		return r.Skip()
	}
	if r.Nil() {
		return nil
	}
	i, err := r.Int()
	if err == nil && i < 0 {
		err = frameError("number of a message is negative")
	}
	*number = uint64(i)
	return err
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
		case name == "foreign" && kind == msgpack.Bool:
			on, err := r.Bool()
			f.Foreign = on
			return err
		case name == "holders" && kind == msgpack.Array:
			holders, err := r.Texts()
			if len(holders) > 0 {
				f.Direction = &adapter.Direction{Holders: adapter.NodeIDs(holders)}
			}
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

// readRoom reads a room's name, which may be a number.
func readRoom(r *msgpack.Reader) (string, error) {
	switch r.Kind() {
	case msgpack.Int, msgpack.Float:
		key, err := r.Key()
		return string(key), err
	}
	return r.Text()
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
