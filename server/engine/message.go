package engine

import (
	"encoding/base64"
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
	pingPacket  = newPacket(packetPing, nil, false)
	noopPacket  = newPacket(packetNoop, nil, false)
	closePacket = newPacket(packetClose, nil, false)
)

// Message is one application message to send: a text and the binary messages that must directly follow it on the wire
// (a Socket.IO packet and its attachments), or binary messages alone. It may be sent by any number of sessions at the
// same time; what goes over the wire is built once for each kind of connection and shared. A Message is immutable
// after its first Send.
type Message struct {
	// Static after construction.
	text       []byte // websocket header, packet type and text in one piece; nil without a text
	head       int    // length of the websocket header in text
	binary     [][]byte
	size       int // bytes of all packets
	noCompress bool

	// outboxes is the number of outboxes that hold the message; the process budget counts it once.
	outboxes atomic.Int32

	// Built at most once, under mu.
	mu       sync.Mutex
	plain    atomic.Pointer[[][]byte]
	deflated atomic.Pointer[[][]byte]
	pieces   atomic.Pointer[[]byte]
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

// appendFrames appends the websocket frames of the message for a connection with the given compression.
func (m *Message) appendFrames(dst [][]byte, d *websocket.Deflate) [][]byte {
	if d != nil && !m.noCompress {
		return m.appendCompressible(dst, d)
	}
	return m.appendPlain(dst)
}

func (m *Message) appendPlain(dst [][]byte) [][]byte {
	if m.binary == nil {
		return append(dst, m.text)
	}
	frames := m.plain.Load()
	if frames == nil {
		frames = m.buildPlain()
	}
	return append(dst, *frames...)
}

func (m *Message) buildPlain() *[][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if frames := m.plain.Load(); frames != nil {
		return frames
	}
	var frames [][]byte
	if m.text != nil {
		frames = append(frames, m.text)
	}
	for _, b := range m.binary {
		frames = append(frames, websocket.AppendHeader(nil, websocket.OpBinary, false, len(b)), b)
	}
	m.plain.Store(&frames)
	return &frames
}

// appendCompressible uses the shared compressed frames where the connection can read them, and compresses for this
// connection alone where it keeps a context.
func (m *Message) appendCompressible(dst [][]byte, d *websocket.Deflate) [][]byte {
	largest := 0
	for _, b := range m.binary {
		largest = max(largest, len(b))
	}
	if m.text != nil {
		largest = max(largest, len(m.payload()))
	}
	switch {
	case !d.Compresses(largest):
		return m.appendPlain(dst)
	case d.Shares(largest):
		frames := m.deflated.Load()
		if frames == nil {
			frames = m.buildDeflated(d)
		}
		return append(dst, *frames...)
	}
	return m.appendDeflated(dst, d, d.AppendDeflated)
}

func (m *Message) buildDeflated(d *websocket.Deflate) *[][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if frames := m.deflated.Load(); frames != nil {
		return frames
	}
	frames := m.appendDeflated(nil, d, func(dst, payload []byte) []byte {
		return websocket.AppendDeflated(dst, payload, d.Level())
	})
	m.deflated.Store(&frames)
	return &frames
}

func (m *Message) appendDeflated(dst [][]byte, d *websocket.Deflate, deflate func(dst, payload []byte) []byte) [][]byte {
	frame := func(op websocket.Opcode, payload []byte) {
		if !d.Compresses(len(payload)) {
			dst = append(dst, websocket.AppendHeader(nil, op, false, len(payload)), payload)
			return
		}
		z := deflate(nil, payload)
		dst = append(dst, websocket.AppendHeader(nil, op, true, len(z)), z)
	}
	if m.text != nil {
		frame(websocket.OpText, m.payload())
	}
	for _, b := range m.binary {
		frame(websocket.OpBinary, b)
	}
	return dst
}

// base64Frames is for the rare websocket client that asked for texts only (b64 in its query).
func (m *Message) base64Frames(dst [][]byte) [][]byte {
	if m.text != nil {
		dst = append(dst, m.text)
	}
	for _, b := range m.binary {
		dst = append(dst, websocket.AppendFrame(nil, websocket.OpText, false, appendBase64Packet(nil, b)))
	}
	return dst
}

// pollingPiece is the part of a polling payload that the message becomes: its packets joined by the separator.
func (m *Message) pollingPiece() []byte {
	if m.binary == nil {
		return m.payload()
	}
	if piece := m.pieces.Load(); piece != nil {
		return *piece
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if piece := m.pieces.Load(); piece != nil {
		return *piece
	}
	piece := make([]byte, 0, m.size*4/3+6*len(m.binary))
	if m.text != nil {
		piece = append(piece, m.payload()...)
	}
	for _, b := range m.binary {
		if len(piece) > 0 {
			piece = append(piece, separator)
		}
		piece = appendBase64Packet(piece, b)
	}
	m.pieces.Store(&piece)
	return piece
}

func appendBase64Packet(dst, data []byte) []byte {
	dst = append(dst, packetBase64)
	return base64.StdEncoding.AppendEncode(dst, data)
}
