package jsontext

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// AppendUnescaped appends the content of a checked JSON string, without its quotes, to dst. Bytes that are not UTF-8
// become U+FFFD. A lone surrogate gets the three bytes that UTF-8 would give it if it were a character; lone tells
// whether there was one.
func AppendUnescaped(dst, s []byte) (out []byte, lone bool) {
	for len(s) > 0 {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return AppendValidUTF8(dst, s), lone
		}
		dst = AppendValidUTF8(dst, s[:i])
		s = s[i:]
		r, n := ReadEscape(s)
		lone = lone || utf16.IsSurrogate(r)
		dst = AppendRune(dst, r)
		s = s[n:]
	}
	return dst, lone
}

// AppendRune appends a rune as UTF-8, and a surrogate as the three bytes that it would have there if it were a character.
func AppendRune(dst []byte, r rune) []byte {
	if utf16.IsSurrogate(r) {
		return append(dst, 0xed, 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
	}
	return utf8.AppendRune(dst, r)
}

// Surrogate returns the surrogate whose three bytes s starts with.
func Surrogate[T string | []byte](s T) (unit uint16, ok bool) {
	if len(s) < 3 || s[0] != 0xed || s[1] < 0xa0 || s[1] > 0xbf || s[2]&0xc0 != 0x80 {
		return 0, false
	}
	return 0xd000 | uint16(s[1]&0x3f)<<6 | uint16(s[2]&0x3f), true
}

// HoldsLone tells whether a JSON text has the escape of a lone surrogate in it. The text need not be checked.
func HoldsLone(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 || len(text)-i < 6 {
			return false
		}
		text = text[i:]
		if text[1] != 'u' || text[2]|0x20 != 'd' || text[3] < '8' || !isHex(text[3]) || !isHex(text[4]) || !isHex(text[5]) {
			text = text[2:]
			continue
		}
		if _, n := ReadEscape(text); n == 6 {
			return true
		}
		text = text[12:]
	}
}

// ReadEscape reads the checked escape sequence that s starts with and returns its length; two that form a surrogate pair
// count as one. A lone surrogate is returned as it is.
func ReadEscape(s []byte) (r rune, n int) {
	switch c := s[1]; c {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
	default:
		return rune(c), 2
	}
	r = hexUnit(s)
	if utf16.IsSurrogate(r) && len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
		if pair := utf16.DecodeRune(r, hexUnit(s[6:])); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return r, 6
}

// hexUnit reads the code unit of a \u sequence.
func hexUnit(s []byte) rune {
	n, _ := strconv.ParseUint(string(s[2:6]), 16, 16)
	return rune(n)
}

// AppendEscape appends the escape sequence that JSON.stringify writes for a quote, a backslash or a control character.
func AppendEscape(dst []byte, c byte) []byte {
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
	return AppendUnit(dst, uint16(c))
}

// AppendUnit appends the \u sequence of a UTF-16 code unit.
func AppendUnit(dst []byte, u uint16) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[u>>12], hex[u>>8&0xf], hex[u>>4&0xf], hex[u&0xf])
}

// AppendValidUTF8 appends s as the decoders of JavaScript read it: each maximal part of an ill-formed sequence becomes
// one U+FFFD (Unicode 3.9, "U+FFFD Substitution of Maximal Subparts").
func AppendValidUTF8(dst, s []byte) []byte {
	if utf8.Valid(s) {
		return append(dst, s...)
	}
	for len(s) > 0 {
		if s[0] < utf8.RuneSelf {
			dst = append(dst, s[0])
			s = s[1:]
			continue
		}
		r, n := utf8.DecodeRune(s)
		if r == utf8.RuneError && n == 1 {
			n = IllFormedLen(s)
		}
		dst = utf8.AppendRune(dst, r)
		s = s[n:]
	}
	return dst
}

// AppendKeepingLone is AppendValidUTF8 that leaves the three bytes of a lone surrogate as they are.
func AppendKeepingLone(dst, s []byte) []byte {
	start := 0
	for i := 0; ; {
		n := bytes.IndexByte(s[i:], 0xed)
		if n < 0 {
			return AppendValidUTF8(dst, s[start:])
		}
		i += n + 1
		if _, ok := Surrogate(s[i-1:]); ok {
			dst = append(AppendValidUTF8(dst, s[start:i-1]), s[i-1:i+2]...)
			i += 2
			start = i
		}
	}
}

// IllFormedLen returns the length of the maximal subpart of the ill-formed sequence that s starts with.
func IllFormedLen(s []byte) int {
	// The second byte is the only one whose range depends on the first (Unicode 3.9, table 3-7).
	low, high, length := byte(0x80), byte(0xbf), 1
	switch lead := s[0]; {
	case lead >= 0xf0 && lead <= 0xf4:
		length = 4
	case lead >= 0xe0 && lead <= 0xef:
		length = 3
	}
	switch s[0] {
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
	for n < length-1 && n < len(s) && s[n] >= low && s[n] <= high {
		low, high = 0x80, 0xbf
		n++
	}
	return n
}
