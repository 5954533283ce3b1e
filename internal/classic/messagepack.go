package classic

import (
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/lenient"
	"github.com/sockeye-io/sockeye/internal/msgpack"
	"github.com/sockeye-io/sockeye/server/parser"
)

// MessagePack is the default encoding, npm notepack.io.
type MessagePack struct{}

const nameMessagePack = "msgpack"

// Name implements Encoding.
func (*MessagePack) Name() string { return nameMessagePack }

// What frames hold besides their payload, about, in bytes.
const (
	aroundBroadcast = 128
	aroundQuestion  = 192
	aroundAck       = 112
)

// room returns an empty frame in which one with that payload should find room.
func room(around int, p *parser.Payload) []byte {
	size := around + len(p.JSON)
	for _, a := range p.Attachments {
		size += len(a)
	}
	return make([]byte, 0, size)
}

// EncodeBroadcast implements Encoding.
func (*MessagePack) EncodeBroadcast(f BroadcastFrame) ([]byte, error) {
	dst := msgpack.AppendArray(room(aroundBroadcast, &f.Packet.Data), 3)
	dst = msgpack.AppendString(dst, f.UID)
	dst, err := appendPacket(dst, &f.Packet)
	if err != nil {
		return nil, err
	}
	return appendOptions(dst, f.UID, &f.Options), nil
}

// questionEntries is the number of entries of a broadcast that asks for acknowledgements.
const questionEntries = 6

// EncodeQuestion implements Encoding.
func (*MessagePack) EncodeQuestion(f RequestFrame) ([]byte, error) {
	dst := msgpack.AppendMap(room(aroundQuestion, &f.Packet.Data), questionEntries)
	dst = msgpack.AppendKey(dst, "uid")
	dst = msgpack.AppendString(dst, f.UID)
	dst = msgpack.AppendKey(dst, "requestId")
	dst = msgpack.AppendString(dst, f.RequestID)
	dst = msgpack.AppendKey(dst, "type")
	dst = msgpack.AppendInt(dst, int64(f.Type))
	dst = msgpack.AppendKey(dst, "packet")
	dst, err := appendPacket(dst, &f.Packet)
	if err != nil {
		return nil, err
	}
	dst = msgpack.AppendKey(dst, "opts")
	dst = appendOptions(dst, f.UID, &f.Options)
	dst = msgpack.AppendKey(dst, "sids")
	return msgpack.AppendBool(dst, f.SIDs), nil
}

// EncodeAck implements Encoding.
func (*MessagePack) EncodeAck(f AnswerFrame) ([]byte, error) {
	hasValue, hasSID := len(f.Value.JSON) > 0, f.SID != ""
	n := 3 + f.Numbers.entries()
	for _, has := range []bool{hasValue, hasSID} {
		if has {
			n++
		}
	}
	dst := msgpack.AppendMap(room(aroundAck, &f.Value), n)
	dst = msgpack.AppendKey(dst, "type")
	dst = msgpack.AppendInt(dst, int64(f.Type))
	dst, err := appendRequestID(msgpack.AppendKey(dst, "requestId"), &f)
	if err != nil {
		return nil, err
	}
	if hasValue {
		dst, err = msgpack.AppendPayload(msgpack.AppendKey(dst, "packet"), msgpack.Notepack, f.Value)
		if err != nil {
			return nil, err
		}
	}
	if hasSID {
		dst = msgpack.AppendString(msgpack.AppendKey(dst, "sid"), f.SID)
	}
	dst = appendNumbers(dst, &f.Numbers)
	return msgpack.AppendString(msgpack.AppendKey(dst, "uid"), f.UID), nil
}

func appendRequestID(dst []byte, f *AnswerFrame) ([]byte, error) {
	if f.OddID {
		return msgpack.AppendPayload(dst, msgpack.Notepack, parser.Payload{JSON: []byte(f.RequestID)})
	}
	return msgpack.AppendString(dst, f.RequestID), nil
}

// Marks implements Encoding. The heads of maps and arrays are part of the marks: what a message may have besides what Node
// writes is within its opts, so that the number of entries stays the same.
func (*MessagePack) Marks(uid string) Marks {
	entry := msgpack.AppendString(msgpack.AppendKey(nil, "uid"), uid)
	return Marks{
		Broadcast: string(msgpack.AppendString(msgpack.AppendArray(nil, 3), uid)),
		Question:  string(msgpack.AppendMap(nil, questionEntries)) + string(entry),
		Ack:       string(entry),
	}
}

// Shape implements Encoding: a broadcast is an array, a request a map that begins with the uid.
func (*MessagePack) Shape(body string) Shape {
	if body == "" {
		return ShapeAnswer
	}
	switch head := body[0]; {
	case head&0xf0 == 0x90, head == 0xdc, head == 0xdd:
		return ShapeBroadcast
	case head&0xf0 == 0x80 && strings.HasPrefix(body[1:], "\xa3uid"):
		return ShapeRequest
	}
	return ShapeAnswer
}

// appendPacket writes a packet in the key order of the reference, which sets the namespace last.
func appendPacket(dst []byte, p *Packet) ([]byte, error) {
	dst = msgpack.AppendMap(dst, 3)
	dst = msgpack.AppendKey(dst, "type")
	dst = msgpack.AppendInt(dst, int64(p.Type))
	dst = msgpack.AppendKey(dst, "data")
	dst, err := msgpack.AppendPayload(dst, msgpack.Notepack, p.Data)
	if err != nil {
		return nil, err
	}
	dst = msgpack.AppendKey(dst, "nsp")
	return msgpack.AppendString(dst, p.Namespace), nil
}

func appendOptions(dst []byte, uid string, o *Options) []byte {
	dst = msgpack.AppendMap(dst, 3+o.Numbers.entries())
	dst = msgpack.AppendKey(dst, "rooms")
	dst = appendRooms(dst, o.Rooms, o)
	if uid == Emitter { // whose order is another one
		dst = appendFlags(msgpack.AppendKey(dst, "flags"), &o.Flags)
	}
	dst = msgpack.AppendKey(dst, "except")
	dst = appendRooms(dst, o.Except, o)
	if uid != Emitter {
		dst = appendFlags(msgpack.AppendKey(dst, "flags"), &o.Flags)
	}
	return appendNumbers(dst, &o.Numbers)
}

// appendRooms writes a list of rooms in the form that the options say.
func appendRooms(dst []byte, rooms []string, o *Options) []byte {
	if !o.BothForms || !lenient.AnyWhole(rooms) {
		return msgpack.AppendStrings(dst, rooms)
	}
	whole := 0
	for _, room := range rooms {
		if _, ok := lenient.Whole(room); ok {
			whole++
		}
	}
	dst = msgpack.AppendArray(dst, len(rooms)+whole)
	for _, room := range rooms {
		dst = msgpack.AppendString(dst, room)
		if n, ok := lenient.Whole(room); ok {
			dst = msgpack.AppendInt(dst, n)
		}
	}
	return dst
}

// appendFlags writes the flags that are set.
func appendFlags(dst []byte, f *adapter.Flags) []byte {
	holders := holdersOf(f)
	n := 0
	for _, set := range [...]bool{f.Volatile, f.NoCompress, f.Timeout > 0, f.Foreign, len(holders) > 0} {
		if set {
			n++
		}
	}
	dst = msgpack.AppendMap(dst, n)
	if f.Volatile {
		dst = msgpack.AppendBool(msgpack.AppendKey(dst, "volatile"), true)
	}
	if f.NoCompress {
		dst = msgpack.AppendBool(msgpack.AppendKey(dst, "compress"), false)
	}
	if f.Timeout > 0 {
		dst = msgpack.AppendInt(msgpack.AppendKey(dst, "timeout"), millis(f.Timeout))
	}
	if f.Foreign {
		dst = msgpack.AppendBool(msgpack.AppendKey(dst, "foreign"), true)
	}
	if len(holders) > 0 {
		dst = msgpack.AppendStrings(msgpack.AppendKey(dst, "holders"), holders)
	}
	return dst
}

// holdersOf returns the nodes that a message to one of them names.
func holdersOf(f *adapter.Flags) []string {
	if f.Direction == nil {
		return nil
	}
	names := make([]string, len(f.Direction.Holders))
	for i, id := range f.Direction.Holders {
		names[i] = string(id)
	}
	return names
}

// entries is the number of entries that the numbers take.
func (n *Numbers) entries() (entries int) {
	if *n == (Numbers{}) {
		return 0
	}
	for _, number := range [...]uint64{n.Seq, n.After, n.Directed} {
		if number > 0 {
			entries++
		}
	}
	return entries
}

// appendNumbers writes the numbers that are not 0.
func appendNumbers(dst []byte, n *Numbers) []byte {
	if n.Seq > 0 {
		dst = msgpack.AppendInt(msgpack.AppendKey(dst, "seq"), int64(n.Seq))
	}
	if n.After > 0 {
		dst = msgpack.AppendInt(msgpack.AppendKey(dst, "after"), int64(n.After))
	}
	if n.Directed > 0 {
		dst = msgpack.AppendInt(msgpack.AppendKey(dst, "directed"), int64(n.Directed))
	}
	return dst
}
