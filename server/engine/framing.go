package engine

import (
	"iter"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

// messageRules is how the packets of a revision become messages, each a text or binary, of a connection that keeps the
// borders of messages, and how they are read. A value knows neither session nor connection and serves all of its kind.
type messageRules struct {
	// attachment returns the message that a binary packet becomes. It may return data itself.
	attachment func(data []byte) (op websocket.Opcode, payload []byte)
	// decode reads a packet, whose bytes it may change; see Session.receive for what it returns.
	decode func(binary bool, p []byte) (kind byte, data []byte)
	// neverCompressed keeps the messages out of permessage-deflate.
	neverCompressed bool
	// frames is the form of websocket frames that are not compressed; see newMessageRules.
	frames *form
}

func newMessageRules(r messageRules) *messageRules {
	r.frames = &form{text: preparedFrame, build: r.buildFrames}
	return &r
}

func (r *messageRules) buildFrames(m *Message) (frames [][]byte) {
	if m.text != nil {
		frames = append(frames, m.text)
	}
	for _, data := range m.binary {
		op, payload := r.attachment(data)
		frames = append(frames, websocket.AppendHeader(nil, op, false, len(payload)), payload)
	}
	return frames
}

// messageFraming is how a server frames messages on websocket connections, by rules.
type messageFraming struct {
	*messageRules
	// deflated is the form of compressed frames for all connections that can share them; nil without compression.
	deflated *form
}

// newMessageFraming gets the compression of a connection without particular wishes; nil means none.
func newMessageFraming(r *messageRules, d *websocket.Deflate) *messageFraming {
	f := &messageFraming{messageRules: r}
	if d != nil && !r.neverCompressed {
		f.deflated = &form{build: func(m *Message) [][]byte {
			return f.appendDeflated(nil, m, d, func(dst, payload []byte) []byte {
				return websocket.AppendDeflated(dst, payload, d.Level())
			})
		}}
	}
	return f
}

// appendTo appends the websocket frames of m for a connection with the compression d.
func (f *messageFraming) appendTo(dst [][]byte, m *Message, d *websocket.Deflate) [][]byte {
	if d == nil || m.noCompress || f.deflated == nil {
		return f.frames.appendTo(dst, m)
	}
	largest := m.largest()
	switch {
	case !d.Compresses(largest):
		return f.frames.appendTo(dst, m)
	case d.Shares(largest):
		return f.deflated.appendTo(dst, m)
	}
	// The connection keeps a context, or has a small window.
	return f.appendDeflated(dst, m, d, d.AppendDeflated)
}

func (f *messageFraming) appendDeflated(
	dst [][]byte, m *Message, d *websocket.Deflate, deflate func(dst, payload []byte) []byte,
) [][]byte {
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
	for _, data := range m.binary {
		frame(f.attachment(data))
	}
	return dst
}

// payloadFraming is how the packets of a revision share the body of a polling answer, and how they are read from the body
// of a POST. A value knows neither session nor request and serves all of its kind.
type payloadFraming struct {
	text payloadForm
	// binary is for answers with an attachment; nil if they are texts too.
	binary *payloadForm
	// body returns how bodies of a content type are read, nil if they are not.
	body func(contentType string) *bodyRules
}

// payloadForm is the form of the messages in an answer and what stands between them.
type payloadForm struct {
	form        *form
	separator   []byte
	contentType string
}

// bodyRules is how a body is read.
type bodyRules struct {
	text bool // what is not UTF-8 is replaced first
	// packets yields the packets as Session.receive takes them. It may change the body.
	packets func(body []byte) iter.Seq2[byte, []byte]
}

// choose returns the form for an answer.
func (f *payloadFraming) choose(binary bool) *payloadForm {
	if binary && f.binary != nil {
		return f.binary
	}
	return &f.text
}
