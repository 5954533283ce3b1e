package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const headerRetryAfter = "Retry-After"

// abortTimeout bounds the write of a refusal on a hijacked connection.
const abortTimeout = 5 * time.Second

// verify checks a request in the order of the reference, which clients can observe: transport, Origin characters, then
// either session, transport and revision, or method, transport and AllowRequest. The request may be claimed by a transport.
func (srv *Server) verify(r *http.Request, q *engineQuery, claimant *transportKind) (*Session, *ConnectionError) {
	kind := srv.cfg.kindNamed(q.transport)
	if kind == nil {
		return nil, newConnectionError(r, CodeUnknownTransport, map[string]any{"transport": q.transport})
	}
	if origin := r.Header.Get(headerOrigin); !validHeaderValue(origin) {
		return nil, newConnectionError(r, CodeBadRequest, map[string]any{"name": "INVALID_ORIGIN", "origin": origin})
	}
	srv.warnForeignCookie(r)
	// The reference never answers such a request for a session.
	unfit := claimant == nil && kind.claims != nil
	if q.sid != "" {
		return srv.verifySession(r, q, claimant != nil, unfit)
	}
	return nil, srv.verifyHandshake(r, q, unfit)
}

func (srv *Server) verifySession(r *http.Request, q *engineQuery, claimed, unfit bool) (*Session, *ConnectionError) {
	s := srv.lookup(q.sid)
	if s == nil || s.endOverdue() {
		return nil, newConnectionError(r, CodeUnknownSession, map[string]any{"sid": q.sid})
	}
	if current := s.Transport(); !claimed && current != q.transport {
		return nil, newConnectionError(r, CodeBadRequest, map[string]any{
			"name": "TRANSPORT_MISMATCH", "transport": q.transport, "previousTransport": current,
		})
	}
	if protocol := q.protocol(); protocol != s.Protocol() {
		return nil, newConnectionError(r, CodeBadRequest, map[string]any{
			"name": "PROTOCOL_MISMATCH", "protocol": protocol, "previousProtocol": s.Protocol(),
		})
	}
	if unfit {
		return nil, newConnectionError(r, CodeBadRequest, map[string]any{"name": "TRANSPORT_HANDSHAKE_ERROR"})
	}
	return s, nil
}

func (srv *Server) verifyHandshake(r *http.Request, q *engineQuery, unfit bool) *ConnectionError {
	if r.Method != http.MethodGet {
		return newConnectionError(r, CodeBadHandshakeMethod, map[string]any{"method": r.Method})
	}
	if unfit {
		return newConnectionError(r, CodeBadRequest, map[string]any{"name": "TRANSPORT_HANDSHAKE_ERROR"})
	}
	if srv.cfg.AllowRequest == nil {
		return nil
	}
	if err := srv.cfg.AllowRequest(r); err != nil {
		return forbidden(r, err)
	}
	return nil
}

// forbidden is the refusal of a request by the application.
func forbidden(r *http.Request, err error) *ConnectionError {
	e := newConnectionError(r, CodeForbidden, map[string]any{"error": err})
	if refusal := (*Refusal)(nil); errors.As(err, &refusal) {
		e.clientText, e.status, e.retryAfter = refusal.Message, refusal.Status, refusal.RetryAfter
		e.Context["message"] = refusal.Message
	}
	return e
}

// verifyProtocol comes last in a handshake, as in the reference.
func (srv *Server) verifyProtocol(r *http.Request, q *engineQuery) (*revision, *ConnectionError) {
	protocol := q.protocol()
	rev := spoken(protocol)
	if rev == nil {
		srv.warnRevision(r, q)
		return nil, newConnectionError(r, CodeUnsupportedProtocol, map[string]any{"protocol": protocol})
	}
	return rev, nil
}

// revisionInterval is the least time between two warnings about clients of another revision.
const revisionInterval = time.Minute

// warnRevision says what is wrong with a client of Engine.IO 3, which shows its user only that it does not connect.
func (srv *Server) warnRevision(r *http.Request, q *engineQuery) {
	if q.eio != "3" { // some other request, which has no protocol
		return
	}
	held, ok := srv.warnedRevision.Pass(revisionInterval)
	if !ok {
		return
	}
	agent := r.UserAgent()
	srv.cfg.Logger.Warn("a client speaks Engine.IO 3, the protocol of Socket.IO 2, which this server does not: it needs a newer library, "+
		"for example socket.io-client 3 or 4 (JavaScript), io.socket:socket.io-client 2 (Java), python-socketio 5 (Python)",
		"address", srv.cfg.TrustedProxies.Peer(r).Address, "userAgent", agent[:min(len(agent), maxAgent)], "notLogged", held)
}

// maxAgent is how much of a User-Agent the log shows.
const maxAgent = 120

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
	if srv.claimant(r) != nil {
		srv.abortUpgrade(w, r, e)
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
	text := bytes.TrimSuffix(body.Bytes(), []byte("\n"))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	if after := e.retryHeader(); after != "" {
		w.Header().Set(headerRetryAfter, after)
	}
	w.WriteHeader(e.statusOr(status))
	_, _ = w.Write(text)
}

// abortUpgrade answers a refused upgrade: with 400, whatever the code, unless a *Refusal says otherwise; the message is the body.
func (srv *Server) abortUpgrade(w http.ResponseWriter, r *http.Request, e *ConnectionError) {
	message, status := e.answer(), e.statusOr(http.StatusBadRequest)
	raw := fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-type: text/html\r\n", status, http.StatusText(status))
	if after := e.retryHeader(); after != "" {
		raw = fmt.Appendf(raw, "%s: %s\r\n", headerRetryAfter, after)
	}
	raw = fmt.Appendf(raw, "Content-Length: %d\r\n\r\n%s", len(message), message)
	if srv.abortRaw(w, r, raw) {
		return
	}
	if after := e.retryHeader(); after != "" {
		w.Header().Set(headerRetryAfter, after)
	}
	w.Header().Set("Connection", "close")
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(message))
}

// abortRaw writes a complete response on the hijacked connection and closes it. It reports false when the connection
// cannot be hijacked. Headers are left out, as in the reference, but for those that another server has to see.
func (srv *Server) abortRaw(w http.ResponseWriter, r *http.Request, response []byte) bool {
	if _, forPeer := passedOn(r); forPeer {
		response = addHeader(response, w.Header())
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return false
	}
	_ = conn.SetDeadline(time.Now().Add(abortTimeout))
	_, _ = conn.Write(response)
	_ = conn.Close()
	return true
}

func addHeader(response []byte, h http.Header) []byte {
	head, body, _ := bytes.Cut(response, []byte("\r\n\r\n"))
	var b bytes.Buffer
	b.Write(head)
	b.WriteString("\r\n")
	_ = h.Write(&b) // a bytes.Buffer does not fail
	b.WriteString("\r\n")
	b.Write(body)
	return b.Bytes()
}
