package classic

import (
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/lenient"
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
	if f.UID, err = readText(&r); err != nil {
		return f, err
	}
	if err := readPacket(&r, &f.Packet); err != nil {
		return f, inField("packet", err)
	}
	if _, err := readOptions(&r, &f.Options); err != nil {
		return f, inField("opts", err)
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
	f.Type, f.OddID = -1, true
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
		f.UID, err = readText(r)
	case "requestId":
		f.RequestID, f.OddID, err = readRequestID(r)
	case "type":
		f.Type, err = readSmall(r)
	case "opts":
		f.HasOptions, err = readOptions(r, &f.Options)
	case "rooms":
		f.Rooms, err = r.Payload()
	case "sid":
		f.SID, err = readText(r)
	case "room":
		f.Room, err = readRoom(r)
	case "close":
		f.Close, err = readTruth(r)
	case "packet":
		err = readPacket(r, &f.Packet)
	case "data":
		f.Data, err = r.Payload()
	case "sids":
		f.SIDs, err = readTruth(r)
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
		f.RequestID, err = readText(r)
	case "uid":
		f.UID, err = readText(r)
	case "clientCount":
		f.Count, err = readSmall(r)
		f.HasCount = f.Count >= 0
	case "sid":
		f.SID, err = readText(r)
	case "sids":
		f.SIDs, err = readList(r, lenient.Names)
	case "rooms":
		f.HasRooms = true
		f.Rooms, err = readList(r, lenient.Names)
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
	if r.Kind() != msgpack.Map {
		return errNoObject
	}
	return readMap(r, func(key []byte) (err error) {
		switch string(key) {
		case "type":
			var kind int
			kind, err = readSmall(r)
			p.Type = parser.Type(min(max(kind, 0), 0xff))
		case "nsp":
			if !r.Nil() {
				p.Namespace, err = r.Text()
			}
		case "id":
			if p.ID, err = r.Int(); err != nil {
				p.ID, err = parser.NoID, r.Skip()
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
			return inField(string(key[:min(len(key), maxField)]), err)
		}
	}
	return nil
}

// readOptions reads the opts of a message. Nothing is in a list, and what JavaScript takes for false counts as if it were not there.
func readOptions(r *msgpack.Reader, o *Options) (has bool, err error) {
	switch r.Kind() {
	case msgpack.Map:
	case msgpack.Array:
		return true, r.Skip()
	default:
		if has, err = readTruth(r); has && err == nil {
			err = errNoOptions
		}
		return has, err
	}
	return true, readMap(r, func(key []byte) (err error) {
		switch string(key) {
		case "rooms":
			o.Rooms, err = readList(r, lenient.Rooms)
		case "except":
			o.Except, err = readList(r, lenient.Rooms)
		case "flags":
			if r.Kind() != msgpack.Map {
				return r.Skip()
			}
			err = readFlags(r, &o.Flags)
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

// readList reads a list of names; the other function makes them of what is no list of texts and numbers alone.
func readList(r *msgpack.Reader, odd func(text string) ([]string, error)) ([]string, error) {
	if r.Nil() {
		return nil, nil
	}
	if list, err := r.Texts(); err == nil {
		return list, nil
	}
	p, err := r.Payload()
	if err != nil {
		return nil, err
	}
	return odd(string(p.JSON))
}

// readText reads a text; what is none is "".
func readText(r *msgpack.Reader) (string, error) {
	if r.Kind() != msgpack.String {
		return "", r.Skip()
	}
	return r.Text()
}

// readTruth reads a value of any kind as JavaScript does where it wants a boolean.
func readTruth(r *msgpack.Reader) (bool, error) {
	if r.Kind() == msgpack.Bool {
		return r.Bool()
	}
	p, err := r.Payload()
	return lenient.Truth(string(p.JSON)), err
}

// readRequestID reads the id of a question, see RequestFrame.
func readRequestID(r *msgpack.Reader) (id string, odd bool, err error) {
	if r.Kind() == msgpack.String {
		id, err = r.Text()
		return id, false, err
	}
	p, err := r.Payload()
	if err == nil {
		p, err = p.Inline()
	}
	return string(p.JSON), true, err
}

// readFlags reads the flags that mean something to a node that receives them.
func readFlags(r *msgpack.Reader, f *adapter.Flags) error {
	return readMap(r, func(key []byte) error {
		name, kind := string(key), r.Kind()
		switch {
		case name == "volatile":
			on, err := readTruth(r)
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
			holders, err := readList(r, lenient.Names)
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

// readRoom reads a room's name, which may be a number; what is neither is "".
func readRoom(r *msgpack.Reader) (string, error) {
	switch r.Kind() {
	case msgpack.Int, msgpack.Float:
		key, err := r.Key()
		return string(key), err
	}
	return readText(r)
}

// readSmall reads an integer and holds it to 32 bits; what is none is -1.
func readSmall(r *msgpack.Reader) (int, error) {
	n, err := r.Int()
	if err != nil {
		return -1, r.Skip()
	}
	return int(min(max(n, -1), 1<<31-1)), nil
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
				s.Rooms, err = readList(r, lenient.Names)
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
