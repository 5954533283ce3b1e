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
	pongSuspended // the deadline passed while the session was paused; pings go on
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
	if s.phase == heartbeatOff || s.srv.wheel.Pending(&s.timer) {
		s.mu.Unlock()
		return
	}
	switch {
	case s.phase == untilPing:
		s.extended = false
		s.setTimerLocked(untilPong, s.srv.cfg.PingTimeout)
	case s.goneLocked():
		s.mu.Unlock()
		s.finish(&ending{reason: ReasonPingTimeout})
		return
	default:
		// The client would take silence for the end of the connection, and writing shows whether there is one.
		s.setTimerLocked(pongSuspended, s.srv.cfg.PingInterval)
	}
	if s.state != stateOpen {
		// A closing session sends nothing new; the deadline still holds.
		s.mu.Unlock()
		return
	}
	s.sendQueuedLocked(pingPacket)
}

// goneLocked judges a session whose pong is overdue. While it is paused a pong could not be read; what counts then is,
// over polling, whether the previous ping has been fetched, and over websocket whether it could be written, which the
// writer finds out.
func (s *Session) goneLocked() bool {
	if s.resumed == nil || s.state != stateOpen {
		return true
	}
	return s.phase == pongSuspended && s.poll != nil && !s.out.empty()
}
