package engine

import (
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Handshake is what remains of the request that opened a session. It is kept as one string, which never
// changes, and expanded by each call: any goroutine may ask.
type Handshake struct {
	// raw holds the URL, the address, then "name:value" per header, separated by line feeds, which none of them can
	// contain.
	raw     string
	at      int64 // unix nanoseconds
	secure  bool
	xdomain bool
}

// Header names whose later occurrences Node ignores instead of joining them.
var singleHeaders = map[string]bool{
	"age": true, "authorization": true, "content-length": true, "content-type": true, "etag": true, "expires": true,
	"from": true, "host": true, "if-modified-since": true, "if-unmodified-since": true, "last-modified": true,
	"location": true, "max-forwards": true, "proxy-authorization": true, "referer": true, "retry-after": true,
	"server": true, "user-agent": true,
}

// newHandshake reports false for a request of which more than limit bytes would have to be kept.
func newHandshake(r *http.Request, proxies TrustedProxies, limit int) (Handshake, bool) {
	peer := proxies.Peer(r)
	h := Handshake{at: time.Now().UnixNano(), secure: peer.Secure, xdomain: r.Header.Get("Origin") != ""}
	url, address := rawURL(r), peer.Address
	size := len(url) + len(address) + len("host:") + len(r.Host) + 2
	names := make([]string, 0, len(r.Header))
	for name, values := range r.Header {
		names = append(names, name)
		for _, v := range values {
			size += len(name) + len(v) + 3
		}
	}
	if size > limit {
		return h, false
	}
	slices.Sort(names)
	var b strings.Builder
	b.Grow(size)
	b.WriteString(clean(url))
	b.WriteByte('\n')
	b.WriteString(clean(address))
	writeHeader(&b, "host", r.Host)
	for _, name := range names {
		writeHeader(&b, strings.ToLower(name), joinValues(name, r.Header[name]))
	}
	h.raw = b.String()
	return h, true
}

func writeHeader(b *strings.Builder, name, value string) {
	if value == "" && name == "host" {
		return
	}
	b.WriteByte('\n')
	b.WriteString(clean(name))
	b.WriteByte(':')
	b.WriteString(clean(value))
}

// clean guards the line structure against requests that did not come through net/http's parser.
func clean(s string) string {
	if strings.IndexByte(s, '\n') < 0 {
		return s
	}
	return strings.ReplaceAll(s, "\n", " ")
}

// joinValues follows the rules of Node's IncomingMessage.headers.
func joinValues(name string, values []string) string {
	switch {
	case len(values) == 0:
		return ""
	case len(values) == 1 || singleHeaders[strings.ToLower(name)]:
		return values[0]
	case name == "Cookie":
		return strings.Join(values, "; ")
	}
	return strings.Join(values, ", ")
}

// rawURL is the request target as it came over the wire.
func rawURL(r *http.Request) string {
	if r.RequestURI != "" {
		return r.RequestURI
	}
	return r.URL.RequestURI()
}

func (h *Handshake) cut() (url, address, headers string) {
	url, rest, _ := strings.Cut(h.raw, "\n")
	address, headers, _ = strings.Cut(rest, "\n")
	return url, address, headers
}

// latin1 reads bytes as Node's HTTP parser does: each is one character, whatever the client meant.
func latin1(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		b.WriteRune(rune(s[i]))
	}
	return b.String()
}

// Headers returns the request's headers under lower-case names, repeated ones joined as Node does.
func (h *Handshake) Headers() map[string]string {
	_, _, rest := h.cut()
	headers := make(map[string]string)
	for rest != "" {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		name, value, _ := strings.Cut(line, ":")
		headers[name] = latin1(value)
	}
	return headers
}

// Query returns the query parameters as Node's URLSearchParams reads them, the last of several equal names.
func (h *Handshake) Query() map[string]string {
	url, _, _ := h.cut()
	query := make(map[string]string)
	for name, value := range queryPairs(url) {
		query[name] = value
	}
	return query
}

// URL returns the request target: path and query.
func (h *Handshake) URL() string {
	url, _, _ := h.cut()
	return url
}

// Address returns the IP address of the client, without the port, as Options.TrustedProxies tell it.
func (h *Handshake) Address() string {
	_, address, _ := h.cut()
	return address
}

// Time returns when the session was opened.
func (h *Handshake) Time() time.Time { return time.Unix(0, h.at) }

// Secure reports whether the request came over TLS that this process, or one of Options.TrustedProxies, terminated.
func (h *Handshake) Secure() bool { return h.secure }

// XDomain reports whether the request had an Origin header.
func (h *Handshake) XDomain() bool { return h.xdomain }
