package msgpack

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/tinylib/msgp/msgp"
)

// Between JSON and MessagePack a string is UTF-8 in which a lone surrogate has the three bytes that UTF-8 would give it
// if it were a character.

// maxSurrogateUnits is the length in UTF-16 units up to which @msgpack/msgpack keeps lone surrogates; longer strings go
// through a TextEncoder.
const maxSurrogateUnits = 200

// needsUnescape tells whether the content of a JSON string is not simply its UTF-8.
func needsUnescape(s []byte) bool { return bytes.IndexByte(s, '\\') >= 0 || !utf8.Valid(s) }

// appendText appends the string whose content in JSON is s to dst. scratch is used if s has to be unescaped first.
func appendText(dst []byte, d Dialect, scratch, s []byte) (usedScratch, out []byte) {
	if !needsUnescape(s) {
		return scratch, msgp.AppendStringFromBytes(dst, s)
	}
	text, lone := appendUnescaped(scratch, s)
	if lone && (d == Notepack || utf16Len(text) > maxSurrogateUnits) {
		replaceSurrogates(text)
	}
	return text, msgp.AppendStringFromBytes(dst, text)
}

// appendUnescaped appends the content of a valid JSON string without its escapes, and tells whether it has lone
// surrogates.
func appendUnescaped(dst, s []byte) (out []byte, lone bool) {
	for len(s) > 0 {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return appendValid(dst, s), lone
		}
		dst = appendValid(dst, s[:i])
		s = s[i:]
		r, n := readEscape(s)
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

// readEscape reads the valid escape sequence that s starts with; two that form a surrogate pair count as one.
func readEscape(s []byte) (r rune, n int) {
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

// surrogateLen is the length of an encoded surrogate, and of U+FFFD.
const surrogateLen = 3

// isSurrogate tells whether s starts with an encoded surrogate.
func isSurrogate(s []byte) bool {
	return len(s) >= surrogateLen && s[0] == 0xed && s[1] >= 0xa0 && s[1] <= 0xbf && s[2]&0xc0 == 0x80
}

func replaceSurrogates(s []byte) {
	for i := range s {
		if isSurrogate(s[i:]) {
			copy(s[i:], "\ufffd")
		}
	}
}

// utf16Len returns the length of s in UTF-16 units.
func utf16Len(s []byte) int {
	n := 0
	for _, c := range s {
		if c&0xc0 != 0x80 {
			n++
		}
		if c >= 0xf0 {
			n++
		}
	}
	return n
}

// appendValid appends s as Node's Buffer.toString decodes it: each maximal part of an ill-formed sequence becomes one
// U+FFFD (Unicode 3.9, "U+FFFD Substitution of Maximal Subparts").
func appendValid(dst, s []byte) []byte {
	if utf8.Valid(s) {
		return append(dst, s...)
	}
	for len(s) > 0 {
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

// appendJSONString appends the string s in the JSON form that JSON.stringify gives it.
func appendJSONString(dst, s []byte) []byte {
	dst = append(dst, '"')
	valid := utf8.Valid(s)
	start, i := 0, 0
	if valid {
		i = plainRun(s, 0)
	}
	for i < len(s) {
		switch c := s[i]; {
		case c < 0x20 || c == '"' || c == '\\':
			dst = appendEscape(append(dst, s[start:i]...), c)
			i++
			start = i
		case c < utf8.RuneSelf || valid:
			if i++; i&7 == 0 && valid {
				i = plainRun(s, i)
			}
		default:
			r, n := utf8.DecodeRune(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(dst, s[start:i]...)
				dst, n = appendIllFormed(dst, s[i:])
				start = i + n
			}
			i += n
		}
	}
	return append(append(dst, s[start:]...), '"')
}

// appendIllFormed appends what stands for the ill-formed sequence that s starts with, and returns its length.
func appendIllFormed(dst, s []byte) ([]byte, int) {
	if isSurrogate(s) {
		return appendUnit(dst, uint16(0xd000)|uint16(s[1]&0x3f)<<6|uint16(s[2]&0x3f)), surrogateLen
	}
	return append(dst, "\ufffd"...), illFormedLen(s)
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
	return appendUnit(dst, uint16(c))
}

func appendUnit(dst []byte, u uint16) []byte {
	const hex = "0123456789abcdef"
	return append(dst, '\\', 'u', hex[u>>12], hex[u>>8&0xf], hex[u>>4&0xf], hex[u&0xf])
}
