package msgpack

import "math"

// Kind is what a value in a frame is.
type Kind uint8

// The kinds of values. Invalid is the kind of what is malformed or not there.
const (
	Invalid Kind = iota
	Nil
	Bool
	Int
	Float
	String
	Binary
	Array
	Map
	Extension
)

// head is the first part of a value: its type with a length, a count or, for a scalar, the whole value.
type head struct {
	kind     Kind
	negative bool   // bits are those of a negative int64
	fixed    bool   // an extension without a length field
	ext      int8   // type of an extension
	size     int    // bytes of the head
	n        int    // bytes that follow it, or items, or pairs
	bits     uint64 // value of an integer, bits of a float64, 1 for true
}

// layout describes the head that a first byte from 0xc0 to 0xdf begins.
type layout struct {
	kind   Kind
	width  int  // bytes of the number after the first byte
	signed bool // the number is signed
	fixed  int  // length of an extension without a length field
}

var layouts = [32]layout{
	{kind: Nil}, {}, {kind: Bool}, {kind: Bool},
	{kind: Binary, width: 1}, {kind: Binary, width: 2}, {kind: Binary, width: 4},
	{kind: Extension, width: 1}, {kind: Extension, width: 2}, {kind: Extension, width: 4},
	{kind: Float, width: 4}, {kind: Float, width: 8},
	{kind: Int, width: 1}, {kind: Int, width: 2}, {kind: Int, width: 4}, {kind: Int, width: 8},
	{kind: Int, width: 1, signed: true}, {kind: Int, width: 2, signed: true},
	{kind: Int, width: 4, signed: true}, {kind: Int, width: 8, signed: true},
	{kind: Extension, fixed: 1}, {kind: Extension, fixed: 2}, {kind: Extension, fixed: 4},
	{kind: Extension, fixed: 8}, {kind: Extension, fixed: 16},
	{kind: String, width: 1}, {kind: String, width: 2}, {kind: String, width: 4},
	{kind: Array, width: 2}, {kind: Array, width: 4},
	{kind: Map, width: 2}, {kind: Map, width: 4},
}

// readHead reads the head that b starts with. What it declares fits in the rest of b: an item takes at least one byte.
func readHead(b []byte) (head, error) {
	if len(b) == 0 {
		return head{}, ErrMalformed
	}
	switch c := b[0]; {
	case c < 0x80:
		return head{kind: Int, size: 1, bits: uint64(c)}, nil
	case c < 0x90:
		return head{kind: Map, size: 1}.declare(uint64(c&0x0f), b)
	case c < 0xa0:
		return head{kind: Array, size: 1}.declare(uint64(c&0x0f), b)
	case c < 0xc0:
		return head{kind: String, size: 1}.declare(uint64(c&0x1f), b)
	case c >= 0xe0:
		return head{kind: Int, size: 1, negative: true, bits: uint64(int64(int8(c)))}, nil
	default:
		return readLongHead(b, &layouts[c-0xc0])
	}
}

func readLongHead(b []byte, l *layout) (head, error) {
	h := head{kind: l.kind, size: 1 + l.width}
	if l.kind == Invalid || len(b) < h.size {
		return head{}, ErrMalformed
	}
	var bits uint64
	for _, c := range b[1:h.size] {
		bits = bits<<8 | uint64(c)
	}
	switch l.kind {
	case Bool:
		h.bits = uint64(b[0] & 1)
	case Int:
		if h.bits = bits; l.signed {
			shift := 64 - 8*l.width
			h.bits = uint64(int64(bits<<shift) >> shift)
			h.negative = int64(h.bits) < 0
		}
	case Float:
		if h.bits = bits; l.width == 4 {
			h.bits = math.Float64bits(float64(math.Float32frombits(uint32(bits))))
		}
	case Extension:
		if len(b) == h.size {
			return head{}, ErrMalformed
		}
		h.ext = int8(b[h.size])
		h.size++
		if h.fixed = l.fixed > 0; h.fixed {
			bits = uint64(l.fixed)
		}
		return h.declare(bits, b)
	case String, Binary, Array, Map:
		return h.declare(bits, b)
	}
	return h, nil
}

// declare adds a length or count, if the rest of the frame can hold it.
func (h head) declare(n uint64, b []byte) (head, error) {
	least := n
	if h.kind == Map {
		least = 2 * n
	}
	if least > uint64(len(b)-h.size) {
		return head{}, ErrMalformed
	}
	h.n = int(n)
	return h, nil
}

// float is the JavaScript number that an Int or a Float is.
func (h *head) float() float64 {
	switch {
	case h.kind == Float:
		return math.Float64frombits(h.bits)
	case h.negative:
		return float64(int64(h.bits))
	}
	return float64(h.bits)
}

// skip returns the length of the value that b starts with. It does not recurse, and what it skips may nest as it likes.
func skip(b []byte) (int, error) {
	at := 0
	for left := 1; left > 0; left-- {
		h, err := readHead(b[at:])
		if err != nil {
			return 0, err
		}
		at += h.size
		switch h.kind {
		case String, Binary, Extension:
			at += h.n
		case Array:
			left += h.n
		case Map:
			left += 2 * h.n
		}
		// Each value takes at least a byte. Checked at every step, so that the sum cannot overflow.
		if left-1 > len(b)-at {
			return 0, ErrMalformed
		}
	}
	return at, nil
}
