package engine

import (
	"time"

	"github.com/sockeye-io/sockeye/internal/timerwheel"
)

// probeInterval is how often a parked poll is answered while a websocket is being tried, so that the client can leave
// polling soon.
const probeInterval = 100 * time.Millisecond

// upgrade is an attempt to move a session to another transport, normally from polling to websocket. Like the reference it
// may also start from a websocket, but not from one that was itself the result of an upgrade.
//
//  1. The client opens a connection with the session's id and sends "2probe".
//  2. The server answers "3probe" and from then on answers parked polls with a noop every 100 ms.
//  3. The client, with no poll open any more, sends "5"; the session continues on the new one.
//
// Anything else, or UpgradeTimeout, closes the new connection and leaves the session where it is.
type upgrade struct {
	// Static after construction.
	s  *Session
	to candidate
	// Guarded by the session's lock.
	timeout, probe timerwheel.Entry
	at             int64         // when its last packets arrived, 0 if nobody knows
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
func (s *Session) beginUpgrade(c candidate) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stateClosed || s.upgraded || s.upgrade != nil {
		return false
	}
	if p, ok := s.transport.(*polling); ok {
		p.endHoldLocked()
	}
	up := &upgrade{s: s, to: c}
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

// endUpgradeLocked gives an attempt up. It reports whether the caller must call closed of the candidate.
func (s *Session) endUpgradeLocked(up *upgrade, e *ending) (more bool) {
	up.stopLocked()
	s.srv.count.failed.Add(1)
	_, more = up.to.closeLocked(e, messages{})
	return more
}

// abandonUpgrade gives the attempt up, if it is the one with c, and reports whether it was.
func (s *Session) abandonUpgrade(c candidate, e *ending) bool {
	s.mu.Lock()
	up := s.upgrade
	if up == nil || up.to != c {
		s.mu.Unlock()
		return false
	}
	more := s.endUpgradeLocked(up, e)
	s.mu.Unlock()
	if more {
		c.closed(e)
	}
	return true
}

func (up *upgrade) timedOut() {
	if up.s.abandonUpgrade(up.to, leaving) {
		up.s.srv.count.limits[limitUpgradeTimeout].Add(1)
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
	if old, ok := s.transport.(releaser); ok && s.out.empty() {
		old.releaseLocked()
	}
	s.srv.wheel.Set(&up.probe, (*upgradeProbe)(up), probeInterval)
}

// releaser is a transport on which the client waits for an answer before it can leave.
type releaser interface{ releaseLocked() }

// probed handles a packet that a candidate has received. It reports whether the session has moved there.
func (s *Session) probed(c candidate, kind byte, data []byte) (moved bool) {
	switch {
	case s.endOverdue():
	case kind == packetPing && string(data) == "probe":
		s.confirmProbe(c)
	case kind == packetUpgrade:
		return s.completeUpgrade(c)
	default:
		s.abandonUpgrade(c, leaving)
	}
	return false
}

// upgrading reports whether an attempt is under way.
func (s *Session) upgrading() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.upgrade != nil
}

// noteProbe keeps when the packets arrived that the candidate brings next.
func (s *Session) noteProbe(at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.upgrade != nil {
		s.upgrade.at = at
	}
}

func (s *Session) confirmProbe(c candidate) {
	s.mu.Lock()
	up := s.upgrade
	if up == nil || up.to != c {
		s.mu.Unlock()
		return
	}
	s.srv.wheel.Set(&up.probe, (*upgradeProbe)(up), probeInterval)
	s.mu.Unlock()
	c.confirm(probeAnswer)
}

// completeUpgrade moves the session to c. What is queued follows at once, before anything that is sent later.
func (s *Session) completeUpgrade(c candidate) (moved bool) {
	s.mu.Lock()
	s.awaitDeliveryLocked(c)
	up := s.upgrade
	if up == nil || up.to != c {
		s.mu.Unlock()
		return false
	}
	up.stopLocked()
	s.srv.count.upgraded.Add(1)
	old := s.transport
	s.srv.count.gauge(old.kind()).Add(-1)
	s.srv.count.gauge(c.kind()).Add(1)
	_, more := old.closeLocked(&ending{at: up.at}, messages{})
	s.transport, s.upgraded = c, true
	s.heartbeat().renewLocked(s)
	end := s.state == stateClosing && s.out.empty() && c.readyLocked()
	flush := !s.out.empty() && c.wakeLocked()
	s.mu.Unlock()
	if more {
		old.closed(leaving)
	}
	if flush {
		flushNow(c)
	}
	if end {
		s.finishClosing()
	}
	return true
}

// awaitDeliveryLocked waits, without the lock, until the old transport delivers nothing: its packets come before those
// of the new one, one at a time.
func (s *Session) awaitDeliveryLocked(c candidate) {
	for {
		up := s.upgrade
		if up == nil || up.to != c || !s.calling && !s.delivering {
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
