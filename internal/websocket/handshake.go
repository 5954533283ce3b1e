package websocket

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// HandshakeError is the refusal of an upgrade request, as ws words it.
type HandshakeError struct {
	Status  int         // 400 or 405
	Header  http.Header // with Connection: close and the type and length of the body
	Message string      // the body
}

// Error describes the refusal for a log.
func (e *HandshakeError) Error() string {
	return fmt.Sprintf("websocket handshake refused with %d: %s", e.Status, e.Message)
}

// AppendResponse appends the complete HTTP response, after which the connection is closed.
func (e *HandshakeError) AppendResponse(dst []byte) []byte {
	dst = fmt.Appendf(dst, "HTTP/1.1 %d %s\r\n", e.Status, http.StatusText(e.Status))
	dst = appendHeader(dst, e.Header)
	return append(append(dst, "\r\n"...), e.Message...)
}

func refuse(status int, message string) *HandshakeError {
	return &HandshakeError{Status: status, Message: message, Header: http.Header{
		"Connection":     {"close"},
		"Content-Type":   {"text/html"},
		"Content-Length": {strconv.Itoa(len(message))},
	}}
}

// Handshake is an accepted upgrade request.
type Handshake struct {
	// Deflate is the negotiated compression, nil when there is none.
	Deflate *Deflate
	// Subprotocol is the first one that the client offered, which ws accepts unseen; empty when there was none.
	Subprotocol string

	key        string
	extensions []byte
}

// IsUpgrade reports whether r asks to leave HTTP, as Node's HTTP parser decides it: only such requests reach the
// WebSocket server there, all others are ordinary ones whatever their other headers say.
func IsUpgrade(r *http.Request) bool {
	if upgrade, _ := joined(r, "Upgrade"); upgrade == "" {
		return false
	}
	for _, line := range r.Header["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(token, " \t"), "upgrade") {
				return true
			}
		}
	}
	return false
}

// Accept checks the upgrade request r as ws 8.21 does: the same order, statuses and sentences. deflate nil means that
// compression is not offered; extension headers are ignored then. Accept does not look at the path, the query, the
// Connection header or the Origin, and writes nothing.
func Accept(r *http.Request, deflate *DeflateOptions) (*Handshake, *HandshakeError) {
	if r.Method != http.MethodGet {
		return nil, refuse(http.StatusMethodNotAllowed, "Invalid HTTP method")
	}
	if upgrade, _ := joined(r, "Upgrade"); !strings.EqualFold(upgrade, "websocket") {
		return nil, refuse(http.StatusBadRequest, "Invalid Upgrade header")
	}
	h := &Handshake{}
	if h.key, _ = joined(r, "Sec-Websocket-Key"); !validKey(h.key) {
		return nil, refuse(http.StatusBadRequest, "Missing or invalid Sec-WebSocket-Key header")
	}
	version, _ := joined(r, "Sec-Websocket-Version")
	if v, _ := parseNumber(version); v != 13 && v != 8 {
		e := refuse(http.StatusBadRequest, "Missing or invalid Sec-WebSocket-Version header")
		e.Header["Sec-WebSocket-Version"] = []string{"13, 8"}
		return nil, e
	}
	if protocols, found := joined(r, "Sec-Websocket-Protocol"); found {
		first, ok := parseSubprotocols(protocols)
		if !ok {
			return nil, refuse(http.StatusBadRequest, "Invalid Sec-WebSocket-Protocol header")
		}
		h.Subprotocol = first
	}
	if extensions, found := joined(r, "Sec-Websocket-Extensions"); found && deflate != nil {
		p, ok, err := deflate.negotiate(extensions)
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "Invalid or unacceptable Sec-WebSocket-Extensions header")
		}
		if ok {
			h.Deflate = p.deflate(deflate)
			h.extensions = p.append(nil)
		}
	}
	return h, nil
}

// AppendResponse appends the 101 response, followed by extra headers in the order of their names.
func (h *Handshake) AppendResponse(dst []byte, extra http.Header) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	digest := sha1.Sum([]byte(h.key + acceptGUID)) // RFC 6455 section 4.2.2
	dst = base64.StdEncoding.AppendEncode(dst, digest[:])
	dst = append(dst, "\r\n"...)
	if h.Subprotocol != "" {
		dst = append(append(append(dst, "Sec-WebSocket-Protocol: "...), h.Subprotocol...), "\r\n"...)
	}
	if len(h.extensions) > 0 {
		dst = append(append(append(dst, "Sec-WebSocket-Extensions: "...), h.extensions...), "\r\n"...)
	}
	return append(appendHeader(dst, extra), "\r\n"...)
}

// joined returns a header as Node presents it: repeated lines joined by a comma. name is in canonical form.
func joined(r *http.Request, name string) (value string, found bool) {
	values := r.Header[name]
	if len(values) == 1 {
		return values[0], true
	}
	return strings.Join(values, ", "), len(values) > 0
}

// validKey reports whether key looks like 16 bytes in base64; RFC 6455 section 4.2.1.
func validKey(key string) bool {
	if len(key) != 24 || key[22:] != "==" {
		return false
	}
	for _, c := range []byte(key[:22]) {
		if c != '+' && c != '/' && (!isTokenChar(c) || strings.IndexByte("!#$%&'*-.^_`|~", c) >= 0) {
			return false
		}
	}
	return true
}

// parseSubprotocols returns the first of a comma-separated list of distinct tokens, as strict as ws: blanks around the
// names are fine, at the very start and end of the header they are not.
func parseSubprotocols(header string) (first string, ok bool) {
	if strings.Trim(header, " \t") != header {
		return "", false
	}
	names := strings.Split(header, ",")
	for i, name := range names {
		names[i] = strings.Trim(name, " \t")
		token, rest, err := cutToken(names[i])
		if err != nil || rest != "" || slices.Contains(names[:i], token) {
			return "", false
		}
	}
	return names[0], true
}

var lineBreaks = strings.NewReplacer("\r", " ", "\n", " ")

// appendHeader appends header lines sorted by name. Line breaks in values would end the header early and become blanks.
func appendHeader(dst []byte, header http.Header) []byte {
	if len(header) == 0 {
		return dst
	}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			dst = append(append(dst, name...), ": "...)
			dst = append(append(dst, lineBreaks.Replace(value)...), "\r\n"...)
		}
	}
	return dst
}
