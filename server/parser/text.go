package parser

import (
	"bytes"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

// unquote returns the string that a JSON string stands for. A lone surrogate, which a JavaScript string may hold, gets the
// three bytes that UTF-8 would give it if it were a character: two strings that differ stay different.
func unquote(text []byte) (string, error) {
	if len(text) == 0 || text[0] != '"' || jsontext.ScanString(text, 0) != len(text) {
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
		r, n := jsontext.ReadEscape(text[i:])
		out = jsontext.AppendRune(out, r)
		text = text[i+n:]
		i = bytes.IndexByte(text, '\\')
	}
	return string(append(out, text...)), nil
}

// appendString appends s as JSON.stringify writes it: only what JSON requires is escaped, and the surrogates that unquote
// has left. Other invalid UTF-8 becomes U+FFFD.
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
			dst = jsontext.AppendEscape(dst, c)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, s[start:i]...)
			if unit, ok := jsontext.Surrogate(s[i:]); ok {
				dst, n = jsontext.AppendUnit(dst, unit), 3
			} else {
				dst = append(dst, "\ufffd"...)
			}
			start = i + n
		}
		i += n
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// nonASCII has the highest bit of each byte.
const nonASCII = 0x8080808080808080

// plainASCII passes over groups of eight characters that are ASCII and need no escape. It returns where it stopped.
func plainASCII(s string, i int) int {
	for i+8 <= len(s) {
		p := s[i : i+8]
		w := uint64(p[0]) | uint64(p[1])<<8 | uint64(p[2])<<16 | uint64(p[3])<<24 |
			uint64(p[4])<<32 | uint64(p[5])<<40 | uint64(p[6])<<48 | uint64(p[7])<<56
		if w&nonASCII != 0 || jsontext.Special(w) {
			break
		}
		i += 8
	}
	return i
}
