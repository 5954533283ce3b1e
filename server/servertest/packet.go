package servertest

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// Packet is one Engine.IO packet. A text packet starts with its type: "4" for a message, "2" for a ping. A binary packet
// is a message without type; over polling it travels as base64, which does not show here.
type Packet struct {
	Data   string
	Binary bool
}

// maxShown is how much of a packet a failure message shows.
const maxShown = 200

// String shows the packet, shortened, in failure messages.
func (p Packet) String() string {
	data, rest := p.Data, ""
	if len(data) > maxShown {
		data, rest = data[:maxShown], fmt.Sprintf("... (%d bytes)", len(data))
	}
	if p.Binary {
		return fmt.Sprintf("binary %x%s", data, rest)
	}
	return fmt.Sprintf("%q%s", data, rest)
}

// Packets of the protocol, see https://socket.io/docs/v4/engine-io-protocol/.
var (
	packetClose   = Packet{Data: "1"}
	packetPing    = Packet{Data: "2"}
	packetPong    = Packet{Data: "3"}
	packetProbe   = Packet{Data: "2probe"}
	packetProbed  = Packet{Data: "3probe"}
	packetUpgrade = Packet{Data: "5"}
	packetNoop    = Packet{Data: "6"}
)

// separator stands between the packets of a polling payload.
const separator = "\x1e"

func encodePayload(packets []Packet) string {
	var b strings.Builder
	for i, p := range packets {
		if i > 0 {
			b.WriteString(separator)
		}
		if p.Binary {
			b.WriteString("b" + base64.StdEncoding.EncodeToString([]byte(p.Data)))
		} else {
			b.WriteString(p.Data)
		}
	}
	return b.String()
}

func decodePayload(body string) ([]Packet, error) {
	var packets []Packet
	for part := range strings.SplitSeq(body, separator) {
		switch {
		case part == "":
			return nil, fmt.Errorf("empty packet in the payload %q", body)
		case part[0] == 'b':
			data, err := base64.StdEncoding.DecodeString(part[1:])
			if err != nil {
				return nil, fmt.Errorf("binary packet %q: %w", part, err)
			}
			packets = append(packets, Packet{Data: string(data), Binary: true})
		default:
			packets = append(packets, Packet{Data: part})
		}
	}
	return packets, nil
}
