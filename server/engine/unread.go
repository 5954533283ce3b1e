package engine

import (
	"errors"
	"io"
	"net/http"
	"time"
)

const (
	// restTime and restSize bound what is read of a body that nobody wants.
	restTime = 5 * time.Second
	restSize = 16 << 20
)

// mayBeUnread reports whether a request may be answered before its body has been read. It lets such an answer leave at once:
// net/http would wait for the first 256 KiB of the body. In HTTP/2 a stream can end without harm to its connection.
func mayBeUnread(w http.ResponseWriter, r *http.Request) bool {
	if r.ContentLength == 0 || r.ProtoMajor != 1 {
		return false
	}
	_ = http.NewResponseController(w).EnableFullDuplex()
	return true
}

// takeRest reads what the handlers of a request have left of its body, after the answer has been sent. A connection that is
// closed with unread data is reset, and the reset overtakes the answer: a proxy that is still sending the body then reports
// 502 in its place.
func takeRest(w http.ResponseWriter, r *http.Request) {
	if _, err := w.Write(nil); errors.Is(err, http.ErrHijacked) {
		return
	}
	if r.ContentLength > 0 {
		// A body with a length says without waiting whether it has been read.
		if _, err := r.Body.Read(nil); errors.Is(err, io.EOF) {
			return
		}
	}
	rc := http.NewResponseController(w)
	until := time.Now().Add(restTime)
	_ = rc.SetWriteDeadline(until)
	if rc.SetReadDeadline(until) != nil || errors.Is(rc.Flush(), http.ErrNotSupported) {
		return
	}
	if _, err := io.CopyN(io.Discard, r.Body, restSize+1); errors.Is(err, io.EOF) {
		_ = rc.SetReadDeadline(time.Time{})
		_ = rc.SetWriteDeadline(time.Time{})
		return
	}
	// net/http might take what follows for the next request.
	conn, _, err := rc.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	_ = conn.Close()
}
