package engine

import (
	"time"

	"github.com/sockeye-io/sockeye/internal/timerwheel"
)

// heartbeatPhase is what the session's one timer stands for. The server pings PingInterval after the last pong and
// expects the pong within PingTimeout.
type heartbeatPhase uint8

const (
	heartbeatOff heartbeatPhase = iota
	untilPing
	untilPong
	pongSuspended // the deadline passed while the session was paused
)

// pingTimer is the session as the wheel sees it.
type pingTimer Session

// Expired runs on the wheel's goroutine.
func (t *pingTimer) Expired(*timerwheel.Entry) { (*Session)(t).heartbeatExpired() }

func (s *Session) startHeartbeat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateClosed {
		s.schedulePingLocked()
	}
}

func (s *Session) setTimerLocked(phase heartbeatPhase, d time.Duration) {
	s.phase = phase
	s.timerDue = time.Now().Add(d).UnixNano()
	s.srv.wheel.Set(&s.timer, (*pingTimer)(s), d)
}

// schedulePingLocked follows every pong, asked for or not, as in the reference: an unsolicited pong moves the next ping
// and adds none.
func (s *Session) schedulePingLocked() { s.setTimerLocked(untilPing, s.srv.cfg.PingInterval) }

func (s *Session) stopHeartbeatLocked() {
	s.phase = heartbeatOff
	s.srv.wheel.Cancel(&s.timer)
}

// extendPongLocked implements the rule that a packet other than a pong extends the deadline, once for each ping: the
// pong may be queued behind a long upload.
func (s *Session) extendPongLocked() {
	if s.phase == untilPong && !s.extended {
		s.extended = true
		s.setTimerLocked(untilPong, s.srv.cfg.PingTimeout)
	}
}

// renewPongLocked restarts an outstanding deadline: after a Pause, and after an upgrade, which in the reference ends the
// deadline altogether.
func (s *Session) renewPongLocked() {
	if s.phase == untilPong || s.phase == pongSuspended {
		s.setTimerLocked(untilPong, s.srv.cfg.PingTimeout)
	}
}

func (s *Session) heartbeatExpired() {
	s.mu.Lock()
	// The timer may have been moved between its expiry and the lock.
	if s.phase == heartbeatOff || s.phase == pongSuspended || time.Now().UnixNano() < s.timerDue {
		s.mu.Unlock()
		return
	}
	if s.phase == untilPong {
		if s.resumed != nil {
			s.phase = pongSuspended
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		s.finish(&ending{reason: ReasonPingTimeout})
		return
	}
	s.extended = false
	s.setTimerLocked(untilPong, s.srv.cfg.PingTimeout)
	if s.state != stateOpen {
		// A closing session sends nothing new; the deadline still holds.
		s.mu.Unlock()
		return
	}
	s.sendQueuedLocked(pingPacket)
}
