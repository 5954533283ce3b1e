package engine

import (
	"encoding/base64"
	"iter"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

// The framing of revision 4. Over websocket each packet is a message; a binary packet has no type. In a polling payload
// the packets are joined by a separator; binary ones are base64.

var (
	messages4 = newMessageRules(messageRules{
		attachment: func(data []byte) (websocket.Opcode, []byte) { return websocket.OpBinary, data },
		decode:     decode4,
	})
	// texts4 is for the rare client that asked for texts only (b64 in its query).
	texts4 = newMessageRules(messageRules{
		attachment: func(data []byte) (websocket.Opcode, []byte) {
			return websocket.OpText, appendBase64Packet(nil, data)
		},
		decode:          decode4,
		neverCompressed: true,
	})
	payloads4 = &payloadFraming{
		text: payloadForm{
			form:        &form{text: preparedPacket, build: buildPayload4},
			separator:   []byte{separator},
			contentType: "text/plain; charset=UTF-8",
		},
		body: func(contentType string) *bodyRules {
			if contentType == "application/octet-stream" {
				// Binary bodies belong to revision 3.
				return nil
			}
			return &body4
		},
	}
	body4 = bodyRules{text: true, packets: packets4}
)

// decode4 reads one packet.
func decode4(binary bool, p []byte) (kind byte, data []byte) {
	switch {
	case binary:
		return packetBase64, p
	case len(p) == 0:
		return packetInvalid, nil
	case p[0] == packetBase64:
		return packetBase64, decodeBase64(p[1:])
	case p[0] >= packetOpen && p[0] <= packetNoop:
		return p[0], p[1:]
	}
	return packetInvalid, nil
}

// packets4 reads a payload.
func packets4(body []byte) iter.Seq2[byte, []byte] {
	return func(yield func(byte, []byte) bool) {
		for p := range payloadPackets(body) {
			if !yield(decode4(false, p)) {
				return
			}
		}
	}
}

// buildPayload4 joins the packets of a message.
func buildPayload4(m *Message) [][]byte {
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
	return [][]byte{piece}
}

func appendBase64Packet(dst, data []byte) []byte {
	dst = append(dst, packetBase64)
	return base64.StdEncoding.AppendEncode(dst, data)
}
