// Command parserprobe lets a test compare server/parser with another implementation. See package
// probe.
package main

import (
	"math"
	"time"

	"github.com/sockeye-io/sockeye/compat-tests/probe"
	"github.com/sockeye-io/sockeye/server/parser"
)

// request asks for one thing: what a sequence of messages decodes to, or how a number or a time is written.
type request struct {
	Frames []frame `json:"frames"`
	Number *uint64 `json:"number,string"` // bits of a float64
	Millis *int64  `json:"millis"`        // since 1970
}

// frame is one message of a client. Its bytes are base64 in the JSON.
type frame struct {
	Text   []byte `json:"text"`
	Binary []byte `json:"binary"`
}

// answer has one outcome for each frame, or the text that was asked for.
type answer struct {
	Outcomes []outcome `json:"outcomes,omitempty"`
	Text     string    `json:"text,omitempty"`
	Name     string    `json:"name,omitempty"`
}

// outcome is what the decoder made of a message: refused, waiting for more, or a packet.
type outcome struct {
	Error   string  `json:"error,omitempty"`
	Pending bool    `json:"pending,omitempty"`
	Packet  *packet `json:"packet,omitempty"`
}

type packet struct {
	Type      int            `json:"type"`
	Namespace string         `json:"nsp"`
	ID        int64          `json:"id"`
	Event     parser.Payload `json:"event"`
	// Relayed is the packet sent on as it is, Spliced with its arguments made into a new event, Rebuilt after a journey
	// through Go values.
	Relayed *encoded `json:"relayed"`
	Spliced *encoded `json:"spliced"`
	Rebuilt *encoded `json:"rebuilt"`
	// Unreadable says why there is no Rebuilt.
	Unreadable string `json:"unreadable,omitempty"`
}

type encoded struct {
	Text        string   `json:"text"`
	Attachments [][]byte `json:"attachments"`
}

func main() { probe.Main((*request).answer) }

func (r *request) answer() (answer, error) {
	switch {
	case r.Number != nil:
		p, err := parser.Marshal(math.Float64frombits(*r.Number))
		return answer{Text: string(p.JSON)}, err
	case r.Millis != nil:
		p, err := parser.Marshal(time.UnixMilli(*r.Millis))
		return answer{Text: string(p.JSON)}, err
	}
	d := parser.JSON{}.NewDecoder()
	var a answer
	for _, f := range r.Frames {
		o, err := decode(d, f)
		if err != nil {
			return a, err
		}
		a.Outcomes = append(a.Outcomes, o)
		if o.Error != "" {
			break
		}
	}
	return a, nil
}

func decode(d parser.Decoder, f frame) (outcome, error) {
	var p *parser.Packet
	var err error
	if f.Binary != nil {
		p, err = d.Binary(nil, f.Binary)
	} else {
		p, err = d.Text(nil, f.Text)
	}
	switch {
	case err != nil:
		return outcome{Error: err.Error()}, nil
	case p == nil:
		return outcome{Pending: true}, nil
	}
	described, err := describe(p)
	return outcome{Packet: described}, err
}

func describe(p *parser.Packet) (*packet, error) {
	described := &packet{Type: int(p.Type), Namespace: p.Namespace, ID: p.ID, Relayed: encode(p, p.Payload)}
	if p.Type == parser.Event && p.JSON != nil {
		name, args, err := p.Event()
		if err != nil {
			return nil, err
		}
		described.Event, err = parser.Marshal(name)
		if err != nil {
			return nil, err
		}
		event, err := parser.MarshalEvent(name, args.Values()...)
		if err != nil {
			return nil, err
		}
		described.Spliced = encode(p, event)
	}
	var v any
	if err := p.Unmarshal(&v); err != nil {
		described.Unreadable = err.Error()
		return described, nil
	}
	if p.JSON != nil {
		rebuilt, err := parser.Marshal(v)
		if err != nil {
			described.Unreadable = err.Error()
			return described, nil
		}
		described.Rebuilt = encode(p, rebuilt)
	}
	return described, nil
}

// encode writes a packet like p with another payload.
func encode(p *parser.Packet, payload parser.Payload) *encoded {
	q := parser.Packet{Type: p.Type, Namespace: p.Namespace, ID: p.ID, Payload: payload}
	return &encoded{Text: string(q.AppendText(nil)), Attachments: payload.Attachments}
}
