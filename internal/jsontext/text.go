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
		if utf16.IsSurrogate(r) {
			lone = true
			dst = append(dst, 0xed, 0x80|byte(r>>6)&0x3f, 0x80|byte(r)&0x3f)
		} else {
			dst = utf8.AppendRune(dst, r)
		}
		s = s[n:]
	}
	return dst, lone
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
