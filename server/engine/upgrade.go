package engine

import (
	"time"

	"github.com/sockeye-io/sockeye/internal/timerwheel"
	"github.com/sockeye-io/sockeye/internal/websocket"
)

// probeInterval is how often a parked poll is answered while a websocket is being tried, so that the client can leave
// polling soon.
const probeInterval = 100 * time.Millisecond

// upgrade is an attempt to move a session to another websocket, normally from polling. Like the reference it may also
// start from a websocket, but not from one that was itself the result of an upgrade.
//
//  1. The client opens a websocket with the session's id and sends "2probe".
//  2. The server answers "3probe" and from then on answers parked polls with a noop every 100 ms.
//  3. The client, with no poll open any more, sends "5"; the session continues on the websocket.
//
// Anything else, or UpgradeTimeout, closes the websocket and leaves the session on polling.
type upgrade struct {
	// Static after construction.
	s    *Session
	conn *wsConn
	// Guarded by the session's lock.
	timeout, probe timerwheel.Entry
	delivered      chan struct{} // closed when a delivery of the old transport ends; nil unless completeUpgrade waits
}

type (
	upgradeTimeout upgrade
	upgradeProbe   upgrade
)

// Expired runs on the wheel's goroutine.
func (t *upgradeTimeout) Expired(*timerwheel.Entry) { (*upgrade)(t).timedOut() }

// Expired runs on the wheel's goroutine.
func (t *upgradeProbe) Expired(*timerwheel.Entry) { (*upgrade)(t).releasePoll() }

// beginUpgrade starts an attempt. It reports false when the session has ended, has been upgraded or is in another
// attempt.
func (s *Session) beginUpgrade(c *wsConn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stateClosed || s.upgraded || s.upgrade != nil {
		return false
	}
	up := &upgrade{s: s, conn: c}
	s.upgrade = up
	s.srv.count.upgrading.Add(1)
	s.srv.wheel.Set(&up.timeout, (*upgradeTimeout)(up), s.srv.cfg.UpgradeTimeout)
	return true
}

// stopLocked ends the attempt, whatever its outcome.
func (up *upgrade) stopLocked() {
	s := up.s
	s.upgrade = nil
	up.noteDeliveredLocked()
	s.srv.count.upgrading.Add(-1)
	s.srv.wheel.Cancel(&up.timeout)
	s.srv.wheel.Cancel(&up.probe)
}

// endUpgradeLocked gives an attempt up. It reports whether the caller must kick the connection.
func (s *Session) endUpgradeLocked(up *upgrade, code int, text string) (kick bool) {
	up.stopLocked()
	return up.conn.closeLocked(code, text)
}

func (up *upgrade) timedOut() {
	s := up.s
	s.mu.Lock()
	if s.upgrade != up {
		s.mu.Unlock()
		return
	}
	kick := s.endUpgradeLocked(up, 0, "")
	s.mu.Unlock()
	s.srv.count.limits[limitUpgradeTimeout].Add(1)
	if kick {
		up.conn.kick()
	}
}

// releasePoll answers a parked poll with a noop and comes back.
func (up *upgrade) releasePoll() {
	s := up.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.upgrade != up {
		return
	}
	if s.poll != nil && s.out.empty() {
		s.poll.answerLocked(noopPacket)
	}
	s.srv.wheel.Set(&up.probe, (*upgradeProbe)(up), probeInterval)
}

// onProbe handles a packet on a connection that is being tried.
func (c *wsConn) onProbe(kind byte, data []byte) {
	switch {
	case kind == packetPing && string(data) == "probe":
		c.confirmProbe()
	case kind == packetUpgrade:
		c.s.completeUpgrade(c)
	default:
		c.abandon()
	}
}

func (c *wsConn) confirmProbe() {
	s := c.s
	s.mu.Lock()
	up := s.upgrade
	if up == nil || up.conn != c {
		s.mu.Unlock()
		return
	}
	s.srv.wheel.Set(&up.probe, (*upgradeProbe)(up), probeInterval)
	s.mu.Unlock()
	c.reply(websocket.OpText, []byte("3probe"))
}

// abandon closes the connection that is being tried and leaves the session alone.
func (c *wsConn) abandon() {
	s := c.s
	s.mu.Lock()
	up := s.upgrade
	kick := up != nil && up.conn == c && s.endUpgradeLocked(up, 0, "")
	s.mu.Unlock()
	if kick {
		c.kick()
	}
}

// completeUpgrade moves the session to c. What is queued follows at once, before anything that is sent later.
func (s *Session) completeUpgrade(c *wsConn) {
	s.mu.Lock()
	s.awaitDeliveryLocked(c)
	up := s.upgrade
	if up == nil || up.conn != c {
		s.mu.Unlock()
		return
	}
	up.stopLocked()
	s.transportGauge().Add(-1)
	poll, old := s.poll, s.ws
	if poll != nil {
		poll.answerLocked(closePacket)
		s.srv.wheel.Cancel(&poll.closeTimer)
	}
	s.poll, s.ws, s.upgraded = nil, c, true
	s.transportGauge().Add(1)
	c.probing = false
	s.renewPongLocked()
	kick := !c.busy && (!s.out.empty() || s.state == stateClosing)
	if kick {
		c.busy = true
	}
	kickOld := old != nil && old.closeLocked(0, "")
	s.mu.Unlock()
	if poll != nil {
		poll.abortBody()
	}
	if kickOld {
		old.kick()
	}
	if kick {
		c.kick()
	}
}

// awaitDeliveryLocked waits, without the lock, until the old transport delivers nothing: its packets come before those
// of the new one, one at a time.
func (s *Session) awaitDeliveryLocked(c *wsConn) {
	for {
		up := s.upgrade
		if up == nil || up.conn != c || !s.calling && (s.poll == nil || !s.poll.delivering) {
			return
		}
		up.delivered = make(chan struct{})
		delivered := up.delivered
		s.mu.Unlock()
		<-delivered
		s.mu.Lock()
	}
}

// noteDeliveredLocked lets completeUpgrade look again.
func (up *upgrade) noteDeliveredLocked() {
	if up != nil && up.delivered != nil {
		close(up.delivered)
		up.delivered = nil
	}
}
