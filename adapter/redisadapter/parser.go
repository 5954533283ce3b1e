package redisadapter

import (
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye/internal/classic"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Parser is what npm's option parser is: it encodes and decodes broadcasts, those that ask for acknowledgements, and acknowledgements. All
// nodes and emitters of a cluster have the same one. Its methods may be called concurrently.
type Parser interface {
	// Encode writes a value. Binary in it is in the attachments, where the JSON has placeholders, see parser.Payload.
	Encode(v parser.Payload) ([]byte, error)
	// Decode reads a value. body may not be changed or kept; what is in it comes from whoever may publish.
	Decode(body []byte) (parser.Payload, error)
	// Name is what warnings call it, such as "cbor".
	Name() string
}

// JSON is the Parser that npm's users give most often, {encode: JSON.stringify, decode: JSON.parse}. Binary data is JSON on its way and
// arrives as {"type":"Buffer","data":[...]}, as in Node.
var JSON Parser = classic.NewJSON()

// encodingOf returns how messages are written with a parser, nil for that of npm's default.
func encodingOf(p Parser) classic.Encoding {
	switch e := p.(type) {
	case nil:
		return &classic.MessagePack{}
	case classic.JSON:
		return e
	}
	return classic.Values{Parser: p}
}

// unrecorded returns why broadcasts in an encoding cannot be kept for clients that come back, nil if they can.
func unrecorded(e classic.Encoding) error {
	if _, ok := e.(*classic.MessagePack); ok {
		return nil
	}
	return fmt.Errorf("%w: connection state recovery needs the default parser", errors.ErrUnsupported)
}
