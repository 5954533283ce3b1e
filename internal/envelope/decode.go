package envelope

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/msgpack"
)

// ErrMalformed is wrapped by the errors of Open and OpenEntry.
var ErrMalformed = errors.New("malformed frame")

// maxFrame is the longest frame that is decoded, in bytes.
const maxFrame = 64 << 20

func badFrame(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

// header is an envelope whose data is still encoded: as JSON, or else in MessagePack.
type header struct {
	kind   messageType
	uid    string
	nsp    string
	text   string
	packed []byte
}

func (c *Codec) ignores(h header) bool {
	return h.uid == string(c.uid) || h.nsp != c.namespace || h.kind < typeBroadcast || h.kind > typeAck && h.kind != typeGone
}

// Open decodes what has been published on a channel.
func (c *Codec) Open(body string) (*adapter.Message, error) {
	if len(body) > maxFrame {
		return nil, badFrame("too long")
	}
	var h header
	if strings.HasPrefix(body, "{") {
		if !eachMember(body, h.member) {
			return nil, badFrame("no envelope")
		}
	} else if err := h.unpack([]byte(body)); err != nil {
		return nil, err
	}
	return c.message(h)
}

// OpenEntry decodes an entry of a stream.
func (c *Codec) OpenEntry(e Entry) (*adapter.Message, error) {
	if len(e.Data) > maxFrame {
		return nil, badFrame("too long")
	}
	n, err := strconv.Atoi(e.Type)
	if err != nil {
		return nil, badFrame("type is no number")
	}
	h := header{kind: messageType(n), uid: e.UID, nsp: e.Namespace, text: e.Data}
	if c.ignores(h) {
		return nil, nil
	}
	if !strings.HasPrefix(e.Data, "{") {
		if h.packed, err = base64.StdEncoding.DecodeString(e.Data); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
	return c.message(h)
}

func (h *header) member(key, value string) (ok bool) {
	switch key {
	case "type":
		var n int
		n, ok = number(value)
		h.kind = messageType(n)
	case "uid":
		h.uid, ok = textOf(value)
	case "nsp":
		h.nsp, ok = textOf(value)
	case "data":
		h.text, ok = value, true
	default:
		ok = true
	}
	return ok
}

// unpack reads the header of a MessagePack frame.
func (h *header) unpack(frame []byte) error {
	r, err := msgpack.NewReader(frame, nil)
	if err == nil {
		err = eachEntry(&r, func(key string) (err error) {
			switch key {
			case "type":
				var n int64
				n, err = r.Int()
				h.kind = messageType(n)
			case "uid":
				h.uid, err = r.Text()
			case "nsp":
				h.nsp, err = r.Text()
			case "data":
				h.packed, err = r.Raw()
			default:
				err = r.Skip()
			}
			return err
		})
	}
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// eachEntry calls f with each key of the map that r stands before; f has to read the value.
func eachEntry(r *msgpack.Reader, f func(key string) error) error {
	n, err := r.Map()
	for ; n > 0 && err == nil; n-- {
		var key []byte
		if key, err = r.Key(); err == nil {
			err = f(string(key))
		}
	}
	return err
}

// message decodes the data of an envelope.
func (c *Codec) message(h header) (*adapter.Message, error) {
	if c.ignores(h) {
		return nil, nil
	}
	in := contents{kind: h.kind}
	if h.packed != nil {
		if h.hasRooms() && c.foreign(packedRooms(h.packed)) {
			return nil, nil
		}
		p, err := msgpack.Decode(h.packed, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		h.text, in.attachments = string(p.JSON), p.Attachments
	}
	if !eachMember(h.text, in.member) {
		return nil, badFrame("no data")
	}
	m := &adapter.Message{Request: in.request}
	if h.kind >= typeJoin && h.kind <= typeDisconnect {
		m.Request = "" // nobody answers these
	}
	if h.uid != string(Emitter) {
		m.From = adapter.NodeID(h.uid)
	}
	if h.kind <= typeFetch && !in.readOpts(m) {
		return nil, badFrame("options")
	}
	if h.hasRooms() && m.Request == "" && c.foreign(m.Selection.Rooms) {
		return nil, nil
	}
	if err := in.read(m, c.namespace); err != nil {
		return nil, err
	}
	return m, nil
}

// hasRooms tells whether a message may be ignored when nobody is in its rooms. Questions want an answer in any case.
func (h *header) hasRooms() bool { return h.kind >= typeBroadcast && h.kind <= typeDisconnect }

// foreign tells whether rooms are named and all of them unknown here.
func (c *Codec) foreign(rooms []string) bool {
	return len(rooms) > 0 && !slices.ContainsFunc(rooms, c.hasRoom)
}

// packedRooms looks for the rooms in the packed data of a message. It returns none for a question, and when it is in doubt.
func packedRooms(data []byte) (rooms []string) {
	r, err := msgpack.NewReader(data, nil)
	if err != nil {
		return nil
	}
	question := false
	err = eachEntry(&r, func(key string) error {
		question = question || key == "requestId"
		if key != "opts" {
			return r.Skip()
		}
		return eachEntry(&r, func(key string) (err error) {
			if key != "rooms" {
				return r.Skip()
			}
			rooms, err = r.Texts()
			return err
		})
	})
	if err != nil || question {
		return nil
	}
	return rooms
}
