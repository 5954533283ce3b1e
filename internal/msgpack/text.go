package msgpack

import (
	"bytes"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/jsontext"
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
	text, lone := jsontext.AppendUnescaped(scratch, s)
	if lone && (d == Notepack || utf16Len(text) > maxSurrogateUnits) {
		replaceSurrogates(text)
	}
	return text, msgp.AppendStringFromBytes(dst, text)
}

// surrogateLen is the length of an encoded surrogate, and of U+FFFD.
const surrogateLen = 3

func replaceSurrogates(s []byte) {
	for i := range s {
		if _, ok := jsontext.Surrogate(s[i:]); ok {
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

// appendJSONString appends the string s in the JSON form that JSON.stringify gives it.
func appendJSONString(dst, s []byte) []byte {
	dst = append(dst, '"')
	valid := utf8.Valid(s)
	start, i := 0, 0
	if valid {
		i = jsontext.PlainRun(s, 0)
	}
	for i < len(s) {
		switch c := s[i]; {
		case c < 0x20 || c == '"' || c == '\\':
			dst = jsontext.AppendEscape(append(dst, s[start:i]...), c)
			i++
			start = i
		case c < utf8.RuneSelf || valid:
			if i++; i&7 == 0 && valid {
				i = jsontext.PlainRun(s, i)
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
	if unit, ok := jsontext.Surrogate(s); ok {
		return jsontext.AppendUnit(dst, unit), surrogateLen
	}
	return append(dst, "\ufffd"...), jsontext.IllFormedLen(s)
}
