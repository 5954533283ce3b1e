package engine

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/internal/timerwheel"
)

// pollCloseTimeout is how long an orderly close waits for a poll to carry the close packet.
const pollCloseTimeout = 30 * time.Second

// polling is the transport of a session that uses HTTP requests: GET requests wait for messages, POST requests bring
// them. At most one of each may be open at a time.
type polling struct {
	// Static after construction.
	s       *Session
	framing *payloadFraming

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

// current reports whether p is still the transport of a live session.
func (p *polling) current() bool {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.currentLocked()
}

func (p *polling) currentLocked() bool { return p.s.poll == p && p.s.state != stateClosed }

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
	p := &polling{s: s, framing: payloads4}
	s.poll = p
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
	p.write(w, r, &body, true)
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
		p.write(w, r, body, false)
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
	body.list = s.out.take()
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
