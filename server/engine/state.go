package engine

import (
	"time"
)

// What sessions keep as long as they live has a budget too, Options.StateTotal, and so has their number,
// Options.MaxSessions. When either is used up, room is made in this order:
//
//  1. Sessions end from which nothing has come in a second or more: those with most and oldest first.
//  2. Sessions end that keep far more than the others: those with most first.
//  3. What would be added is refused: a new session with 503, anything else as KeepState's caller decides.

const (
	// sessionCost is what a session counts besides its handshake: itself, its connection and its place in the tables.
	sessionCost = 3 << 10
	// silentTime is how long a new session may take to its first packet before it can be ended for others.
	silentTime = time.Second
	// largeState is what a session may keep that is never ended for keeping more than others.
	largeState = 64 << 10
	// silentRank puts silent sessions in front of all others, whatever those keep.
	silentRank = 1 << 50
)

// KeepState charges n bytes that are kept for the session until ReleaseState gives them back or the session ends. It
// reports false, and charges nothing, when Options.StateTotal has no room for them. It may end other sessions, see there. A
// session that has ended is not charged.
func (s *Session) KeepState(n int64) bool {
	p := &s.srv.state
	if p.charge(&s.kept, n) || s.kept.closed() {
		return true
	}
	s.srv.endLargest(n)
	if p.charge(&s.kept, n) || s.kept.closed() {
		return true
	}
	s.srv.count.limits[limitStateTotal].Add(1)
	return false
}

// ReleaseState ends the charge of n bytes.
func (s *Session) ReleaseState(n int64) { s.srv.state.credit(&s.kept, n) }

// endLargest makes room for n bytes of state.
func (srv *Server) endLargest(n int64) {
	p := &srv.state
	others := max(1, srv.live.Load()-1)
	victims := p.room.choose(srv, func() int64 { return p.excess(n) }, func(s *Session) float64 {
		own := s.kept.held()
		switch age := s.silence(); {
		case age > 0:
			return silentRank * float64(own) * age.Seconds()
		case own > max(largeState, 2*(p.bytes.Load()-own)/others):
			return float64(own)
		}
		return 0
	}, func(s *Session) int64 { return p.close(&s.kept) })
	srv.endFor(victims, ErrStateTotal)
}

// endSilent brings the server back under its number of sessions, as far as there are silent ones.
func (srv *Server) endSilent() {
	limit := int64(srv.cfg.MaxSessions)
	victims := srv.room.choose(srv, func() int64 {
		if n := srv.live.Load(); n > limit {
			return n - limit + limit/8
		}
		return 0
	}, func(s *Session) float64 {
		return float64(s.kept.held()) * s.silence().Seconds()
	}, func(s *Session) int64 {
		srv.state.close(&s.kept) // so that it is not chosen again
		return 1
	})
	srv.endFor(victims, ErrMaxSessions)
}

// silence is how long ago a session was opened from which nothing has come; 0 if something has, or could not yet.
func (s *Session) silence() time.Duration {
	s.mu.Lock()
	spoken := s.spoken
	s.mu.Unlock()
	if age := time.Since(s.handshake.Time()); !spoken && age >= silentTime {
		return age
	}
	return 0
}

// endFor ends sessions to make room for others.
func (srv *Server) endFor(victims []*Session, err error) {
	for _, s := range victims {
		srv.count.limits[limitMadeRoom].Add(1)
		s.finish(&ending{reason: ReasonTransportError, err: err, quiet: true})
	}
	if len(victims) == 0 {
		return
	}
	if held, ok := srv.warnedState.Pass(warnInterval); ok {
		srv.cfg.Logger.Warn("sessions ended to make room for others", "ended", len(victims), "cause", err, "notLogged", held)
	}
}

// admit makes room for a new session and its handshake, or refuses the request. leave gives back what it took.
func (srv *Server) admit(s *Session) bool {
	if srv.live.Add(1) > int64(srv.cfg.MaxSessions) {
		srv.endSilent()
	}
	if srv.live.Load() > int64(srv.cfg.MaxSessions) {
		srv.count.limits[limitSessions].Add(1)
	} else if s.KeepState(sessionCost + int64(len(s.handshake.raw))) {
		return true
	}
	srv.live.Add(-1)
	srv.count.unadmitted.Add(1)
	if held, ok := srv.warnedState.Pass(warnInterval); ok {
		srv.cfg.Logger.Warn("new sessions are refused: there is no room for more",
			"sessions", srv.live.Load(), "state", srv.state.bytes.Load(), "limit", srv.state.limit, "notLogged", held)
	}
	return false
}

// leave gives back what admit took.
func (s *Session) leave() {
	s.srv.state.close(&s.kept)
	s.srv.live.Add(-1)
}
