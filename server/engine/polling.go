package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/internal/timerwheel"
)

const (
	// pollCloseTimeout is how long an orderly close waits for a poll to carry the close packet.
	pollCloseTimeout = 30 * time.Second
	// pollWriteTimeout bounds the write of one answer.
	pollWriteTimeout = 30 * time.Second
	// bodyTimeout plus the time for the largest body at bodyRate bytes per second bounds the read of a POST body.
	bodyTimeout = 30 * time.Second
	bodyRate    = 16 << 10
	// warnInterval is the least time between two warnings about oversized input.
	warnInterval = 10 * time.Second
	// maxPooledBody is the largest body buffer that goes back to the pool.
	maxPooledBody = 64 << 10
)

// polling is the transport of a session that uses HTTP requests: GET requests wait for messages, POST requests bring
// them. At most one of each may be open at a time.
type polling struct {
	// Static after construction.
	s *Session

	// Guarded by the session's lock.
	get         *parkedGET
	posting     bool // a POST is open
	delivering  bool // the packets of the POST are being handled
	shouldClose bool // the next GET gets a close packet
	closeTimer  timerwheel.Entry

	bodyMu sync.Mutex
	// Guarded by bodyMu: makes the read of a POST body that is under way fail.
	abort func()
}

// parkedGET is a poll that waits for something to send. Whoever takes it out of polling.get decides its answer.
type parkedGET struct {
	ready  chan struct{} // capacity 1
	answer pollBody      // written before ready by whoever took it out
}

// pollBody is the content of an answer: queued messages, then packets of the protocol.
type pollBody struct {
	list  messages
	extra [2]*Message
}

func (g *parkedGET) wake() {
	select {
	case g.ready <- struct{}{}:
	default:
	}
}

// wakeLocked lets the parked poll, if any, take what is queued.
func (p *polling) wakeLocked() {
	if p.get != nil {
		p.get.wake()
	}
}

// answerLocked ends the parked poll, if any, with one packet.
func (p *polling) answerLocked(m *Message) {
	if g := p.get; g != nil {
		p.get = nil
		g.answer.extra[0] = m
		g.wake()
	}
}

// endLocked ends the parked poll of a session that has ended: messages that were already meant for it still go out,
// otherwise it gets a close packet. It returns the messages that remain.
func (p *polling) endLocked(s *Session, e *ending, pending messages) messages {
	s.srv.wheel.Cancel(&p.closeTimer)
	g := p.get
	switch {
	case g == nil:
		return pending
	case !pending.empty():
		p.get = nil
		g.answer.list = pending
		g.wake()
		return messages{}
	case e.pollAnswer != nil:
		p.answerLocked(e.pollAnswer)
	default:
		p.answerLocked(closePacket)
	}
	return pending
}

// awaitCloseLocked leaves the close packet to the next poll.
func (p *polling) awaitCloseLocked(s *Session) {
	p.shouldClose = true
	s.srv.wheel.Set(&p.closeTimer, (*pollCloseTimer)(p), pollCloseTimeout)
}

// pollCloseTimer ends an orderly close for which no poll came.
type pollCloseTimer polling

// Expired runs on the wheel's goroutine.
func (t *pollCloseTimer) Expired(*timerwheel.Entry) {
	t.s.finish(&ending{reason: ReasonForcedClose})
}

// openPolling answers the first request of a session.
func (srv *Server) openPolling(w http.ResponseWriter, r *http.Request, q *engineQuery) {
	if e := verifyProtocol(r, q); e != nil {
		srv.refuse(w, r, e)
		return
	}
	s, ok := srv.newSession(w, r)
	if !ok {
		return
	}
	s.poll = &polling{s: s}
	// As in the reference, what the application sends while it accepts the session goes out with the next poll.
	open := srv.openPacket(s.id, true)
	body := pollBody{extra: [2]*Message{newPacket(open[0], []byte(open[1:]), true), srv.cfg.InitialPacket}}
	if !srv.open(s) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if srv.cfg.cookie != nil {
		w.Header().Set("Set-Cookie", srv.cfg.cookie.line(s.id))
	}
	s.writePoll(w, r, &body, true)
}

// openPacket is the Engine.IO handshake; the order of the keys is the reference's.
func (srv *Server) openPacket(id string, polling bool) string {
	cfg := srv.cfg
	upgrades := ""
	if polling && cfg.ws && !cfg.DisableUpgrades {
		upgrades = `"` + TransportWebSocket + `"`
	}
	return string(packetOpen) + `{"sid":"` + id + `","upgrades":[` + upgrades +
		`],"pingInterval":` + strconv.FormatInt(cfg.PingInterval.Milliseconds(), 10) +
		`,"pingTimeout":` + strconv.FormatInt(cfg.PingTimeout.Milliseconds(), 10) +
		`,"maxPayload":` + strconv.FormatInt(cfg.MaxHTTPBufferSize, 10) + `}`
}

// servePolling answers a verified request of a session.
func (s *Session) servePolling(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet:
		s.servePoll(w, r)
	case http.MethodPost:
		s.servePost(w, r)
	default:
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// servePoll answers a GET with what is queued, or parks it until there is something.
func (s *Session) servePoll(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	p := s.poll
	switch {
	case s.state == stateClosed || p == nil:
		s.mu.Unlock()
		s.refuseLate(w, r)
		return
	case p.get != nil:
		s.mu.Unlock()
		s.fail(errPollOverlap)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	g := &parkedGET{ready: make(chan struct{}, 1)}
	p.get = g
	if !s.out.empty() || p.shouldClose {
		g.wake()
	}
	s.mu.Unlock()

	// The HTTP server's timeouts are not made for requests that wait.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Time{})
	if body := s.awaitPoll(r.Context(), p, g); body != nil {
		s.writePoll(w, r, body, false)
	}
}

// refuseLate answers a request that lost a race with the end or the upgrade of its session.
func (s *Session) refuseLate(w http.ResponseWriter, r *http.Request) {
	if s.isClosed() {
		s.srv.refuse(w, r, newConnectionError(r, CodeUnknownSession, map[string]any{"sid": s.id}))
		return
	}
	s.srv.refuse(w, r, newConnectionError(r, CodeBadRequest, map[string]any{
		"name": "TRANSPORT_MISMATCH", "transport": TransportPolling, "previousTransport": TransportWebSocket,
	}))
}

// awaitPoll waits until g has an answer. It returns nil when the client has gone.
func (s *Session) awaitPoll(ctx context.Context, p *polling, g *parkedGET) *pollBody {
	for {
		gone := false
		select {
		case <-g.ready:
		case <-ctx.Done():
			gone = true
		}
		s.mu.Lock()
		switch {
		case p.get != g:
			s.mu.Unlock()
			return &g.answer
		case gone:
			p.get = nil
			s.mu.Unlock()
			s.fail(errPollGone)
			return nil
		case s.out.empty() && !p.shouldClose:
			s.mu.Unlock()
			continue
		}
		p.get = nil
		end := p.takeLocked(s, &g.answer)
		s.mu.Unlock()
		if end {
			s.finish(&ending{reason: ReasonForcedClose})
		}
		return &g.answer
	}
}

// takeLocked fills body with what is queued. It reports whether the session ends with it: an orderly close appends its
// packet to the poll after the one that took the last messages, as in the reference.
func (p *polling) takeLocked(s *Session, body *pollBody) (end bool) {
	body.list = s.out.takeAll()
	if p.shouldClose {
		body.extra = [2]*Message{closePacket}
		if body.list.empty() {
			body.extra = [2]*Message{noopPacket, closePacket}
		}
		return true
	}
	if s.state == stateClosing {
		p.awaitCloseLocked(s)
	}
	return false
}

// pieces returns the parts of the payload and whether it may be compressed.
func (b *pollBody) pieces() (pieces [][]byte, packets int, compress bool) {
	add := func(m *Message) {
		if m != nil {
			pieces = append(pieces, m.pollingPiece())
			packets += m.packets()
			compress = compress || !m.noCompress
		}
	}
	add(b.list.first)
	for _, m := range b.list.more() {
		add(m)
	}
	for _, m := range b.extra {
		add(m)
	}
	return pieces, packets, compress
}

// writePoll writes the answer of a poll.
func (s *Session) writePoll(w http.ResponseWriter, r *http.Request, body *pollBody, initial bool) {
	srv := s.srv
	pieces, packets, compress := body.pieces()
	body.list.release()
	length := len(pieces) - 1
	for _, piece := range pieces {
		length += len(piece)
	}
	encoding := ""
	if c := &srv.cfg.compression; compress && !c.Disabled && length >= c.Threshold {
		encoding = negotiateEncoding(r.Header.Values("Accept-Encoding"))
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
	} else {
		h.Set("Content-Length", strconv.Itoa(length))
	}
	srv.setAnswerHeaders(h, r, initial)

	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(pollWriteTimeout))
	if encoding != "" {
		writeCompressed(w, encoding, srv.cfg.compression.Level, pieces)
	} else {
		_ = writePieces(w, pieces)
	}
	// Flushed here, so that the deadline covers the write and does not outlive it.
	_ = rc.Flush()
	_ = rc.SetWriteDeadline(time.Time{})
	s.shard.traffic.out(packets, length)
}

func writePieces(w io.Writer, pieces [][]byte) error {
	for i, piece := range pieces {
		if i > 0 {
			if _, err := w.Write([]byte{separator}); err != nil {
				return err
			}
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

// setAnswerHeaders completes the headers of an answer to a GET or POST.
func (srv *Server) setAnswerHeaders(h http.Header, r *http.Request, initial bool) {
	if ua := r.UserAgent(); strings.Contains(ua, ";MSIE") || strings.Contains(ua, "Trident/") {
		// The old Internet Explorer's filter took payloads for scripts.
		h.Set("X-XSS-Protection", "0")
	}
	h.Set("Cache-Control", "no-store")
	srv.callHeaderHooks(h, r, initial)
}

func (srv *Server) callHeaderHooks(h http.Header, r *http.Request, initial bool) {
	if initial && srv.cfg.OnInitialHeaders != nil {
		srv.cfg.OnInitialHeaders(h, r)
	}
	if srv.cfg.OnHeaders != nil {
		srv.cfg.OnHeaders(h, r)
	}
}

var bodyPool = sync.Pool{New: func() any { return &bytes.Buffer{} }}

// servePost takes the packets of a POST.
func (s *Session) servePost(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	p := s.poll
	switch {
	case s.state == stateClosed || p == nil:
		s.mu.Unlock()
		s.refuseLate(w, r)
		return
	case p.posting:
		s.mu.Unlock()
		s.fail(errDataOverlap)
		w.WriteHeader(http.StatusBadRequest)
		return
	case r.Header.Get("Content-Type") == "application/octet-stream":
		// Binary bodies belong to revision 3.
		s.mu.Unlock()
		s.fail(errInvalidContent)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.posting = true
	s.mu.Unlock()

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
	_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout + time.Duration(limit/bodyRate)*time.Second))
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

// current reports whether p is still the transport of a live session.
func (p *polling) current() bool {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.currentLocked()
}

func (p *polling) currentLocked() bool { return p.s.poll == p && p.s.state != stateClosed }

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
