package parser

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// unquote returns the string that a JSON string stands for. A lone surrogate becomes U+FFFD.
func unquote(text []byte) (string, error) {
	if len(text) == 0 || text[0] != '"' || scanString(text, 0) != len(text) {
		return "", ErrPayload
	}
	text = text[1 : len(text)-1]
	i := bytes.IndexByte(text, '\\')
	if i < 0 {
		return string(text), nil
	}
	out := make([]byte, 0, len(text))
	for i >= 0 {
		out = append(out, text[:i]...)
		var n int
		out, n = appendUnescaped(out, text[i:])
		text = text[i+n:]
		i = bytes.IndexByte(text, '\\')
	}
	return string(append(out, text...)), nil
}

// appendUnescaped appends the character of the valid escape sequence that s starts with, and returns the length of the
// sequence; two sequences that form a surrogate pair count as one.
func appendUnescaped(dst, s []byte) ([]byte, int) {
	switch c := s[1]; c {
	case 'b':
		return append(dst, '\b'), 2
	case 'f':
		return append(dst, '\f'), 2
	case 'n':
		return append(dst, '\n'), 2
	case 'r':
		return append(dst, '\r'), 2
	case 't':
		return append(dst, '\t'), 2
	case 'u':
	default:
		return append(dst, c), 2
	}
	r := hexUnit(s)
	if utf16.IsSurrogate(r) {
		if len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
			if pair := utf16.DecodeRune(r, hexUnit(s[6:])); pair != utf8.RuneError {
				return utf8.AppendRune(dst, pair), 12
			}
		}
		r = utf8.RuneError
	}
	return utf8.AppendRune(dst, r), 6
}

// hexUnit reads the code unit of a \u sequence.
func hexUnit(s []byte) rune {
	n, _ := strconv.ParseUint(string(s[2:6]), 16, 16)
	return rune(n)
}

// appendValidUTF8 appends s as Node's Buffer.toString decodes it: each maximal part of an ill-formed sequence becomes
// one U+FFFD (Unicode 3.9, "U+FFFD Substitution of Maximal Subparts").
func appendValidUTF8(dst, s []byte) []byte {
	for len(s) > 0 {
		if s[0] < utf8.RuneSelf {
			dst = append(dst, s[0])
			s = s[1:]
			continue
		}
		r, n := utf8.DecodeRune(s)
		if r == utf8.RuneError && n == 1 {
			n = illFormedLen(s)
		}
		dst = utf8.AppendRune(dst, r)
		s = s[n:]
	}
	return dst
}

// illFormedLen returns the length of the maximal subpart of the ill-formed sequence that s starts with.
func illFormedLen(s []byte) int {
	lead, low, high, length := s[0], byte(0x80), byte(0xbf), 1
	switch {
	case lead >= 0xc2 && lead <= 0xdf:
		length = 2
	case lead >= 0xe0 && lead <= 0xef:
		length = 3
	case lead >= 0xf0 && lead <= 0xf4:
		length = 4
	}
	switch lead {
	case 0xe0:
		low = 0xa0
	case 0xed:
		high = 0x9f
	case 0xf0:
		low = 0x90
	case 0xf4:
		high = 0x8f
	}
	n := 1
	for n < length && n < len(s) && s[n] >= low && s[n] <= high {
		low, high = 0x80, 0xbf
		n++
	}
	return n
}

// appendString appends s as JSON.stringify writes it: only what JSON requires is escaped. Invalid UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := plainASCII(s, 0); i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				if i++; i&7 == 0 {
					i = plainASCII(s, i)
				}
				continue
			}
			dst = append(dst, s[start:i]...)
			dst = appendEscape(dst, c)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\ufffd"...)
			start = i + 1
		}
		i += n
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// plainASCII passes over groups of eight characters that are ASCII and need no escape. It returns where it stopped.
func plainASCII(s string, i int) int {
	for i+8 <= len(s) {
		p := s[i : i+8]
		w := uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 |
			uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56
		if w&highBits != 0 || mayNeedEscape(w) {
			break
		}
		i += 8
	}
	return i
}

const (
	lowBits  = 0x0101010101010101
	highBits = 0x8080808080808080
)

// mayNeedEscape tells whether one of the eight bytes in w is a quote, a backslash or a control character. It may err
// towards yes, beside such a byte.
func mayNeedEscape(w uint64) bool {
	quote, slash := w^(lowBits*'"'), w^(lowBits*'\\')
	return ((quote-lowBits)&^quote|(slash-lowBits)&^slash|(w-lowBits*0x20)&^w)&highBits != 0
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
}
