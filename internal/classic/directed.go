package classic

import (
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
)

// Shape tells unread what has come on a private channel: an answer, or what another node of ours has said to this one alone.
// The latter has the form that it has on the channels that all nodes hear.
func (c *Codec) Shape(body string) Shape {
	switch {
	case !strings.HasPrefix(body, "{"):
		return c.encoding.Shape(body)
	case strings.HasPrefix(body, jsonRequest):
		return ShapeRequest
	}
	return ShapeAnswer
}

// shapeLen is the number of bytes that tell the shape of a frame, unless its encoding knows no marks.
const shapeLen = 16

func (c *Codec) shape(body []byte) Shape {
	if c.marks != (Marks{}) {
		body = body[:min(len(body), shapeLen)]
	}
	return c.Shape(string(body))
}

// DecodeDirected reads what has come on this node's private channel. It returns nil for a message of this node or of another
// namespace, and for an answer to a question of another node.
func (c *Codec) DecodeDirected(body []byte) (*adapter.Message, error) {
	switch c.shape(body) {
	case ShapeBroadcast:
		return c.DecodeBroadcast(body)
	case ShapeRequest:
		q, err := c.DecodeRequest(body)
		if q == nil || err != nil {
			return nil, err
		}
		if q.Socket != "" {
			return nil, frameError("command of an old node on a private channel")
		}
		return &q.Message, nil
	}
	return c.DecodeAnswer(body)
}
