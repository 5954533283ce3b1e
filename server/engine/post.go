package engine

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// warnInterval is the least time between two warnings about the same limit.
	warnInterval = 10 * time.Second
	minBody      = 512
	// smallPiece is the size from which a piece of a body does not count for Options.MaxBufferedChunks.
	smallPiece = 512
	// maxPooledBody is the largest body buffer that goes back to the pool.
	maxPooledBody = 16 << 10
)

// postBody is the body of a POST while it is collected and handled. Its memory is charged to the session.
type postBody struct{ data []byte }

var bodyPool = sync.Pool{New: func() any { return &postBody{data: make([]byte, 0, minBody)} }}

func (b *postBody) free() {
	if cap(b.data) <= maxPooledBody {
		b.data = b.data[:0]
		bodyPool.Put(b)
	}
}

// servePost takes the packets of a POST.
func (s *Session) servePost(w http.ResponseWriter, r *http.Request, turn *arrival) {
	s.awaitHold(r, turn)
	if s.upgrading() {
		inFlight.settle(turn) // the "5" that moves the session may be there
	}
	p, rules := s.beginPost(w, r)
	if p == nil {
		return
	}
	closed, err := s.takePost(w, r, p, rules)
	s.endPost(p)
	if err != nil {
		s.refusePost(w, r, p, err)
		return
	}
	if closed {
		s.closeByPost(p, turn)
	}
	h := w.Header()
	// Not text/plain: some browsers offered the answer as a download.
	h.Set("Content-Type", "text/html")
	h.Set("Content-Length", "2")
	s.srv.setAnswerHeaders(h, r, false)
	_, _ = io.WriteString(w, "ok")
}

// closeByPost ends the session, after what its client sent before the close packet.
func (s *Session) closeByPost(p *polling, turn *arrival) {
	if !p.parked() {
		inFlight.settle(turn)
	}
	s.finish(&ending{reason: ReasonTransportClose, quiet: true, at: turn.time()})
}

// refusePost answers a POST of which nothing was delivered.
func (s *Session) refusePost(w http.ResponseWriter, r *http.Request, p *polling, err error) {
	var refused *bodyError
	switch {
	case errors.As(err, &refused):
		s.failPost(refused)
		// The rest of the body may be endless: the connection is no good for another request.
		w.Header().Set("Connection", "close")
		answerEmpty(w, refused.status)
	case errors.Is(err, ErrInputTotal):
		answerEmpty(w, http.StatusServiceUnavailable)
	case errors.Is(err, errNotDelivered):
		s.refuseLate(w, r)
	case p.current():
		s.failPost(errDataGone)
		cut(w)
	default:
		// The session has ended or left while the body was coming. The reference closes the connection, which a proxy calls 502.
		w.Header().Set("Connection", "close")
		s.refuseLate(w, r)
	}
}

// failPost ends the session because a POST of its client has failed. A parked poll is told nothing: of a close packet, which
// the reference sends, many clients other than the npm one conclude that they are not wanted and stay away.
func (s *Session) failPost(err error) {
	s.finish(&ending{reason: ReasonTransportError, err: err, quiet: true})
}

// answerEmpty answers with a status alone.
func answerEmpty(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
}

// takePost reads the body and delivers its packets. It reports whether one of them closes the session, which is left to the caller.
func (s *Session) takePost(w http.ResponseWriter, r *http.Request, p *polling, rules *bodyRules) (closed bool, err error) {
	body := bodyPool.Get().(*postBody)
	defer body.free()
	if !s.HoldInput(int64(cap(body.data))) {
		return false, ErrInputTotal
	}
	defer func() { s.ReleaseInput(int64(cap(body.data))) }()
	if err := s.readBody(w, r, p, body); err != nil {
		return false, err
	}
	if rules.text && !utf8.Valid(body.data) && !s.replaceBody(body, validUTF8(body.data)) {
		return false, ErrInputTotal
	}
	return s.deliverPost(p, rules.packets(body.data))
}

// replaceBody moves the body to data. It reports false if the session may not hold that much.
func (s *Session) replaceBody(body *postBody, data []byte) bool {
	if !s.HoldInput(int64(cap(data))) {
		return false
	}
	s.ReleaseInput(int64(cap(body.data)))
	body.data = data
	return true
}

// beginPost returns the transport that takes the request, after which no other POST is let in until endPost, and how to
// read the body. It returns nil after it has refused the request.
func (s *Session) beginPost(w http.ResponseWriter, r *http.Request) (*polling, *bodyRules) {
	s.mu.Lock()
	p := s.pollingLocked()
	if p == nil {
		s.mu.Unlock()
		s.refuseEnded(w, r)
		return nil, nil
	}
	rules := p.framing.body(r.Header.Get("Content-Type"))
	var violation error
	switch {
	case p.posting:
		violation = errDataOverlap
	case rules == nil:
		violation = errInvalidContent
	default:
		p.posting = true
	}
	s.mu.Unlock()
	if violation != nil {
		s.fail(violation)
		answerEmpty(w, http.StatusBadRequest)
		return nil, nil
	}
	return p, rules
}

// cut ends a request without an answer, where possible, as the reference does when a body is not complete.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		answerEmpty(w, http.StatusBadRequest)
		return
	}
	_ = conn.Close()
}

// bodyError is why a body was not taken.
type bodyError struct {
	status int
	text   string
}

// Error implements error.
func (e *bodyError) Error() string { return e.text }

var (
	errBodyTooLarge  = &bodyError{http.StatusRequestEntityTooLarge, "request body too large"}
	errTooManyChunks = &bodyError{http.StatusRequestEntityTooLarge, "request body in too many chunks"}
	errBodyTimeout   = &bodyError{http.StatusRequestTimeout, "request body did not come in time"}
	errMalformedBody = &bodyError{http.StatusBadRequest, "request body is not well-formed"}
	errChunksAsBody  = &bodyError{http.StatusBadRequest, "request body by HTTP/1.0 in chunks"}
	errNoLength      = &bodyError{http.StatusBadRequest, "request body without a length"}
	errNotDelivered  = errors.New("session ended or left polling before its packets were delivered")
)

// noLength reports whether the length of a body is not said: net/http takes that for none, and so it does with the chunked body of
// an HTTP/1.0 request, whose Transfer-Encoding it removes.
func noLength(r *http.Request) bool {
	return r.ContentLength == 0 && r.ProtoMajor == 1 && len(r.Header["Content-Length"]) == 0
}

// checkLength refuses a body that is too long from the start, or whose length is not said.
func (s *Session) checkLength(r *http.Request) error {
	if r.ContentLength > s.srv.cfg.MaxHTTPBufferSize {
		s.noteTooLarge()
		return errBodyTooLarge
	}
	if noLength(r) {
		return errNoLength
	}
	return nil
}

// readBody reads the body, no further than one byte beyond the limit.
func (s *Session) readBody(w http.ResponseWriter, r *http.Request, p *polling, body *postBody) error {
	if err := s.checkLength(r); err != nil {
		return err
	}
	limit := s.srv.cfg.MaxHTTPBufferSize
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(s.srv.cfg.HTTPRequestBodyTimeout))
	p.setAbort(func() { _ = rc.SetReadDeadline(time.Unix(1, 0)) })
	if !p.current() {
		// The session ended or left before the abort was in place.
		p.abortBody()
	}
	err := s.collect(body, io.LimitReader(r.Body, limit+1))
	p.setAbort(nil)
	_ = rc.SetReadDeadline(time.Time{})
	if errors.Is(err, os.ErrDeadlineExceeded) && p.current() {
		s.srv.count.limits[limitBodyTime].Add(1)
		return errBodyTimeout
	}
	if int64(len(body.data)) > limit || errors.As(err, new(*http.MaxBytesError)) {
		s.noteTooLarge()
		return errBodyTooLarge
	}
	if malformed(r, err) && p.current() {
		return errMalformedBody
	}
	if err == nil && !r.ProtoAtLeast(1, 1) && chunked(body.data) {
		return errChunksAsBody
	}
	return err
}

// chunked reports whether a body begins with the whole chunked form of one. An HTTP/1.0 request with Content-Length and
// Transfer-Encoding brings it here, since net/http removes the latter; taken for packets it would be lost.
func chunked(data []byte) bool {
	// Few packets begin like a chunk's size, and the reader below is not free.
	rest := bytes.TrimLeft(data, "0123456789abcdefABCDEF")
	if len(rest) == 0 || len(rest) == len(data) || bytes.IndexByte([]byte("\r; \t"), rest[0]) < 0 {
		return false
	}
	_, err := io.Copy(io.Discard, httputil.NewChunkedReader(bytes.NewReader(data)))
	return err == nil
}

// malformed reports whether a body could not be read because of what the client has sent, such as chunks of no form: net/http
// has no type for these errors. Otherwise the connection has gone, and nobody would read an answer.
func malformed(r *http.Request, err error) bool {
	return err != nil && r.ProtoMajor == 1 && !errors.Is(err, ErrInputTotal) && !errors.As(err, new(*bodyError)) &&
		!errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.ErrClosedPipe) && !errors.As(err, new(net.Error))
}

// collect reads r to its end. Memory is charged before it is taken.
func (s *Session) collect(body *postBody, r io.Reader) error {
	small := 0
	for {
		if have := cap(body.data); len(body.data) == have {
			if !s.HoldInput(int64(have)) {
				return ErrInputTotal
			}
			body.data = append(make([]byte, 0, 2*have), body.data...)
		}
		n, err := r.Read(body.data[len(body.data):cap(body.data)])
		body.data = body.data[:len(body.data)+n]
		if n > 0 && n < smallPiece && len(body.data) < cap(body.data) {
			if small++; small > s.srv.cfg.MaxBufferedChunks {
				s.srv.count.limits[limitBodyChunks].Add(1)
				return errTooManyChunks
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (p *polling) setAbort(abort func()) {
	p.bodyMu.Lock()
	defer p.bodyMu.Unlock()
	p.abort = abort
}

// abortBody cuts a POST whose body is still coming: its session has ended or left polling.
func (p *polling) abortBody() {
	p.bodyMu.Lock()
	defer p.bodyMu.Unlock()
	if p.abort != nil {
		p.abort()
		p.abort = nil
	}
}

func (s *Session) noteTooLarge() {
	s.srv.count.limits[limitBodySize].Add(1)
	s.srv.warnTooLarge("polling request too large", s.id)
}

// warnTooLarge logs what would otherwise fail silently; of the session's id it shows the beginning: whoever knows all of it can poll in
// the client's place.
func (srv *Server) warnTooLarge(what, sid string) {
	if srv.warnedTooLarge.Pass(warnInterval) {
		srv.cfg.Logger.Warn(what, "sid", sid[:min(len(sid), 12)], "limit", srv.cfg.MaxHTTPBufferSize)
	}
}

// deliverPost handles the packets of a body up to a close packet, unless the session has left polling or ended meanwhile.
func (s *Session) deliverPost(p *polling, packets iter.Seq2[byte, []byte]) (closed bool, err error) {
	s.mu.Lock()
	if !p.currentLocked() {
		s.mu.Unlock()
		return false, errNotDelivered
	}
	s.delivering = true
	p.posts++
	s.mu.Unlock()
	for kind, data := range packets {
		s.awaitResume()
		if kind == packetClose {
			return true, nil
		}
		s.receive(p, kind, data)
		if s.isClosed() {
			return false, nil
		}
	}
	return false, nil
}

// endPost lets the next POST in, and an upgrade that waits for this one.
func (s *Session) endPost(p *polling) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.posting, s.delivering = false, false
	s.upgrade.noteDeliveredLocked()
}
