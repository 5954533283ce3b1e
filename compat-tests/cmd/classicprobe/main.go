// Command classicprobe lets a test compare internal/classic with the npm adapter and emitter. See package probe.
package main

import (
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/compat-tests/probe"
	"github.com/sockeye-io/sockeye/internal/classic"
	"github.com/sockeye-io/sockeye/server/parser"
)

// request is about a message that the node UID writes. It comes in a frame of another writer, which is read by a node called
// "here", or in Message with the payload in Text and Attachments. Bytes are base64 in the JSON.
type request struct {
	UID       string           `json:"uid"`
	Namespace string           `json:"nsp"`
	Broadcast []byte           `json:"broadcast"`
	Request   []byte           `json:"request"` // with Message: what it answers
	Answer    []byte           `json:"answer"`  // is read by UID itself
	Message   *adapter.Message `json:"message"`
	payload
}

type payload struct {
	Text        []byte   `json:"text,omitempty"`
	Attachments [][]byte `json:"attachments,omitempty"`
}

// answer has the message as it is written, or what was read.
type answer struct {
	Channel string           `json:"channel,omitempty"`
	Body    []byte           `json:"body,omitempty"`
	Message *adapter.Message `json:"message,omitempty"`
	payload
}

func main() { probe.Main((*request).answer) }

func (r *request) answer() (a answer, err error) {
	here := classic.New("socket.io", r.Namespace, "here", &classic.MessagePack{})
	again := classic.New("socket.io", r.Namespace, r.UID, &classic.MessagePack{})
	if m := r.Message; m != nil {
		m.Payload = parser.Payload{JSON: r.Text, Attachments: r.Attachments}
		m.Packet = &parser.Packet{Type: parser.Event, Payload: m.Payload}
	}
	switch {
	case r.Answer != nil:
		m, err := again.DecodeAnswer(r.Answer)
		if err == nil && m != nil {
			a.Message, a.payload = m, payload{m.Payload.JSON, m.Payload.Attachments}
			m.Payload = parser.Payload{}
		}
		return a, err
	case r.Request != nil:
		q, err := here.DecodeRequest(r.Request)
		if err != nil {
			return a, err
		}
		if r.Message == nil {
			a.Channel, a.Body, err = again.Encode(&q.Message)
		} else {
			a.Body, err = again.EncodeAnswer(&q.Message, r.Message)
		}
		return a, err
	case r.Broadcast != nil:
		if r.Message, err = here.DecodeBroadcast(r.Broadcast); err != nil {
			return a, err
		}
	}
	a.Channel, a.Body, err = again.Encode(r.Message)
	return a, err
}
