package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

// abortTimeout bounds the write of a refusal on a hijacked connection.
const abortTimeout = 5 * time.Second

// isUpgrade reports whether r is to be handled as a websocket handshake. Without the websocket transport Node has no
// listener for upgrades and takes the request for an ordinary one.
func (srv *Server) isUpgrade(r *http.Request) bool {
	return srv.cfg.ws && websocket.IsUpgrade(r)
}

// verify checks a request in the order of the reference, which clients can observe: transport, Origin characters, then
// either session, transport and revision, or method, transport and AllowRequest.
func (srv *Server) verify(r *http.Request, q *engineQuery, upgrade bool) (*Session, *ConnectionError) {
	if !slices.Contains(srv.cfg.Transports, q.transport) {
		return nil, newConnectionError(r, CodeUnknownTransport, map[string]any{"transport": q.transport})
	}
	if origin := r.Header.Get(headerOrigin); !validHeaderValue(origin) {
		return nil, newConnectionError(r, CodeBadRequest, map[string]any{"name": "INVALID_ORIGIN", "origin": origin})
	}
	srv.warnForeignCookie(r)
	if q.sid != "" {
		return srv.verifySession(r, q, upgrade)
	}
	return nil, srv.verifyHandshake(r, q, upgrade)
}

func (srv *Server) verifySession(r *http.Request, q *engineQuery, upgrade bool) (*Session, *ConnectionError) {
	s := srv.lookup(q.sid)
	if s == nil {
		return nil, newConnectionError(r, CodeUnknownSession, map[string]any{"sid": q.sid})
	}
	if current := s.Transport(); !upgrade && current != q.transport {
		return nil, newConnectionError(r, CodeBadRequest, map[string]any{
			"name": "TRANSPORT_MISMATCH", "transport": q.transport, "previousTransport": current,
		})
	}
	if protocol := q.protocol(); protocol != s.Protocol() {
		return nil, newConnectionError(r, CodeBadRequest, map[string]any{
			"name": "PROTOCOL_MISMATCH", "protocol": protocol, "previousProtocol": s.Protocol(),
		})
	}
	if !upgrade && q.transport == TransportWebSocket {
		// The reference never answers such a request.
		return nil, newConnectionError(r, CodeBadRequest, map[string]any{"name": "TRANSPORT_HANDSHAKE_ERROR"})
	}
	return s, nil
}

func (srv *Server) verifyHandshake(r *http.Request, q *engineQuery, upgrade bool) *ConnectionError {
	if r.Method != http.MethodGet {
		return newConnectionError(r, CodeBadHandshakeMethod, map[string]any{"method": r.Method})
	}
	if q.transport == TransportWebSocket && !upgrade {
		return newConnectionError(r, CodeBadRequest, map[string]any{"name": "TRANSPORT_HANDSHAKE_ERROR"})
	}
	if srv.cfg.AllowRequest == nil {
		return nil
	}
	err := srv.cfg.AllowRequest(r)
	if err == nil {
		return nil
	}
	e := newConnectionError(r, CodeForbidden, map[string]any{"error": err})
	if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
		e.clientText = refusal.Message
		e.Context["message"] = refusal.Message
	}
	return e
}

// verifyProtocol comes last in a handshake, as in the reference: only revision 4 is spoken here.
func verifyProtocol(r *http.Request, q *engineQuery) *ConnectionError {
	if protocol := q.protocol(); protocol != protocolRevision {
		return newConnectionError(r, CodeUnsupportedProtocol, map[string]any{"protocol": protocol})
	}
	return nil
}

// validHeaderValue accepts the field-value characters of RFC 9110.
func validHeaderValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// refuse answers a request with an error, in JSON, or in the raw form that clients of a failed upgrade get.
func (srv *Server) refuse(w http.ResponseWriter, r *http.Request, e *ConnectionError) {
	srv.count.refused[e.Code].Add(1)
	if srv.cfg.OnConnectionError != nil {
		srv.cfg.OnConnectionError(e)
	}
	if srv.isUpgrade(r) {
		srv.abortUpgrade(w, e.answer())
		return
	}
	status := http.StatusBadRequest
	if e.Code == CodeForbidden {
		status = http.StatusForbidden
	}
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}{e.Code, e.answer()})
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(bytes.TrimSuffix(body.Bytes(), []byte("\n")))
}

// abortUpgrade answers a refused upgrade: always 400, whatever the code, with the message as body.
func (srv *Server) abortUpgrade(w http.ResponseWriter, message string) {
	raw := fmt.Appendf(nil, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-type: text/html\r\nContent-Length: %d\r\n\r\n%s",
		len(message), message)
	if srv.abortRaw(w, raw) {
		return
	}
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(http.StatusBadRequest)
	_, _ = w.Write([]byte(message))
}

// abortRaw writes a complete response on the hijacked connection and closes it. It reports false when the connection
// cannot be hijacked.
func (srv *Server) abortRaw(w http.ResponseWriter, response []byte) bool {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	_ = conn.SetDeadline(time.Now().Add(abortTimeout))
	_, _ = conn.Write(response)
	_ = conn.Close()
	return true
}
