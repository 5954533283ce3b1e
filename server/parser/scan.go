package parser

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// Results of scanValue that are no position.
const (
	scanSyntax = -1
	scanDepth  = -2
)

func scanError(code int) error {
	if code == scanDepth {
		return ErrTooDeep
	}
	return fmt.Errorf("%w: malformed JSON", ErrPayload)
}

// skipSpace returns the position of the first byte from i on that is not JSON's white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// scanValue checks the JSON value that starts at i, with at most depth levels of arrays and objects, and returns the
// position after it, or a negative code. It accepts what JSON.parse accepts.
func scanValue(b []byte, i, depth int) int {
	if i >= len(b) {
		return scanSyntax
	}
	switch c := b[i]; c {
	case '"':
		return scanString(b, i)
	case '{':
		return scanObject(b, i, depth)
	case '[':
		return scanArray(b, i, depth)
	case 't':
		return scanLiteral(b, i, "true")
	case 'f':
		return scanLiteral(b, i, "false")
	case 'n':
		return scanLiteral(b, i, "null")
	default:
		return scanNumber(b, i)
	}
}

func scanLiteral(b []byte, i int, literal string) int {
	end := i + len(literal)
	if end > len(b) || string(b[i:end]) != literal {
		return scanSyntax
	}
	return end
}

func scanArray(b []byte, i, depth int) int {
	if depth == 0 {
		return scanDepth
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i = scanValue(b, i, depth-1); i < 0 {
			return i
		}
		if i = skipSpace(b, i); i == len(b) {
			return scanSyntax
		}
		switch b[i] {
		case ',':
			i = skipSpace(b, i+1)
		case ']':
			return i + 1
		default:
			return scanSyntax
		}
	}
}

func scanObject(b []byte, i, depth int) int {
	if depth == 0 {
		return scanDepth
	}
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		if i == len(b) || b[i] != '"' {
			return scanSyntax
		}
		if i = scanString(b, i); i < 0 {
			return i
		}
		if i = skipSpace(b, i); i == len(b) || b[i] != ':' {
			return scanSyntax
		}
		if i = scanValue(b, skipSpace(b, i+1), depth-1); i < 0 {
			return i
		}
		if i = skipSpace(b, i); i == len(b) {
			return scanSyntax
		}
		switch b[i] {
		case ',':
			i = skipSpace(b, i+1)
		case '}':
			return i + 1
		default:
			return scanSyntax
		}
	}
}

// plainRun passes over groups of eight bytes without quote, backslash and control character. It returns where it stopped.
func plainRun(b []byte, i int) int {
	for i+8 <= len(b) && !mayNeedEscape(binary.LittleEndian.Uint64(b[i:])) {
		i += 8
	}
	return i
}

// scanString checks the string whose opening quote is at i.
func scanString(b []byte, i int) int {
	i = plainRun(b, i+1)
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			return i + 1
		case c == '\\':
			n := escapeLen(b[i:])
			if n == 0 {
				return scanSyntax
			}
			i += n
		case c < 0x20:
			return scanSyntax
		default:
			i++
			if i&7 == 0 {
				i = plainRun(b, i)
			}
		}
	}
	return scanSyntax
}

// escapeLen returns the length of the escape sequence that s starts with, or 0.
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

func isHex(c byte) bool { return isDigit(c) || c|0x20-'a' <= 5 }

func scanNumber(b []byte, i int) int {
	if b[i] == '-' {
		i++
	}
	if i == len(b) || !isDigit(b[i]) {
		return scanSyntax
	}
	if b[i] == '0' {
		i++
	} else {
		i += digits(b[i:])
	}
	if i < len(b) && b[i] == '.' {
		n := digits(b[i+1:])
		if n == 0 {
			return scanSyntax
		}
		i += 1 + n
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		n := digits(b[i:])
		if n == 0 {
			return scanSyntax
		}
		i += n
	}
	return i
}

// checkJSON checks that raw is one JSON value of at most depth levels.
func checkJSON(raw json.RawMessage, depth int) error {
	end := scanValue(raw, skipSpace(raw, 0), depth)
	if end < 0 {
		return scanError(end)
	}
	if skipSpace(raw, end) != len(raw) {
		return scanError(scanSyntax)
	}
	return nil
}

// skipString returns the position after the valid string whose opening quote is at i.
func skipString(b []byte, i int) int {
	i = plainRun(b, i+1)
	for b[i] != '"' {
		if b[i] == '\\' {
			i++
		}
		i++
		if i&7 == 0 {
			i = plainRun(b, i)
		}
	}
	return i + 1
}
