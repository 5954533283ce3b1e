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

// badFrom says who has sent a frame that is refused.
func badFrom(h *header, what string) error {
	return fmt.Errorf("%w from %.40q: %s", ErrMalformed, h.uid, what)
}

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

// Open decodes what has been published on a channel, one of all nodes or that of this node alone.
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
		h.uid, ok = nameOf(value)
	case "nsp":
		h.nsp, ok = nameOf(value)
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
		if h.hasRooms() {
			if rooms, n := packedRooms(h.packed); c.foreign(rooms) {
				return h.passed(n), nil
			}
		}
		p, err := msgpack.Decode(h.packed, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		h.text, in.attachments = string(p.JSON), p.Attachments
	}
	if !eachMember(h.text, in.member) {
		return nil, h.refuse(&in, badFrom(&h, "field data of type "+strconv.Itoa(int(h.kind))))
	}
	if h.kind >= typeJoin && h.kind <= typeDisconnect {
		in.request = "" // nobody answers these
	}
	if h.kind <= typeFetch {
		if wrong := in.readOpts(); wrong != "" {
			return nil, h.refuse(&in, badFrom(&h, "field data."+wrong))
		}
	}
	if h.hasRooms() && in.request == "" && in.flags.Direction == nil && c.foreign(in.selection.Rooms) {
		return h.passed(in.numbers), nil
	}
	m := &adapter.Message{From: h.from(), Request: in.request, Selection: in.selection, Flags: in.flags}
	m.Seq, m.After, m.Directed = in.numbers.seq, in.numbers.after, in.numbers.directed
	if !in.read(m, c.namespace) {
		return nil, h.refuse(&in, badFrom(&h, "field data."+in.mattersMost()+" of type "+strconv.Itoa(int(h.kind))))
	}
	return m, nil
}

// from is the node that a message comes from; emitters are none.
func (h *header) from() adapter.NodeID {
	if h.uid == string(Emitter) {
		return ""
	}
	return adapter.NodeID(h.uid)
}

// passed is what remains of a message for rooms that nobody here is in: nothing, or that it came, if it was numbered.
func (h *header) passed(n numbers) *adapter.Message {
	if n.seq == 0 && n.directed == 0 {
		return nil
	}
	return &adapter.Message{From: h.from(), Seq: n.seq, After: n.after, Directed: n.directed}
}

// hasRooms tells whether a message may be ignored when nobody is in its rooms. Questions want an answer in any case, and what names
// its holders is sent on from here.
func (h *header) hasRooms() bool { return h.kind >= typeBroadcast && h.kind <= typeDisconnect }

// foreign tells whether rooms are named and all of them unknown here.
func (c *Codec) foreign(rooms []string) bool {
	return len(rooms) > 0 && !slices.ContainsFunc(rooms, c.hasRoom)
}

// packedRooms looks for the rooms and the numbers in the packed data of a message. It returns no rooms for what may not be ignored
// without looking further, see hasRooms, and when it is in doubt.
func packedRooms(data []byte) (rooms []string, n numbers) {
	r, err := msgpack.NewReader(data, nil)
	if err != nil {
		return nil, n
	}
	wanted := false
	err = eachEntry(&r, func(key string) (err error) {
		switch key {
		case "requestId":
			wanted = true
		case "seq":
			n.seq, err = packedNumber(&r)
			return err
		case "after":
			n.after, err = packedNumber(&r)
			return err
		case "directed":
			n.directed, err = packedNumber(&r)
			return err
		case "opts":
			return eachEntry(&r, func(key string) (err error) {
				switch key {
				case "rooms":
					rooms, err = r.Texts()
					return err
				case "flags":
					return eachEntry(&r, func(key string) error {
						wanted = wanted || key == "holders"
						return r.Skip()
					})
				}
				return r.Skip()
			})
		}
		return r.Skip()
	})
	if err != nil || wanted {
		return nil, n
	}
	return rooms, n
}

// packedNumber reads one of the numbers of a message.
func packedNumber(r *msgpack.Reader) (uint64, error) {
	i, err := r.Int()
	if err == nil && (i < 0 || i > maxNumber) {
		err = badFrame("number of a message")
	}
	return uint64(i), err
}
