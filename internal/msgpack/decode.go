package msgpack

import (
	"math"
	"strconv"

	"github.com/sockeye-io/sockeye/server/parser"
)

// Decode reads the one value that b is. The payload's attachments share the memory of b, which must not change any more.
func Decode(b []byte, lim *Limits) (parser.Payload, error) {
	r, err := NewReader(b, lim)
	if err != nil {
		return parser.Payload{}, err
	}
	p, err := r.Payload()
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return parser.Payload{}, err
	}
	return p, nil
}

// decoder turns one value into JSON.
type decoder struct {
	rest           []byte
	out            []byte
	attachments    [][]byte
	maxAttachments int
	confusable     bool // a map looks like a placeholder
}

// maxGuess bounds the first allocation for the JSON of a value, in bytes.
const maxGuess = 4096

// decode reads the value that b starts with and returns what is left of b.
func decode(b []byte, lim *Limits) (p parser.Payload, rest []byte, err error) {
	d := decoder{rest: b, maxAttachments: lim.maxAttachments()}
	d.out = make([]byte, 0, min(len(b)+len(b)/2+8, maxGuess))
	defined, err := d.value(lim.maxDepth())
	switch {
	case err != nil:
		return parser.Payload{}, b, err
	case d.confusable && len(d.attachments) > 0:
		return parser.Payload{}, b, ErrPlaceholder
	case !defined:
		return parser.Payload{}, d.rest, nil
	}
	return parser.Payload{JSON: d.out, Attachments: d.attachments}, d.rest, nil
}

// value reads one value with at most depth levels. It writes nothing when the value is undefined.
func (d *decoder) value(depth int) (defined bool, err error) {
	h, err := readHead(d.rest)
	if err != nil {
		return false, err
	}
	d.rest = d.rest[h.size:]
	switch h.kind {
	case Nil:
		d.null()
	case Bool:
		d.out = strconv.AppendBool(d.out, h.bits == 1)
	case Int:
		d.out = appendNumberText(d.out, &h)
	case Float:
		d.float(&h)
	case String:
		d.out = appendJSONString(d.out, d.take(h.n))
	case Binary:
		err = d.attach(d.take(h.n))
	case Array:
		err = d.array(h.n, depth)
	case Map:
		err = d.object(h.n, depth)
	case Extension:
		return d.extension(&h, depth)
	}
	return true, err
}

// take takes n bytes, which readHead has seen to be there.
func (d *decoder) take(n int) []byte {
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) null() { d.out = append(d.out, "null"...) }

func (d *decoder) float(h *head) {
	if f := h.float(); math.IsNaN(f) || math.IsInf(f, 0) {
		d.null()
		return
	}
	d.out = appendNumberText(d.out, h)
}

// attach makes b an attachment.
func (d *decoder) attach(b []byte) error {
	if len(d.attachments) >= d.maxAttachments {
		return ErrTooLarge
	}
	d.out = append(d.out, `{"_placeholder":true,"num":`...)
	d.out = strconv.AppendInt(d.out, int64(len(d.attachments)), 10)
	d.out = append(d.out, '}')
	d.attachments = append(d.attachments, b)
	return nil
}

func (d *decoder) array(n, depth int) error {
	if depth == 0 {
		return ErrTooDeep
	}
	d.out = append(d.out, '[')
	for i := range n {
		if i > 0 {
			d.out = append(d.out, ',')
		}
		defined, err := d.value(depth - 1)
		if err != nil {
			return err
		}
		if !defined {
			d.null()
		}
	}
	d.out = append(d.out, ']')
	return nil
}

func (d *decoder) object(n, depth int) error {
	if depth == 0 {
		return ErrTooDeep
	}
	d.out = append(d.out, '{')
	start := len(d.out)
	var room [24]byte // for a key that is a number
	for range n {
		key, rest, err := readKey(d.rest, room[:0])
		if err != nil {
			return err
		}
		if d.rest = rest; string(key) == protoKey {
			if err := d.drop(); err != nil {
				return err
			}
			continue
		}
		if err := d.member(start, key, depth); err != nil {
			return err
		}
	}
	d.out = append(d.out, '}')
	return nil
}

// member reads a value and writes it with its key into the object whose members begin at start, unless it is undefined.
func (d *decoder) member(start int, key []byte, depth int) error {
	before := len(d.out)
	if before > start {
		d.out = append(d.out, ',')
	}
	d.out = append(appendJSONString(d.out, key), ':')
	at := len(d.out)
	defined, err := d.value(depth - 1)
	if err != nil {
		return err
	}
	if !defined {
		d.out = d.out[:before]
		return nil
	}
	if string(key) == "_placeholder" && string(d.out[at:]) == "true" {
		d.confusable = true
	}
	return nil
}

// drop skips a value.
func (d *decoder) drop() error {
	n, err := skip(d.rest)
	d.rest = d.rest[n:]
	return err
}

// readKey reads a map key as the string that JavaScript makes of it. Keys that are not in the frame as text are appended
// to room.
func readKey(b, room []byte) (key, rest []byte, err error) {
	if len(b) > 0 && b[0]&0xe0 == 0xa0 { // nearly all are short
		if end := 1 + int(b[0]&0x1f); end <= len(b) {
			return b[1:end:end], b[end:], nil
		}
	}
	h, err := readHead(b)
	if err != nil {
		return nil, b, err
	}
	rest = b[h.size:]
	switch h.kind {
	case String, Binary:
		return rest[:h.n:h.n], rest[h.n:], nil
	case Int, Float:
		return appendJSWord(room, &h), rest, nil
	case Nil:
		return append(room, "null"...), rest, nil
	case Bool:
		return strconv.AppendBool(room, h.bits == 1), rest, nil
	}
	return nil, b, ErrKey
}
