// Package jsontext finds its way through JSON texts byte by byte, and has what strings and numbers need between JSON, Go
// and JavaScript. It accepts and writes what JSON.parse and JSON.stringify do. All functions may be called from any
// goroutine; none keeps or changes the text it is given.
package jsontext

import "encoding/binary"

// What the Scan functions return instead of a position.
const (
	Malformed = -1
	TooDeep   = -2
)

// SkipSpace returns the position of the first byte from i on that is not JSON's white space.
func SkipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// IsDigit tells whether c is one of 0 to 9.
func IsDigit(c byte) bool { return c-'0' <= 9 }

func isHex(c byte) bool { return IsDigit(c) || c|0x20-'a' <= 5 }

// ScanValue checks the value that starts at i, with at most depth levels of arrays and objects, and returns the position
// after it, Malformed or TooDeep.
func ScanValue(b []byte, i, depth int) int {
	if i >= len(b) {
		return Malformed
	}
	switch c := b[i]; c {
	case '"':
		return ScanString(b, i)
	case '{':
		return scanObject(b, i, depth)
	case '[':
		return scanArray(b, i, depth)
	default:
		return ScanScalar(b, i)
	}
}

// ScanScalar checks the number, true, false or null at i and returns the position after it, or Malformed.
func ScanScalar(b []byte, i int) int {
	switch b[i] {
	case 't':
		return scanLiteral(b, i, "true")
	case 'f':
		return scanLiteral(b, i, "false")
	case 'n':
		return scanLiteral(b, i, "null")
	default:
		return ScanNumber(b, i)
	}
}

func scanLiteral(b []byte, i int, literal string) int {
	end := i + len(literal)
	if end > len(b) || string(b[i:end]) != literal {
		return Malformed
	}
	return end
}

func scanArray(b []byte, i, depth int) int {
	if depth == 0 {
		return TooDeep
	}
	i = SkipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i = ScanValue(b, i, depth-1); i < 0 {
			return i
		}
		end, more := ScanNext(b, i, ']')
		if !more {
			return end
		}
		i = end
	}
}

func scanObject(b []byte, i, depth int) int {
	if depth == 0 {
		return TooDeep
	}
	i = SkipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		if _, i = ScanKey(b, i); i < 0 {
			return i
		}
		if i = ScanValue(b, i, depth-1); i < 0 {
			return i
		}
		end, more := ScanNext(b, i, '}')
		if !more {
			return end
		}
		i = end
	}
}

// ScanKey checks the key of an object's member at i and the colon behind it. It returns the position after the key and
// that of the value, or Malformed for both.
func ScanKey(b []byte, i int) (end, value int) {
	if i >= len(b) || b[i] != '"' {
		return Malformed, Malformed
	}
	if end = ScanString(b, i); end < 0 {
		return end, end
	}
	if i = SkipSpace(b, end); i == len(b) || b[i] != ':' {
		return Malformed, Malformed
	}
	return end, SkipSpace(b, i+1)
}

// ScanNext checks what stands behind an item that ends at i: a comma, then it returns the position of the next item and
// that there is more, or the closing bracket, then it returns the position after that. Otherwise it returns Malformed.
func ScanNext(b []byte, i int, closing byte) (next int, more bool) {
	if i = SkipSpace(b, i); i == len(b) {
		return Malformed, false
	}
	switch b[i] {
	case ',':
		return SkipSpace(b, i+1), true
	case closing:
		return i + 1, false
	}
	return Malformed, false
}

// ScanString checks the string whose opening quote is at i and returns the position after it, or Malformed.
func ScanString(b []byte, i int) int {
	i = PlainRun(b, i+1)
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				return Malformed
			}
			i += n
		case c < 0x20:
			return Malformed
		default:
			if i++; i&7 == 0 {
				i = PlainRun(b, i)
			}
		}
	}
	return Malformed
}

// escapeLen returns the length of the escape sequence that s starts with, 0 if it is none.
func escapeLen(s []byte) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if len(s) >= 6 && isHex(s[2]) && isHex(s[3]) && isHex(s[4]) && isHex(s[5]) {
			return 6
		}
	}
	return 0
}

// ScanNumber checks the number at i and returns the position after it, or Malformed.
func ScanNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i == len(b) || !IsDigit(b[i]) {
		return Malformed
	}
	if b[i] == '0' {
		i++
	} else {
		i = skipDigits(b, i)
	}
	if i < len(b) && b[i] == '.' {
		from := i + 1
		if i = skipDigits(b, from); i == from {
			return Malformed
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		from := i
		if i = skipDigits(b, from); i == from {
			return Malformed
		}
	}
	return i
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && IsDigit(b[i]) {
		i++
	}
	return i
}

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// Special tells whether one of the eight bytes of w is a quote, a backslash or a control character. It may err towards
// yes, beside such a byte.
func Special(w uint64) bool {
	quote, slash := w^(lowBits*'"'), w^(lowBits*'\\')
	return ((quote-lowBits)&^quote|(slash-lowBits)&^slash|(w-lowBits*0x20)&^w)&highBits != 0
}

// PlainRun passes over groups of eight bytes without anything Special, from i on, and returns where it stopped.
func PlainRun(b []byte, i int) int {
	for i+8 <= len(b) && !Special(binary.LittleEndian.Uint64(b[i:])) {
		i += 8
	}
	return i
}
