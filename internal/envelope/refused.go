package envelope

import (
	"encoding/json"
	"errors"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/lenient"
)

// requestID is the id of a question. It is written as it was read: a text, or whatever else a sender takes for an id.
type requestID string

// oddRequest begins the ids that are no texts; their JSON follows, or nothing if there is none. No text in JSON has that byte.
const oddRequest = "\xff"

// requestOf reads an id. One that is there is never "".
func (c *contents) requestOf(value string) (id string, ok bool) {
	if value[0] == '"' {
		if id, ok = textOf(value); ok && id != "" {
			return id, true
		}
	}
	odd, ok := c.plain(value)
	return oddRequest + string(odd), ok
}

// IsZero tells encoders that there is none.
func (id requestID) IsZero() bool { return id == "" || id == oddRequest }

// MarshalJSON writes the id.
func (id requestID) MarshalJSON() ([]byte, error) {
	if id != "" && id[:1] == oddRequest {
		return []byte(id[1:]), nil
	}
	return json.Marshal(string(id))
}

// nameOf reads the name of a node or a namespace. What is none is "".
func nameOf(value string) (name string, ok bool) {
	if value[0] == '"' {
		return textOf(value)
	}
	name, _, err := lenient.Name(value)
	return name, err == nil
}

// refusal is the error of a frame that somebody waits for an answer to.
type refusal struct {
	error
	question *adapter.Message
}

func (r *refusal) Unwrap() error { return r.error }

// refuse completes the error of a frame with the question in it, if it is one that every node answers.
func (h *header) refuse(c *contents, err error) error {
	q := &adapter.Message{From: h.from(), Request: c.request}
	switch {
	case h.kind == typeBroadcast && c.request != "":
		q.Kind = adapter.KindBroadcast
	case h.kind == typeFetch:
		q.Kind = adapter.KindFetch
		if q.Request == "" {
			q.Request = oddRequest
		}
	default:
		return err
	}
	return &refusal{err, q}
}

// Unanswered returns the question that an error of Open has refused, and the answer that nobody here is meant. Whoever has asked would
// wait for nothing. Both are nil if nobody has.
func Unanswered(err error) (question, answer *adapter.Message) {
	var r *refusal
	if !errors.As(err, &r) {
		return nil, nil
	}
	if r.question.Kind == adapter.KindBroadcast {
		return r.question, &adapter.Message{Kind: adapter.KindCount}
	}
	return r.question, &adapter.Message{Kind: adapter.KindSockets}
}
