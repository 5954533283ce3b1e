package engine

import (
	"math"
	"time"
)

// Input that cannot be let go yet has a budget, Options.InputTotal. Below a quarter of it nobody is restricted. Above it a
// layer that can keep clients waiting should do so with those that hold more than InputShare. Beyond the whole, those end
// that have held most for longest: never one that holds no more than its share of half of the budget, since all such
// together fit in the half.

// inputGrace is added to how long input has been held, so that among messages that have just begun their size counts. In tenths of a second.
const inputGrace = 10

// HoldInput charges n bytes of input that are kept because they are not complete or not handled yet, until ReleaseInput
// gives them back. It reports false when the session has been ended to make room in Options.InputTotal, with ErrInputTotal, or
// when its Observer refuses, whose error ends it; then nothing is charged. It may end other sessions, which have held more for
// longer. It is for whatever a layer above keeps beyond a Handler's call.
func (s *Session) HoldInput(n int64) bool {
	if s.observer() != nil && !s.mayHold(n) {
		return false
	}
	srv := s.srv
	ok := srv.input.charge(&s.input, n)
	if !ok {
		srv.endHoarders(n)
		ok = srv.input.charge(&s.input, n)
	}
	switch {
	case ok:
		s.noteHolding(n)
	case !s.input.closed():
		// All the rest is held for sessions that have ended and whose input is still being handled.
		srv.endForInput(s)
	}
	if !ok && s.observer() != nil {
		s.observer().Release(n)
	}
	return ok
}

// noteHolding keeps since when a session holds input, as far as the budget is under pressure: time is not read otherwise.
func (s *Session) noteHolding(n int64) {
	srv := s.srv
	total, own := srv.input.bytes.Load(), s.input.bytes.Load()
	if quarter := srv.input.limit / 4; total > quarter {
		if total-n <= quarter {
			srv.pressed.Store(tenths())
		}
		if own == n {
			s.holding.Store(tenths())
		}
	} else if own == n && s.holding.Load() != 0 {
		s.holding.Store(0)
	}
}

// tenths is monotonic in tenths of seconds, so that it fits in a session: only differences tell something, and 0 is no time.
func tenths() uint32 { return uint32(monotonic()/int64(100*time.Millisecond)) | 1 }

// hoard ranks a session by what it holds and for how long; 0 if that is no more than its share.
func (s *Session) hoard() float64 {
	own := s.input.held()
	if own <= s.srv.inputShare() {
		return 0
	}
	since := s.holding.Load()
	if since == 0 {
		since = s.srv.pressed.Load()
	}
	return float64(own) * float64(tenths()-since+inputGrace)
}

// endHoarders makes room for n bytes of input.
func (srv *Server) endHoarders(n int64) {
	p := &srv.input
	srv.endForInput(p.room.choose(srv, func() int64 { return p.excess(n) }, (*Session).hoard,
		func(s *Session) int64 { return p.close(&s.input) })...)
}

func (srv *Server) endForInput(victims ...*Session) {
	for _, s := range victims {
		srv.count.limits[limitInputTotal].Add(1)
		s.finish(&ending{
			reason: ReasonTransportError, err: ErrInputTotal, quiet: true,
		})
	}
	if len(victims) == 0 {
		return
	}
	if held, ok := srv.warnedInput.Pass(warnInterval); ok {
		srv.cfg.Logger.Warn("unfinished input of the clients exceeds its budget", "ended", len(victims), "limit", srv.input.limit,
			"notLogged", held)
	}
}

// ReleaseInput ends the charge of n bytes.
func (s *Session) ReleaseInput(n int64) {
	s.srv.input.credit(&s.input, n)
	if s.observer() != nil {
		s.observer().Release(n)
	}
}

// InputShare returns how much input the session should hold at the moment: any amount while all sessions together hold no
// more than a quarter of Options.InputTotal, and then its share of half of it.
func (s *Session) InputShare() int64 {
	if s.srv.input.bytes.Load() <= s.srv.input.limit/4 {
		return math.MaxInt64
	}
	return s.srv.inputShare()
}

func (srv *Server) inputShare() int64 {
	return srv.input.limit / 2 / max(1, srv.count.live(""))
}
