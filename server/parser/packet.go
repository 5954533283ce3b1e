package parser

import (
	"bytes"
	"strconv"
	"sync"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

// Type is the kind of a packet. Its value is the digit that starts the packet's text.
type Type byte

// The packet types of Socket.IO protocol v5.
const (
	Connect Type = iota
	Disconnect
	Event
	Ack
	ConnectError
	BinaryEvent
	BinaryAck
)

// String returns the protocol's name of the type.
func (t Type) String() string {
	names := [...]string{"CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR", "BINARY_EVENT", "BINARY_ACK"}
	if int(t) < len(names) {
		return names[t]
	}
	return "Type(" + strconv.Itoa(int(t)) + ")"
}

// NoID is the ID of a packet that asks for no acknowledgement and is none.
const NoID int64 = -1

// Packet is one Socket.IO packet. A packet that is shared must not be changed any more; reading one is safe from any
// goroutine.
type Packet struct {
	// Type of the packet. A Decoder gives BinaryEvent as Event and BinaryAck as Ack; AppendText finds out by itself.
	Type Type
	// Namespace with its leading slash and, if the client sent one, its query string. Empty means "/".
	Namespace string
	// ID is the acknowledgement id, or negative ([NoID]) for none. Zero is an id.
	ID int64
	// Payload is the packet's data; without JSON the packet has none.
	Payload
}

// packets are those that Recycle has taken.
var packets = sync.Pool{New: func() any { return new(Packet) }}

// NewPacket returns an empty packet, one that was recycled if there is any. It is for Decoders.
func NewPacket() *Packet { return packets.Get().(*Packet) }

// Recycle gives p to NewPacket. Nobody may hold p any more; its Payload, what it has been split into and its Namespace stay
// valid. It need not be called.
func (p *Packet) Recycle() {
	*p = Packet{}
	packets.Put(p)
}

// AppendText appends the packet's text in the JSON encoding, without the Engine.IO message digit. The packet's Attachments have to follow it
// as that many binary messages.
func (p *Packet) AppendText(dst []byte) []byte {
	t := p.Type
	switch t {
	case Event, BinaryEvent:
		t = Event
		if len(p.Attachments) > 0 {
			t = BinaryEvent
		}
	case Ack, BinaryAck:
		t = Ack
		if len(p.Attachments) > 0 {
			t = BinaryAck
		}
	}
	dst = append(dst, '0'+byte(t))
	if t == BinaryEvent || t == BinaryAck {
		dst = strconv.AppendInt(dst, int64(len(p.Attachments)), 10)
		dst = append(dst, '-')
	}
	if p.Namespace != "" && p.Namespace != "/" {
		dst = append(dst, p.Namespace...)
		dst = append(dst, ',')
	}
	if p.ID >= 0 {
		dst = strconv.AppendInt(dst, p.ID, 10)
	}
	return append(dst, p.JSON...)
}

// Event splits the payload of an Event into the event's name and its arguments. A name that is a number is given in
// JavaScript's string form. A packet without data, or whose data does not start with a name, is [ErrNoEvent].
func (p *Packet) Event() (name string, args Args, err error) {
	all, err := p.Args()
	if err != nil || all.n == 0 {
		return "", Args{}, ErrNoEvent
	}
	first := all.At(0).JSON
	switch c := first[0]; {
	case c == '"':
		name, err = unquote(first)
	case c == '-' || jsontext.IsDigit(c):
		name = string(jsontext.AppendWord(nil, jsontext.ParseNumber(first)))
	default:
		err = ErrNoEvent
	}
	if err != nil {
		return "", Args{}, ErrNoEvent
	}
	return name, all.rest(), nil
}

// ReservedEvent reports whether name has a meaning of its own in Socket.IO or in Node's EventEmitter. Neither side may
// emit such an event and the Decoder refuses it.
func ReservedEvent(name string) bool {
	switch name {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return true
	}
	return false
}

// maxReservedText is the length of the longest reserved name with each character written as a \u escape, with quotes.
const maxReservedText = 6*len("removeListener") + 2

// reservedText is ReservedEvent for a name in its JSON form.
func reservedText(text []byte) bool {
	if len(text) > maxReservedText {
		return false
	}
	if bytes.IndexByte(text, '\\') < 0 {
		return ReservedEvent(string(text[1 : len(text)-1]))
	}
	name, err := unquote(text)
	return err == nil && ReservedEvent(name)
}
