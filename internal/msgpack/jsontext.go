package msgpack

import "encoding/binary"

// skipSpace returns the position of the first byte from i on that is not JSON's white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func isHex(c byte) bool { return isDigit(c) || c|0x20-'a' <= 5 }

func scanLiteral(b []byte, i int, literal string) int {
	end := i + len(literal)
	if end > len(b) || string(b[i:end]) != literal {
		return scanSyntax
	}
	return end
}

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// special tells whether one of eight bytes is a quote, a backslash or a control character. It may err towards yes,
// beside such a byte.
func special(w uint64) bool {
	quote, slash := w^(lowBits*'"'), w^(lowBits*'\\')
	return ((quote-lowBits)&^quote|(slash-lowBits)&^slash|(w-lowBits*0x20)&^w)&highBits != 0
}

// plainRun passes over groups of eight bytes without anything special and returns where it stopped.
func plainRun(b []byte, i int) int {
	for i+8 <= len(b) && !special(binary.LittleEndian.Uint64(b[i:])) {
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
			if i++; i&7 == 0 {
				i = plainRun(b, i)
			}
		}
	}
	return scanSyntax
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
		i = skipDigits(b, i)
	}
	if i < len(b) && b[i] == '.' {
		from := i + 1
		if i = skipDigits(b, from); i == from {
			return scanSyntax
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		from := i
		if i = skipDigits(b, from); i == from {
			return scanSyntax
		}
	}
	return i
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i
}

// skipString returns the position after the valid string whose opening quote is at i.
func skipString(b []byte, i int) int {
	i = plainRun(b, i+1)
	for b[i] != '"' {
		if b[i] == '\\' {
			i++
		}
		if i++; i&7 == 0 {
			i = plainRun(b, i)
		}
	}
	return i + 1
}

// skipNumber returns the position after the valid number at i.
func skipNumber(b []byte, i int) int {
	for i < len(b) {
		switch b[i] {
		case ',', ']', '}', ' ', '\n', '\r', '\t':
			return i
		}
		i++
	}
	return i
}

// nextItem returns the position of the item after the one that ends at i, or of the closing bracket.
func nextItem(b []byte, i int) int {
	if i = skipSpace(b, i); i < len(b) && b[i] == ',' {
		i = skipSpace(b, i+1)
	}
	return i
}
