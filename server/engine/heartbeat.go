package engine

import (
	"math"
	"time"

	"github.com/sockeye-io/sockeye/internal/timerwheel"
)

// heartbeat says who shows whom that the connection lives, and when the session's one timer takes it for gone. It is the
// same value for all sessions of a revision; what it knows of one is in the session. The methods are called with the
// session's lock held.
type heartbeat interface {
	startLocked(s *Session)
	// pingLocked and pongLocked handle what the client sends: an answer, or the error that the session ends with.
	pingLocked(s *Session) (answer *Message, err error)
	pongLocked(s *Session) error
	// otherLocked follows any other packet.
	otherLocked(s *Session)
	// renewLocked restarts an outstanding deadline: after a Pause, and after an upgrade, which in the reference ends the
	// deadline altogether.
	renewLocked(s *Session)
	// goneLocked judges a session whose deadline has passed.
	goneLocked(s *Session) bool
	// expiredLocked follows the end of the timer of a session that has not gone: a packet to send, or nil.
	expiredLocked(s *Session) (send *Message)
}

// heartbeatPhase is what the session's timer stands for.
type heartbeatPhase uint8

const (
	heartbeatOff    heartbeatPhase = iota
	untilPing                      // until the server sends one
	untilPong                      // until the client's, at the latest
	pongSuspended                  // the deadline passed while the session was paused; pings go on
	untilClientPing                // until the client's, at the latest
)

// serverPings is the heartbeat of revision 4: the server pings PingInterval after the last pong and expects the pong
// within PingTimeout.
type serverPings struct{}

func (h serverPings) startLocked(s *Session) { s.setTimerLocked(untilPing, s.srv.cfg.PingInterval) }

func (serverPings) pingLocked(*Session) (*Message, error) { return nil, errPingDirection }

// pongLocked lets the next ping follow every pong, asked for or not, as in the reference: an unsolicited pong moves the next
// ping and adds none.
func (serverPings) pongLocked(s *Session) error {
	if s.phase == untilPong && !s.extended {
		// The timer runs out PingTimeout after the ping was due.
		s.srv.count.answered.Observe(s.srv.cfg.PingTimeout + s.srv.wheel.Late(&s.timer))
	}
	s.awaited -= min(s.awaited, 1)
	s.setTimerLocked(untilPing, s.srv.cfg.PingInterval)
	return nil
}

// otherLocked extends the deadline, once for each ping: the pong may be queued behind a long upload.
func (serverPings) otherLocked(s *Session) {
	if s.phase == untilPong && !s.extended {
		s.extended = true
		s.setTimerLocked(untilPong, s.srv.cfg.PingTimeout)
	}
}

func (serverPings) renewLocked(s *Session) {
	if s.phase == untilPong || s.phase == pongSuspended {
		s.setTimerLocked(untilPong, s.srv.cfg.PingTimeout)
	}
}

// goneLocked: while the session is paused a pong could not be read; what counts then is, where the client fetches its
// packets, whether it has fetched the previous ping, and elsewhere whether that could be written, which the writer finds out.
func (serverPings) goneLocked(s *Session) bool {
	if s.readableLocked() {
		return true
	}
	return s.phase == pongSuspended && s.transport.kind().fetched && !s.out.empty()
}

func (serverPings) expiredLocked(s *Session) (send *Message) {
	if s.awaited < math.MaxUint8 {
		s.awaited++
	}
	if s.phase == untilPing {
		s.extended = false
		// Counted from when the ping was due. If the whole machine was late, the client still gets most of its time.
		timeout, late := s.srv.cfg.PingTimeout, s.srv.wheel.Late(&s.timer)
		s.srv.count.late.Observe(late)
		s.setTimerLocked(untilPong, timeout-min(late, timeout/4))
	} else {
		// The client would take silence for the end of the connection, and writing shows whether there is one.
		s.setTimerLocked(pongSuspended, s.srv.cfg.PingInterval)
	}
	return pingPacket
}

// clientPings is the heartbeat of revision 3: the client pings, the server answers, and PingInterval plus PingTimeout
// after the last ping the session is gone. The server never pings.
type clientPings struct{}

func (clientPings) startLocked(s *Session) { s.awaitPingLocked() }

func (clientPings) pingLocked(s *Session) (*Message, error) {
	s.awaitPingLocked()
	return pongPacket, nil
}

func (clientPings) pongLocked(*Session) error { return errPingDirection }

// otherLocked does nothing: only pings count, as in the reference.
func (clientPings) otherLocked(*Session) {}

func (clientPings) renewLocked(s *Session) { s.awaitPingLocked() }

// goneLocked: the pings of a paused session cannot be read.
func (clientPings) goneLocked(s *Session) bool { return s.readableLocked() }

// expiredLocked waits on; Resume gives the client another interval.
func (clientPings) expiredLocked(s *Session) (send *Message) {
	s.awaitPingLocked()
	return nil
}

func (s *Session) awaitPingLocked() {
	s.setTimerLocked(untilClientPing, s.srv.cfg.PingInterval+s.srv.cfg.PingTimeout)
}

// readableLocked reports whether what the client sends is being read. A closing session is not waited for.
func (s *Session) readableLocked() bool { return s.resumed == nil || s.state != stateOpen }

// overdueLocked reports whether the client's deadline has passed and the session has gone with it, though the wheel, which
// fires some milliseconds late, may not have said so yet.
func (s *Session) overdueLocked() bool {
	return (s.phase == untilPong || s.phase == untilClientPing) && s.srv.wheel.Late(&s.timer) >= 0 && s.heartbeat().goneLocked(s)
}

// endOverdue ends the session if its deadline has passed. Whatever arrives is served after this: a client that was silent for
// too long does not come back because the timer is late.
func (s *Session) endOverdue() (ended bool) {
	s.mu.Lock()
	overdue := s.overdueLocked()
	s.mu.Unlock()
	if overdue {
		s.timedOut()
	}
	return overdue
}

func (s *Session) timedOut() { s.finish(&ending{reason: ReasonPingTimeout, quiet: true}) }

// beatLocked handles a ping or a pong of the client, and unlocks.
func (s *Session) beatLocked(kind byte) {
	var answer *Message
	var err error
	last := kind == packetPong && s.awaited == 1
	if kind == packetPing {
		answer, err = s.heartbeat().pingLocked(s)
	} else {
		err = s.heartbeat().pongLocked(s)
	}
	if answer != nil {
		s.sendQueuedLocked(answer)
		return
	}
	h, told := s.handler.(PongHandler)
	told = told && last && err == nil
	s.calling = s.calling || told
	s.mu.Unlock()
	switch {
	case err != nil:
		s.fail(err)
	case told:
		s.deliverPong(h)
	}
}

// pingTimer is the session as the wheel sees it.
type pingTimer Session

// Expired runs on the wheel's goroutine.
func (t *pingTimer) Expired(*timerwheel.Entry) { (*Session)(t).heartbeatExpired() }

func (s *Session) startHeartbeat() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != stateClosed {
		s.heartbeat().startLocked(s)
	}
}

func (s *Session) setTimerLocked(phase heartbeatPhase, d time.Duration) {
	s.phase = phase
	s.srv.wheel.Set(&s.timer, (*pingTimer)(s), d)
}

func (s *Session) stopHeartbeatLocked() {
	s.phase = heartbeatOff
	s.srv.wheel.Cancel(&s.timer)
}

func (s *Session) heartbeatExpired() {
	s.mu.Lock()
	// The timer may have been moved between its expiry and the lock.
	if s.phase == heartbeatOff || s.srv.wheel.Pending(&s.timer) {
		s.mu.Unlock()
		return
	}
	if s.phase != untilPing && s.heartbeat().goneLocked(s) {
		s.mu.Unlock()
		s.timedOut()
		return
	}
	send := s.heartbeat().expiredLocked(s)
	switch {
	case send == nil || s.state != stateOpen:
		// A closing session sends nothing new; the deadline still holds.
		s.mu.Unlock()
	default:
		s.sendQueuedLocked(send)
	}
}
