package engine

import (
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

// Engine.IO packet types; protocol section "Packet encoding".
const (
	packetOpen    = '0'
	packetClose   = '1'
	packetPing    = '2'
	packetPong    = '3'
	packetMessage = '4'
	packetUpgrade = '5'
	packetNoop    = '6'
	packetBase64  = 'b' // a binary message inside a text

	packetInvalid = 0 // not on the wire: what could not be decoded
)

// packetOverhead is what a queued packet is charged beside its bytes, so that a queue of empty packets is bounded too.
const packetOverhead = 64

// The packets without content, shared by all sessions.
var (
	pingPacket  = newProtocolPacket(packetPing)
	pongPacket  = newProtocolPacket(packetPong)
	noopPacket  = newProtocolPacket(packetNoop)
	closePacket = newProtocolPacket(packetClose)
	probeAnswer = newPacket(packetPong, []byte("probe"), false)
)

// Message is one application message to send: a text and the binary messages that must directly follow it on the wire
// (a Socket.IO packet and its attachments), or binary messages alone. It may be sent by any number of sessions at the
// same time, of several servers too; what goes over the wire is built once for each kind of connection and shared. A Message is immutable
// after its first Send.
type Message struct {
	// Static after construction.
	text       []byte // websocket header, packet type and text in one piece; nil without a text
	head       int    // length of the websocket header in text
	binary     [][]byte
	size       int // bytes of all packets
	noCompress bool
	uncounted  bool // a packet of the protocol itself, which all servers share, does not count towards OutboxTotal

	// Safe for concurrent use by themselves.
	charge charge                // of the first server that queues the message
	built  atomic.Pointer[built] // the forms that it has been built in, see form.go

	mu sync.Mutex // held while something is added to built or to the charges
}

// NewMessage returns a message that consists of text (a payload, without the packet type) and the attachments that
// follow it. The text is copied; the attachments are not and must not be changed any more.
func NewMessage(text []byte, attachments ...[]byte) *Message {
	m := newPacket(packetMessage, text, true)
	m.setBinary(attachments)
	return m
}

// NewBinaryMessage returns a message of one binary packet. The data is not copied and must not be changed any more.
func NewBinaryMessage(data []byte) *Message {
	m := &Message{}
	m.setBinary([][]byte{data})
	return m
}

func newPacket(kind byte, text []byte, compress bool) *Message {
	b := make([]byte, 0, 10+1+len(text))
	b = websocket.AppendHeader(b, websocket.OpText, false, 1+len(text))
	m := &Message{head: len(b), size: 1 + len(text), noCompress: !compress}
	b = append(b, kind)
	m.text = append(b, text...)
	return m
}

func newProtocolPacket(kind byte) *Message {
	m := newPacket(kind, nil, false)
	m.uncounted = true
	return m
}

func (m *Message) setBinary(data [][]byte) {
	if len(data) == 0 {
		return
	}
	m.binary = data
	for _, b := range data {
		m.size += len(b)
	}
}

// SetCompress says whether the message may be compressed, by websocket and HTTP compression alike. The default is
// true. It must not be called after the first Send.
func (m *Message) SetCompress(on bool) { m.noCompress = !on }

// cost is what the message is charged in an outbox.
func (m *Message) cost() int64 { return int64(m.size) + packetOverhead*int64(m.packets()) }

// packets is the number of Engine.IO packets.
func (m *Message) packets() int {
	n := len(m.binary)
	if m.text != nil {
		n++
	}
	return n
}

// payload is the text packet without a websocket header.
func (m *Message) payload() []byte { return m.text[m.head:] }

// largest is the length of the longest packet.
func (m *Message) largest() int {
	n := 0
	if m.text != nil {
		n = len(m.payload())
	}
	for _, b := range m.binary {
		n = max(n, len(b))
	}
	return n
}
