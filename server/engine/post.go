package engine

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// warnInterval is the least time between two warnings about oversized input.
	warnInterval = 10 * time.Second
	// maxPooledBody is the largest body buffer that goes back to the pool.
	maxPooledBody = 64 << 10
)

var bodyPool = sync.Pool{New: func() any { return &bytes.Buffer{} }}

// servePost takes the packets of a POST.
func (s *Session) servePost(w http.ResponseWriter, r *http.Request) {
	p := s.beginPost(w, r)
	if p == nil {
		return
	}
	body := bodyPool.Get().(*bytes.Buffer)
	err := s.readBody(w, r, p, body)
	if err == nil {
		s.deliverPost(p, validUTF8(body.Bytes()))
	}
	if body.Cap() <= maxPooledBody {
		body.Reset()
		bodyPool.Put(body)
	}
	s.endPost(p)
	switch {
	case errors.Is(err, errBodyTooLarge):
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	case err != nil:
		if p.current() {
			s.fail(errDataGone)
		}
		cut(w)
	default:
		h := w.Header()
		// Not text/plain: some browsers offered the answer as a download.
		h.Set("Content-Type", "text/html")
		h.Set("Content-Length", "2")
		s.srv.setAnswerHeaders(h, r, false)
		_, _ = io.WriteString(w, "ok")
	}
}

// beginPost returns the transport that takes the request, after which no other POST is let in until endPost. It returns
// nil after it has refused the request.
func (s *Session) beginPost(w http.ResponseWriter, r *http.Request) *polling {
	s.mu.Lock()
	p := s.poll
	if s.state == stateClosed || p == nil {
		s.mu.Unlock()
		s.refuseLate(w, r)
		return nil
	}
	var violation error
	switch {
	case p.posting:
		violation = errDataOverlap
	case r.Header.Get("Content-Type") == "application/octet-stream":
		// Binary bodies belong to revision 3.
		violation = errInvalidContent
	default:
		p.posting = true
	}
	s.mu.Unlock()
	if violation != nil {
		s.fail(violation)
		w.WriteHeader(http.StatusBadRequest)
		return nil
	}
	return p
}

// cut ends a request without an answer, where possible, as the reference does when a body is not complete.
func cut(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_ = conn.Close()
}

var errBodyTooLarge = errors.New("request body too large")

// readBody reads the body into buf, no further than one byte beyond the limit.
func (s *Session) readBody(w http.ResponseWriter, r *http.Request, p *polling, buf *bytes.Buffer) error {
	limit := s.srv.cfg.MaxHTTPBufferSize
	if r.ContentLength > limit {
		s.noteTooLarge()
		return errBodyTooLarge
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(transferTime(limit)))
	p.setAbort(func() { _ = rc.SetReadDeadline(time.Unix(1, 0)) })
	if !p.current() {
		// The session ended or left before the abort was in place.
		p.abortBody()
	}
	n, err := buf.ReadFrom(io.LimitReader(r.Body, limit+1))
	p.setAbort(nil)
	_ = rc.SetReadDeadline(time.Time{})
	if err != nil {
		return err
	}
	if n > limit {
		s.noteTooLarge()
		return errBodyTooLarge
	}
	return nil
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

// warnTooLarge logs what would otherwise fail silently, but not more often than a client can make it useful.
func (srv *Server) warnTooLarge(what, sid string) {
	now, last := monotonic(), srv.warnedTooLarge.Load()
	if (last == 0 || now-last >= int64(warnInterval)) && srv.warnedTooLarge.CompareAndSwap(last, now) {
		srv.cfg.Logger.Warn(what, "sid", sid, "limit", srv.cfg.MaxHTTPBufferSize)
	}
}

// deliverPost handles the packets of a body, unless the session has left polling or ended meanwhile.
func (s *Session) deliverPost(p *polling, body []byte) {
	s.mu.Lock()
	if !p.currentLocked() {
		s.mu.Unlock()
		return
	}
	p.delivering = true
	s.mu.Unlock()
	for packet := range payloadPackets(body) {
		s.awaitResume()
		if len(packet) > 0 && packet[0] == packetClose {
			s.finish(&ending{reason: ReasonTransportClose, pollAnswer: noopPacket})
			return
		}
		s.receiveText(nil, packet)
		if s.isClosed() {
			return
		}
	}
}

// endPost lets the next POST in, and an upgrade that waits for this one.
func (s *Session) endPost(p *polling) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.posting, p.delivering = false, false
	s.upgrade.noteDeliveredLocked()
}
