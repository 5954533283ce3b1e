package engine

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/sockeye-io/sockeye/internal/timerwheel"
)

// A young session can move to another server: one whose client has opened it by polling, and of which nothing has been handled
// yet. Clients upgrade at once, and where requests are spread over several servers the upgrade seldom comes to the one that has
// the session. With Options.HoldYoung the first POST requests wait for a moment:
//
//  1. A server that gets the upgrade asks the one that has the session, which calls Release: the session ends there, and what
//     waits of it, a poll and a POST as a rule, is handed to Options.Elsewhere, as are its later requests.
//  2. The other server calls Adopt with the Transfer, and serves the upgrade, and what comes from Elsewhere, as its own.
//
// If no upgrade comes within the time, or it comes to the server that has the session, the requests go on.

// Transfer is what has to be known of a young session elsewhere. It has a JSON form.
type Transfer struct {
	ID       string `json:"id"`
	Protocol int    `json:"protocol"`
	Base64   bool   `json:"base64,omitempty"` // the client asked for bodies without binary
	// Request is what Handshake keeps, Opened when it came, in Unix nanoseconds.
	Request string `json:"request"`
	Opened  int64  `json:"opened"`
	Secure  bool   `json:"secure,omitempty"`
	XDomain bool   `json:"xdomain,omitempty"`
}

// hold is the wait of a young session. Whoever takes it out of polling.hold ends it, or Release.
type hold struct {
	p     *polling
	timer timerwheel.Entry
	over  chan struct{} // closed at the end
	taken bool          // Release ends it; guarded by the session's lock
}

// Expired runs on the wheel's goroutine.
func (h *hold) Expired(*timerwheel.Entry) {
	h.p.s.mu.Lock()
	defer h.p.s.mu.Unlock()
	if h.p.hold == h {
		h.p.endHoldLocked()
	}
}

// beginHold has the POST requests of a session wait, of which the client does not know yet. One with values of its request stays
// where it is.
func (p *polling) beginHold(r *http.Request) {
	s := p.s
	cfg := s.srv.cfg
	if cfg.HoldYoung == nil || cfg.upgrades[s.transport.kind()] == "[]" || s.extras != nil && s.extras.values != nil {
		return
	}
	wait := cfg.HoldYoung(r)
	if wait <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stateOpen {
		p.hold = &hold{p: p, over: make(chan struct{})}
		s.srv.wheel.Set(&p.hold.timer, p.hold, wait)
	}
}

// endHoldLocked lets the requests that wait go on here.
func (p *polling) endHoldLocked() {
	if h := p.hold; h != nil && !h.taken {
		p.hold = nil
		p.s.srv.wheel.Cancel(&h.timer)
		close(h.over)
	}
}

// awaitHold waits while the session is young. Meanwhile other requests of the session, its upgrade among them, are let in.
func (s *Session) awaitHold(r *http.Request, turn *arrival) {
	s.mu.Lock()
	var h *hold
	if p := s.pollingLocked(); p != nil {
		h = p.hold
	}
	s.mu.Unlock()
	if h == nil {
		return
	}
	inFlight.end(turn)
	select {
	case <-h.over:
	case <-r.Context().Done():
	}
}

// Release ends a young session because it goes on elsewhere, and returns what has to be known of it there; see Adopt. It
// reports false if there is no such session, or it has begun. The reason of its end is ReasonMoved.
func (srv *Server) Release(id string) (*Transfer, bool) {
	s := srv.lookup(id)
	if s == nil {
		return nil, false
	}
	h := s.takeHold()
	if h == nil {
		return nil, false
	}
	end := &ending{reason: ReasonMoved, moved: true}
	s.finish(end)
	s.mu.Lock()
	moved := s.ending == end // else something has ended it first
	s.mu.Unlock()
	close(h.over)
	if !moved {
		return nil, false
	}
	srv.count.released.Add(1)
	return &Transfer{
		ID: s.id, Protocol: s.Protocol(), Base64: h.p.base64, Request: s.handshake.raw, Opened: s.handshake.at,
		Secure: s.handshake.secure, XDomain: s.handshake.xdomain,
	}, true
}

// takeHold takes the wait of a session of which nothing has been handled; nil if it has begun.
func (s *Session) takeHold() *hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pollingLocked()
	if p == nil || p.hold == nil || p.hold.taken || s.state != stateOpen || s.upgrade != nil || s.spoken || !s.out.empty() {
		return nil
	}
	p.hold.taken = true // requests that come now wait, too
	s.srv.wheel.Cancel(&p.hold.timer)
	return p.hold
}

// refuseEnded answers a request, of which nothing has been read, for a session that has ended since it was looked up, or has moved.
func (s *Session) refuseEnded(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	moved := s.ending != nil && s.ending.moved
	s.mu.Unlock()
	if !moved || !s.srv.elsewhere(w, r, s.id) {
		s.refuseLate(w, r)
	}
}

// Adopt goes on with a session that another server has released: on polling, with the same id. While handshakes are refused it
// fails.
func (srv *Server) Adopt(t *Transfer) error {
	rev := spoken(t.Protocol)
	switch {
	case rev == nil:
		return fmt.Errorf("adopt session: protocol %d is not spoken", t.Protocol)
	case !validID(t.ID):
		return errors.New("adopt session: malformed id")
	case srv.refusing.Load():
		return fmt.Errorf("adopt session: %w", errRefusing)
	case len(t.Request) > srv.cfg.MaxHandshakeSize:
		return errors.New("adopt session: handshake is too large")
	}
	s := &Session{
		srv: srv, shard: srv.nextOfShards(), id: t.ID, protocol: uint8(rev.number), calling: true,
		handshake: Handshake{raw: t.Request, at: t.Opened, secure: t.Secure, xdomain: t.XDomain},
	}
	if !srv.admit(s) {
		return errors.New("adopt session: there is no room for more")
	}
	s.transport = newPolling(s, rev, t.Base64)
	if err := srv.openKnown(s); err != nil {
		return fmt.Errorf("adopt session: %w", err)
	}
	srv.count.adopted.Add(1)
	return nil
}

// openKnown is open for a session whose client knows it already: it is not found before it has a Handler.
func (srv *Server) openKnown(s *Session) error {
	s.observe()
	srv.count.opened.Add(1)
	srv.count.gauge(s.transport.kind()).Add(1)
	s.startHeartbeat()
	s.setHandler(srv.accept(s))
	if err := srv.register(s); err != nil {
		s.finish(&ending{reason: ReasonForcedClose, err: err})
		return err
	}
	if s.isClosed() { // perhaps before it was registered
		srv.unregister(s)
	}
	return nil
}

func validID(id string) bool {
	if len(id) != idLength {
		return false
	}
	for _, c := range id {
		if !isTagCharacter(c) {
			return false
		}
	}
	return true
}
