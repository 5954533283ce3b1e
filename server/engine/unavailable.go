package engine

import (
	"errors"
	"net/http"
)

// Why a session is not let in.
var (
	errRefusing = errors.New("handshakes are refused")
	errTaken    = errors.New("its id is taken")
)

// retryAfter is in how many seconds a client that was answered 503 may come back.
const retryAfter = "5"

// Unavailable answers a request for which there is no place on this server now: 503, with a Retry-After. The connection ends, so that
// a client that comes back can be brought to another server.
func Unavailable(w http.ResponseWriter) {
	w.Header().Set("Connection", "close")
	w.Header().Set("Retry-After", retryAfter)
	http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
}

// unavailable is the same over a connection that has been taken over.
const unavailable = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: " + retryAfter + "\r\nContent-Length: 0\r\n\r\n"

// RefuseHandshakes has new sessions refused, with 503 and a Retry-After, or let in again. Those that there are go on in every way:
// they poll, post and upgrade. When it returns, nothing is let in any more, not even what had begun before.
func (srv *Server) RefuseHandshakes(on bool) { srv.refusing.Store(on) }
