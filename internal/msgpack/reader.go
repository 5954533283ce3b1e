package msgpack

import (
	"math"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/jsontext"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Reader goes through a frame value by value, for envelopes whose shape is known:
//
//	for n, _ := r.Map(); n > 0; n-- {
//		switch key, _ := r.Key(); string(key) {
//		case "uid":
//			uid, err = r.Text()
//		case "data":
//			data, err = r.Payload()
//		default:
//			err = r.Skip()
//		}
//	}
//	err = r.End()
//
// After an error it stays where it was. It is a small value, which may be copied to look ahead, and is for one goroutine.
type Reader struct {
	rest []byte
	lim  *Limits
}

// NewReader returns a Reader at the beginning of b. What the Reader hands out as bytes shares the memory of b, which must
// not change any more.
func NewReader(b []byte, lim *Limits) (Reader, error) {
	if len(b) > lim.maxBytes() {
		return Reader{}, ErrTooLarge
	}
	return Reader{rest: b, lim: lim}, nil
}

// Kind returns the kind of the next value, Invalid at the end of the frame.
func (r *Reader) Kind() Kind {
	h, err := readHead(r.rest)
	if err != nil {
		return Invalid
	}
	return h.kind
}

// head passes over the head of the next value if it is of the kind.
func (r *Reader) head(kind Kind) (head, error) {
	h, err := readHead(r.rest)
	if err != nil {
		return h, err
	}
	if h.kind != kind {
		return h, ErrKind
	}
	r.rest = r.rest[h.size:]
	return h, nil
}

// Array enters an array and returns the number of its elements, which follow. It is never more than the bytes that are
// left.
func (r *Reader) Array() (int, error) {
	h, err := r.head(Array)
	return h.n, err
}

// Map enters a map and returns the number of its entries, which follow as key, value, key, value.
func (r *Reader) Map() (int, error) {
	h, err := r.head(Map)
	return h.n, err
}

// Key reads a map key, as the string that JavaScript makes of it.
func (r *Reader) Key() ([]byte, error) {
	key, rest, err := readKey(r.rest, nil)
	r.rest = rest
	return key, err
}

// Text reads a string. Invalid UTF-8 becomes U+FFFD, but lone surrogates.
func (r *Reader) Text() (string, error) {
	b, err := r.bytes(String)
	return validText(b), err
}

func validText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return string(jsontext.AppendKeepingLone(nil, b))
}

// Texts reads an array of strings, such as room names; numbers become the text that JavaScript gives them.
func (r *Reader) Texts() ([]string, error) {
	next := *r
	n, err := next.Array()
	if err != nil {
		return nil, err
	}
	texts := make([]string, 0, min(n, 64))
	for range n {
		switch next.Kind() {
		case String, Int, Float:
		default:
			return nil, ErrKind
		}
		text, err := next.Key()
		if err != nil {
			return nil, err
		}
		texts = append(texts, validText(text))
	}
	*r = next
	return texts, nil
}

// Binary reads a bin value.
func (r *Reader) Binary() ([]byte, error) { return r.bytes(Binary) }

func (r *Reader) bytes(kind Kind) ([]byte, error) {
	h, err := r.head(kind)
	if err != nil {
		return nil, err
	}
	b := r.rest[:h.n:h.n]
	r.rest = r.rest[h.n:]
	return b, nil
}

// Int reads an integer of any width, or a float without a fraction. One beyond int64 is [ErrKind].
func (r *Reader) Int() (int64, error) {
	h, err := readHead(r.rest)
	if err != nil {
		return 0, err
	}
	n := int64(h.bits)
	switch h.kind {
	case Int:
		if !h.negative && n < 0 {
			return 0, ErrKind
		}
	case Float:
		f := h.float()
		if math.Floor(f) != f || !(f >= -1<<63 && f < 1<<63) {
			return 0, ErrKind
		}
		n = int64(f)
	default:
		return 0, ErrKind
	}
	r.rest = r.rest[h.size:]
	return n, nil
}

// Bool reads a boolean.
func (r *Reader) Bool() (bool, error) {
	h, err := r.head(Bool)
	return h.bits == 1, err
}

// Nil passes over nil, or the undefined of notepack 2, and reports whether there was one. Node writes nil for what is
// undefined, wherever a value has to stand.
func (r *Reader) Nil() bool {
	h, err := readHead(r.rest)
	if err != nil {
		return false
	}
	if h.kind == Extension && h.fixed && h.n == 1 && h.ext == extLegacy {
		r.rest = r.rest[h.size+h.n:]
		return true
	}
	if h.kind != Nil {
		return false
	}
	r.rest = r.rest[h.size:]
	return true
}

// Payload reads a value of any kind, see [Decode].
func (r *Reader) Payload() (parser.Payload, error) {
	p, rest, err := decode(r.rest, r.lim)
	r.rest = rest
	return p, err
}

// Raw returns the bytes of the next value and passes over it, however deeply it is nested.
func (r *Reader) Raw() ([]byte, error) {
	n, err := skip(r.rest)
	if err != nil {
		return nil, err
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b, nil
}

// Skip passes over the next value.
func (r *Reader) Skip() error {
	_, err := r.Raw()
	return err
}

// End returns [ErrTrailing] unless the frame has been read to its end.
func (r *Reader) End() error {
	if len(r.rest) > 0 {
		return ErrTrailing
	}
	return nil
}
