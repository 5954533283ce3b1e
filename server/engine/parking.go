package engine

import (
	"bytes"
	"net/http"
	"strings"
)

// parkedRequest is a request whose connection net/http does not have at the moment.
type parkedRequest interface {
	// resume goes on with it; r has been read once more.
	resume(w http.ResponseWriter, r *http.Request)
	// lost says that its connection was closed instead.
	lost()
}

// requestText is what net/http makes the same request of. The order of headers is nobody's concern.
func requestText(r *http.Request) []byte {
	var b strings.Builder
	b.WriteString(r.Method)
	b.WriteByte(' ')
	b.WriteString(r.RequestURI)
	b.WriteByte(' ')
	b.WriteString(r.Proto)
	b.WriteString("\r\nHost: ")
	b.WriteString(r.Host)
	b.WriteString("\r\n")
	_ = r.Header.Write(&b)
	b.WriteString("\r\n")
	return []byte(b.String())
}

// endsHead reports whether p is all that is left of a request's head, and nothing else. Lines may end in a line feed alone.
func endsHead(p []byte) bool {
	for {
		_, rest, more := bytes.Cut(p, []byte{'\n'})
		switch {
		case !more:
			return false
		case string(rest) == "\r\n" || string(rest) == "\n":
			return true
		case bytes.HasPrefix(rest, []byte("\r\n")) || bytes.HasPrefix(rest, []byte("\n")):
			return false
		}
		p = rest
	}
}
