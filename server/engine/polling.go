package engine

import (
	"context"
	"errors"
	"maps"
	"net/http"
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
	base64  bool // the client asked for bodies without binary

	posts uint32 // so far; owned by the POST that is being delivered

	// Guarded by the session's lock.
	get         *parkedGET
	posting     bool // a POST is open
	shouldClose bool // the next GET gets a close packet
	closeTimer  timerwheel.Entry
	last        transit
	hold        *hold // while the session is young

	bodyMu sync.Mutex
	// Guarded by bodyMu: makes the read of a POST body that is under way fail.
	abort func()
}

// transit is the last large body that was handed to the HTTP server, and with it to the kernel, of which nothing more is heard
// until the client's next poll.
type transit struct {
	bytes int
	since int64 // see monotonic; 0: there was none
}

const (
	// slowLink is how many bytes a second a client that is not taken for stalled fetches at least, and maxTransit what the
	// kernels on both sides hold at most.
	slowLink   = 128 << 10
	maxTransit = 8 << 20
)

// inFlightLocked estimates: the body gets through at the speed of a slow link.
func (p *polling) inFlightLocked() int {
	if p.last.since == 0 {
		return 0
	}
	taken := time.Duration(monotonic()-p.last.since).Seconds() * slowLink
	return max(0, p.last.bytes-int(taken))
}

// handedOn notes that a body of some length has been written.
func (p *polling) handedOn(length int) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	p.last = transit{min(length, maxTransit), monotonic()}
}

// parkedGET is a poll that waits for something to send. Whoever takes it out of polling.get decides its answer.
type parkedGET struct {
	// Static after construction.
	p     *polling
	ready chan struct{} // capacity 1
	at    int64         // when it arrived, 0 if nobody knows

	// Guarded by the session's lock.
	conn  *pollConn // nil: cannot be parked, or is
	timer timerwheel.Entry
	due   bool  // the connection is to be parked
	seat  *seat // nil: a goroutine waits

	header http.Header // what was set before the connection was parked
	// Written before ready by whoever took it out.
	answer pollBody
	late   bool // it arrived after what ended the transport, and is refused
	moved  bool // the session has moved to another server
}

// pollBody is the content of an answer: queued messages, then packets of the protocol.
type pollBody struct {
	list  messages
	extra [2]*Message
}

// wake has the poll look for its answer.
func (g *parkedGET) wake() {
	if g.seat != nil {
		g.seat.resume()
		return
	}
	select {
	case g.ready <- struct{}{}:
	default:
	}
}

// Expired parks the connection of a poll that has waited for long. It runs on the wheel's goroutine.
func (g *parkedGET) Expired(*timerwheel.Entry) {
	g.p.s.mu.Lock()
	defer g.p.s.mu.Unlock()
	if g.p.get == g {
		g.due = true
		g.wake()
	}
}

// parkLocked lets go of the goroutine and of all that net/http keeps for it, and reports whether it did.
func (g *parkedGET) parkLocked(w http.ResponseWriter, r *http.Request) bool {
	conn := g.conn
	g.conn = nil
	if len(w.Header()) > 0 {
		g.header = w.Header().Clone()
	}
	g.seat = conn.park(w, r, g)
	return g.seat != nil
}

// resume implements parkedRequest.
func (g *parkedGET) resume(w http.ResponseWriter, r *http.Request) {
	maps.Copy(w.Header(), g.header)
	s := g.p.s
	s.mu.Lock()
	g.seat = nil
	g.wake()
	s.mu.Unlock()
	g.serve(w, r)
}

// lost implements parkedRequest.
func (g *parkedGET) lost() { g.gone() }

// gone ends the session, unless the poll has an answer that can no longer be sent.
func (g *parkedGET) gone() {
	p := g.p
	p.s.mu.Lock()
	waits := p.get == g
	if waits {
		p.get = nil
	}
	p.s.mu.Unlock()
	if waits {
		p.s.fail(errPollGone)
	}
}

var pollingKind = transportKind{name: TransportPolling, fetched: true, upgrades: true, serve: servePolling}

func (p *polling) kind() *transportKind { return &pollingKind }

func (p *polling) readyLocked() bool { return p.get != nil }

// wakeLocked lets the parked poll, if any, take what is queued; the next one takes it otherwise.
func (p *polling) wakeLocked() (flush bool) {
	switch {
	case p.get != nil:
		p.get.wake()
	case p.s.state == stateClosing && p.s.out.empty():
		p.awaitCloseLocked()
	}
	return false
}

// flush has nothing to do: the goroutines of the polls write.
func (p *polling) flush(b *batch) *batch { return b }

// continueWith leaves it to Session.Continue: net/http waits for the goroutine of a POST.
func (p *polling) continueWith(continuation) bool { return false }

// arrival implements transport.
func (p *polling) arrival() uint32 { return p.posts }

// releaseLocked ends the parked poll, so that the client can leave.
func (p *polling) releaseLocked() { p.answerLocked(noopPacket) }

// answerLocked ends the parked poll, if any, with one packet.
func (p *polling) answerLocked(m *Message) {
	if g := p.get; g != nil {
		p.get = nil
		g.answer.extra[0] = m
		g.wake()
	}
}

// closeLocked ends the parked poll: packets that were already meant for it still go out, otherwise it gets a close packet.
func (p *polling) closeLocked(e *ending, pending messages) (rest messages, more bool) {
	p.s.srv.wheel.Cancel(&p.closeTimer)
	p.endHoldLocked()
	g := p.get
	switch {
	case g == nil:
	case e.moved:
		p.get, g.moved = nil, true
		g.wake()
	case e.at != 0 && g.at > e.at:
		p.get, g.late = nil, true
		g.wake()
	case !pending.empty():
		p.get = nil
		g.answer.list = pending.cut(p.s.srv.cfg.MaxPollPackets)
		if !pending.empty() {
			p.s.srv.count.limits[limitPollPackets].Add(1)
		}
		g.wake()
		return pending, true
	case e.quiet:
		p.answerLocked(noopPacket)
	default:
		p.answerLocked(closePacket)
	}
	return pending, true
}

// closed cuts a POST whose body is still coming.
func (p *polling) closed(*ending) { p.abortBody() }

// current reports whether p is still the transport of a live session.
func (p *polling) current() bool {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.currentLocked()
}

func (p *polling) currentLocked() bool { return p.s.transport == p && p.s.state != stateClosed }

// awaitCloseLocked leaves the close packet to the next poll.
func (p *polling) awaitCloseLocked() {
	p.shouldClose = true
	p.s.srv.wheel.Set(&p.closeTimer, (*pollCloseTimer)(p), pollCloseTimeout)
}

// pollCloseTimer ends an orderly close for which no poll came.
type pollCloseTimer polling

// Expired runs on the wheel's goroutine.
func (t *pollCloseTimer) Expired(*timerwheel.Entry) {
	t.s.finishClosing()
}

// servePolling answers a verified request.
func servePolling(srv *Server, w http.ResponseWriter, r *http.Request, q engineQuery, s *Session) {
	switch {
	case s == nil:
		srv.openPolling(w, r, &q)
	case r.Method == http.MethodGet:
		s.servePoll(w, r, q.turn)
	case r.Method == http.MethodPost:
		s.servePost(w, r, q.turn)
	default:
		answerEmpty(w, http.StatusInternalServerError)
	}
}

func newPolling(s *Session, rev *revision, base64 bool) *polling {
	if base64 {
		return &polling{s: s, framing: rev.plain, base64: true}
	}
	return &polling{s: s, framing: rev.payloads}
}

// openPolling answers the first request of a session.
func (srv *Server) openPolling(w http.ResponseWriter, r *http.Request, q *engineQuery) {
	rev, e := srv.verifyProtocol(r, q)
	if e != nil {
		srv.refuse(w, r, e)
		return
	}
	s, ok := srv.newSession(w, r, rev)
	if !ok {
		return
	}
	p := newPolling(s, rev, q.b64 != "")
	s.transport = p
	// As in the reference, what the application sends while it accepts the session goes out with the next poll.
	open := srv.openPacket(s)
	body := pollBody{extra: [2]*Message{newPacket(open[0], []byte(open[1:]), true), srv.cfg.InitialPacket}}
	switch srv.open(s) {
	case nil:
	case errRefusing:
		srv.count.turnedAway.Add(1)
		Unavailable(w)
		return
	default:
		answerEmpty(w, http.StatusServiceUnavailable)
		return
	}
	p.beginHold(r)
	if srv.cfg.cookie != nil {
		w.Header().Set("Set-Cookie", srv.cfg.cookie.line(s.id))
	}
	p.write(w, r, &body, true)
}

// parked reports whether a poll waits.
func (p *polling) parked() bool {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return p.get != nil
}

// pollingLocked returns the session's transport if it is this one and the session lives.
func (s *Session) pollingLocked() *polling {
	p, _ := s.transport.(*polling)
	if s.state == stateClosed {
		return nil
	}
	return p
}

// servePoll answers a GET with what is queued, or parks it until there is something.
func (s *Session) servePoll(w http.ResponseWriter, r *http.Request, turn *arrival) {
	var conn *pollConn
	if s.srv.cfg.ReadMode != ReadGoroutine {
		conn = parkableConn(w, r)
	}
	s.mu.Lock()
	p := s.pollingLocked()
	switch {
	case p == nil:
		s.mu.Unlock()
		inFlight.end(turn)
		s.refuseEnded(w, r)
		return
	case p.get != nil:
		s.mu.Unlock()
		s.fail(errPollOverlap)
		answerEmpty(w, http.StatusBadRequest)
		return
	}
	g := &parkedGET{p: p, ready: make(chan struct{}, 1), at: turn.time(), conn: conn}
	p.get = g
	switch {
	case !s.out.empty() || p.shouldClose:
		g.wake()
	case conn != nil:
		s.srv.wheel.Set(&g.timer, g, conn.parkTime())
	}
	s.mu.Unlock()
	inFlight.end(turn)
	g.serve(w, r)
	if conn != nil {
		s.srv.wheel.Cancel(&g.timer)
	}
}

// serve waits for the answer and writes it, unless the connection is parked or the client has gone.
func (g *parkedGET) serve(w http.ResponseWriter, r *http.Request) {
	p, s := g.p, g.p.s
	// The HTTP server's timeouts are not made for requests that wait.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Time{})
	_ = rc.SetWriteDeadline(time.Time{})
	switch body := p.await(w, r, g); {
	case g.moved:
		s.refuseEnded(w, r)
	case g.late:
		s.refuseLate(w, r)
	case body != nil:
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
		"name": "TRANSPORT_MISMATCH", "transport": TransportPolling, "previousTransport": s.Transport(),
	}))
}

// await waits until g has an answer. It returns nil when the client has gone, or the connection is parked. When a middleware's
// deadline for the request has passed the client is asked to come back, and nothing else happens to it.
func (p *polling) await(w http.ResponseWriter, r *http.Request, g *parkedGET) *pollBody {
	s, ctx := p.s, r.Context()
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
		case gone && errors.Is(ctx.Err(), context.DeadlineExceeded):
			p.releaseLocked()
			s.mu.Unlock()
			return &g.answer
		case gone:
			s.mu.Unlock()
			g.gone()
			return nil
		case s.out.empty() && !p.shouldClose:
			parked := g.due && g.conn != nil && g.parkLocked(w, r)
			s.mu.Unlock()
			if parked {
				return nil
			}
			continue
		}
		p.get = nil
		end := p.takeLocked(&g.answer)
		s.mu.Unlock()
		if end {
			s.finishClosing()
		}
		return &g.answer
	}
}

// takeLocked fills body with what is queued. It reports whether the session ends with it: an orderly close appends its
// packet to the poll after the one that took the last messages, as in the reference; a client that should come back needs none.
func (p *polling) takeLocked(body *pollBody) (end bool) {
	body.list = p.s.takeSomeLocked(p, p.s.srv.cfg.MaxPollPackets)
	if !p.s.out.empty() {
		p.s.srv.count.limits[limitPollPackets].Add(1)
		return false
	}
	if p.shouldClose {
		body.extra = [2]*Message{closePacket}
		if body.list.empty() {
			body.extra = [2]*Message{noopPacket, closePacket}
		}
		return true
	}
	if p.s.state == stateClosing && !p.s.away {
		p.awaitCloseLocked()
	}
	return p.s.state == stateClosing && p.s.away
}
