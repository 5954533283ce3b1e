package engine

import (
	"iter"
	"strings"
	"unicode/utf8"
)

// queryPairs yields the query parameters of a request target in order, decoded as the WHATWG URL standard says for
// application/x-www-form-urlencoded, which is what Node's URLSearchParams does: only "&" separates, "+" is a space, a
// "%" without two hex digits stays, invalid UTF-8 becomes U+FFFD, nothing is an error.
func queryPairs(target string) iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		target, _, _ = strings.Cut(target, "#")
		_, query, _ := strings.Cut(target, "?")
		for query != "" {
			var pair string
			pair, query, _ = strings.Cut(query, "&")
			if pair == "" {
				continue
			}
			name, value, _ := strings.Cut(pair, "=")
			if !yield(unescape(name), unescape(value)) {
				return
			}
		}
	}
}

func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 && utf8.ValidString(s) {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			b = append(b, ' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b = append(b, fromHex(s[i+1])<<4|fromHex(s[i+2]))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return string(validUTF8(b))
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

func fromHex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// engineQuery holds the parameters that the protocol defines.
type engineQuery struct {
	eio, transport, sid, b64 string
	turn                     *arrival // of the request; nil: served as it is read
}

func parseEngineQuery(target string) (q engineQuery) {
	for name, value := range queryPairs(target) {
		switch name {
		case "EIO":
			q.eio = value
		case "transport":
			q.transport = value
		case "sid":
			q.sid = value
		case "b64":
			q.b64 = value
		}
	}
	return q
}

// protocol is the revision that the client speaks; as in the reference, whatever is not 4 counts as 3.
func (q *engineQuery) protocol() int {
	if q.eio == "4" {
		return 4
	}
	return 3
}
