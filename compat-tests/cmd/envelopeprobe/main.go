// Command envelopeprobe lets a test compare internal/envelope with the npm adapters. See package probe.
package main

import (
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/compat-tests/probe"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

// request has a message, a frame as bytes in base64, or an entry of a stream, and who sends it on; or the record
// of a session. With a frame or an entry the message has the numbers that it is sent on with.
type request struct {
	UID       adapter.NodeID   `json:"uid"`
	Namespace string           `json:"nsp"`
	Message   *adapter.Message `json:"message"`
	Frame     []byte           `json:"frame"`
	Entry     *envelope.Entry  `json:"entry"`
	Session   string           `json:"session"`
	// Rooms are those that somebody is in; without them it is all rooms.
	Rooms []string `json:"rooms"`
}

// answer has all forms of the message, nothing if it is ignored; or the record of the same session.
type answer struct {
	Sharded   []byte          `json:"sharded,omitempty"`
	Packed    []byte          `json:"packed,omitempty"`
	Entry     *envelope.Entry `json:"entry,omitempty"`
	Plaintext *envelope.Entry `json:"plaintext,omitempty"`
	Session   string          `json:"session,omitempty"`
}

func main() { probe.Main((*request).answer) }

func (r *request) answer() (a answer, err error) {
	if r.Session != "" {
		session, err := envelope.DecodeSession(r.Session)
		if err == nil {
			a.Session, err = envelope.EncodeSession(session)
		}
		return a, err
	}
	known := make(map[string]bool)
	for _, name := range r.Rooms {
		known[name] = true
	}
	here, err := envelope.New("here", r.Namespace, func(room string) bool { return r.Rooms == nil || known[room] })
	if err != nil {
		return a, err
	}
	m := r.Message
	switch {
	case r.Entry != nil:
		m, err = here.OpenEntry(*r.Entry)
	case r.Frame != nil:
		m, err = here.Open(string(r.Frame))
	}
	if err != nil || m == nil {
		return a, err
	}
	if n := r.Message; n != nil {
		m.Seq, m.After, m.Directed = n.Seq, n.After, n.Directed
	}
	again, err := envelope.New(r.UID, r.Namespace, nil)
	if err != nil {
		return a, err
	}
	if a.Sharded, err = again.Sharded(m); err != nil {
		return a, err
	}
	if a.Packed, err = again.Packed(m); err != nil {
		return a, err
	}
	entry, err := again.Entry(m, false)
	if err != nil {
		return a, err
	}
	plaintext, err := again.Entry(m, true)
	a.Entry, a.Plaintext = &entry, &plaintext
	return a, err
}
