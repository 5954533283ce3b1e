package engine

import (
	"bytes"
	"iter"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

// separator stands between the packets of a polling payload.
const separator = 0x1e

// payloadPackets yields the encoded packets of a POST body. An empty body is one empty packet, which is an error for
// whoever decodes it, as in the reference.
func payloadPackets(body []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for {
			packet, rest, more := bytes.Cut(body, []byte{separator})
			if !yield(packet) || !more {
				return
			}
			body = rest
		}
	}
}

// validUTF8 returns b with each maximal invalid subsequence replaced by U+FFFD, as the decoders of JavaScript do. It
// returns b itself when it is valid.
func validUTF8(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	return jsontext.AppendValidUTF8(make([]byte, 0, len(b)+8), b)
}

// decodeBase64 decodes in place what Node's Buffer.from(s, "base64") accepts, which is everything: both alphabets,
// foreign characters skipped, the first "=" ends the input, an incomplete last group is dropped. It returns a prefix of
// s.
func decodeBase64(s []byte) []byte {
	n := 0
	var acc uint32
	var bits uint
	for _, c := range s {
		v := base64Value(c)
		if v < 0 {
			if c == '=' {
				break
			}
			continue
		}
		acc = acc<<6 | uint32(v)
		bits += 6
		if bits >= 8 {
			bits -= 8
			s[n] = byte(acc >> bits)
			n++
		}
	}
	return s[:n]
}

func base64Value(c byte) int {
	switch {
	case c >= 'A' && c <= 'Z':
		return int(c - 'A')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 26
	case c >= '0' && c <= '9':
		return int(c-'0') + 52
	case c == '+' || c == '-':
		return 62
	case c == '/' || c == '_':
		return 63
	}
	return -1
}
