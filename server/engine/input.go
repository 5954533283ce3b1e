package engine

import (
	"math"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

// The budget for input has three zones. Below a quarter of Options.InputTotal nobody is restricted. Above it a layer that
// can keep clients waiting should do so with those that hold more than InputShare. Above half of it those that hold more
// end, so that who hoards does not end the others.

// HoldInput charges n bytes of input that are kept because they are not complete or not handled yet, until ReleaseInput
// gives them back. It reports false when Options.InputTotal has no room for them or the session's Observer refuses; then
// nothing is charged and the session ends, with ErrInputTotal or the Observer's error. It is for whatever a layer above keeps beyond a Handler's call.
func (s *Session) HoldInput(n int64) bool {
	if s.observer != nil && !s.mayHold(n) {
		return false
	}
	limit := s.srv.cfg.InputTotal
	total, own := s.srv.inputBytes.Add(n), s.input.Add(n)
	if total <= limit/2 || total <= limit && own <= s.srv.inputShare() {
		return true
	}
	s.ReleaseInput(n)
	s.srv.count.limits[limitInputTotal].Add(1)
	if s.srv.warnedInput.Pass(warnInterval) {
		s.srv.cfg.Logger.Warn("unfinished input of the clients exceeds its budget", "sid", s.id,
			"held", own, "total", total, "limit", limit)
	}
	s.finish(&ending{reason: ReasonTransportError, err: ErrInputTotal, code: websocket.CloseTryAgainLater})
	return false
}

// ReleaseInput ends the charge of n bytes.
func (s *Session) ReleaseInput(n int64) {
	s.input.Add(-n)
	s.srv.inputBytes.Add(-n)
	if s.observer != nil {
		(*s.observer).Release(n)
	}
}

// InputShare returns how much input the session should hold at the moment: any amount while all sessions together hold no
// more than a quarter of Options.InputTotal, and then its share of half of it.
func (s *Session) InputShare() int64 {
	if s.srv.inputBytes.Load() <= s.srv.cfg.InputTotal/4 {
		return math.MaxInt64
	}
	return s.srv.inputShare()
}

func (srv *Server) inputShare() int64 {
	return srv.cfg.InputTotal / 2 / max(1, srv.count.live(""))
}
