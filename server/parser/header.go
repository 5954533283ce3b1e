package parser

import (
	"bytes"
	"math"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

// header is what precedes the JSON of a packet. kind is never a binary one: attachments tells.
type header struct {
	kind        Type
	attachments int
	namespace   string
	id          int64
	size        int // bytes before the JSON
}

const maxSafeInteger = 1<<53 - 1

// readHeader reads type, attachment count, namespace and id as the reference's decodeString does, whose uses of Number()
// accept white space where a digit is expected: it counts as 0.
func readHeader(data []byte, maxAttachments int) (header, error) {
	h := header{namespace: "/", id: NoID}
	i, err := h.readType(data)
	if err != nil {
		return h, err
	}
	if h.kind == BinaryEvent || h.kind == BinaryAck {
		if i, err = h.readAttachments(data, i, maxAttachments); err != nil {
			return h, err
		}
		h.kind -= BinaryEvent - Event
	}
	if i < len(data) && data[i] == '/' {
		end := bytes.IndexByte(data[i:], ',')
		if end < 0 {
			h.namespace = string(data[i:])
			i = len(data)
		} else {
			h.namespace = string(data[i : i+end])
			i += end + 1
		}
	}
	h.size, err = h.readID(data, i)
	return h, err
}

func (h *header) readType(data []byte) (int, error) {
	if len(data) == 0 {
		return 0, nil // Number("") is 0
	}
	if c := data[0]; c >= '0' && c <= '6' {
		h.kind = Type(c - '0')
		return 1, nil
	}
	if n := spaceLen(data); n > 0 {
		return n, nil
	}
	return 0, ErrUnknownType
}

func (h *header) readAttachments(data []byte, i, maxAttachments int) (int, error) {
	length := bytes.IndexByte(data[i:], '-')
	if length < 0 {
		return 0, ErrAttachments
	}
	n := parseJSNumber(data[i : i+length])
	if !(n >= 1) || n != math.Trunc(n) || math.IsInf(n, 0) {
		return 0, ErrAttachments
	}
	if n > float64(maxAttachments) {
		return 0, ErrTooManyAttachments
	}
	h.attachments = int(n)
	return i + length + 1, nil
}

// readID reads the run of digits and white space at i.
func (h *header) readID(data []byte, i int) (int, error) {
	end := i
	for end < len(data) {
		if jsontext.IsDigit(data[end]) {
			end++
		} else if n := spaceLen(data[end:]); n > 0 {
			end += n
		} else {
			break
		}
	}
	if end == i {
		return end, nil
	}
	h.id = 0
	for _, c := range trimJSSpace(data[i:end]) {
		if !jsontext.IsDigit(c) {
			return 0, ErrID
		}
		if h.id = h.id*10 + int64(c-'0'); h.id > maxSafeInteger {
			return 0, ErrID
		}
	}
	return end, nil
}

// isJSSpace tells what Number() trims: ECMAScript's WhiteSpace and LineTerminator.
func isJSSpace(r rune) bool {
	switch r {
	case '\t', '\n', '\v', '\f', '\r', ' ', 0xa0, 0xfeff, 0x2028, 0x2029:
		return true
	}
	return r >= utf8.RuneSelf && unicode.Is(unicode.Zs, r)
}

// spaceLen returns the length of the white space character that data starts with, or 0.
func spaceLen(data []byte) int {
	if c := data[0]; c > ' ' && c < utf8.RuneSelf {
		return 0
	}
	r, n := utf8.DecodeRune(data)
	if !isJSSpace(r) {
		return 0
	}
	return n
}

func trimJSSpace(s []byte) []byte { return bytes.TrimFunc(s, isJSSpace) }

// parseJSNumber is JavaScript's Number(s).
func parseJSNumber(s []byte) float64 {
	s = trimJSSpace(s)
	if len(s) == 0 {
		return 0
	}
	if len(s) > 2 && s[0] == '0' {
		switch s[1] | 0x20 {
		case 'x':
			return parseRadix(s[2:], 16)
		case 'o':
			return parseRadix(s[2:], 8)
		case 'b':
			return parseRadix(s[2:], 2)
		}
	}
	unsigned := s
	if s[0] == '+' || s[0] == '-' {
		unsigned = s[1:]
	}
	if string(unsigned) == "Infinity" {
		if s[0] == '-' {
			return math.Inf(-1)
		}
		return math.Inf(1)
	}
	if !isDecimalLiteral(unsigned) {
		return math.NaN()
	}
	f, _ := strconv.ParseFloat(string(s), 64) // a range error comes with the infinity that Number gives
	return f
}

// isDecimalLiteral tells whether s is ECMAScript's StrUnsignedDecimalLiteral, infinity aside.
func isDecimalLiteral(s []byte) bool {
	whole := digits(s)
	i, mantissa := whole, whole
	if i < len(s) && s[i] == '.' {
		i++
		n := digits(s[i:])
		i += n
		mantissa += n
	}
	if mantissa == 0 {
		return false
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		n := digits(s[i:])
		if n == 0 {
			return false
		}
		i += n
	}
	return i == len(s)
}

// digits returns the length of the run of digits that s starts with.
func digits(s []byte) int {
	n := 0
	for n < len(s) && jsontext.IsDigit(s[n]) {
		n++
	}
	return n
}

// parseRadix reads hexadecimal, octal and binary literals. Beyond 2^53 the last bits may differ from JavaScript's, which
// no caller can see.
func parseRadix(s []byte, radix float64) float64 {
	n := 0.0
	for _, c := range s {
		d := 99.0
		switch {
		case jsontext.IsDigit(c):
			d = float64(c - '0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			d = float64(c|0x20-'a') + 10
		}
		if d >= radix {
			return math.NaN()
		}
		n = n*radix + d
	}
	return n
}
