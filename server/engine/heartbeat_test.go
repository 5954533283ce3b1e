package engine

import (
	"testing"
	"testing/synctest"
	"time"
)

// openRevision opens a websocket session that speaks another revision's heartbeat.
func (g *rig) openRevision(number uint8) (*wsClient, *recorder) {
	g.t.Helper()
	g.onAccept = func(s *Session) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopHeartbeatLocked()
		s.protocol = number
		s.heartbeat().startLocked(s)
	}
	ws, sid := g.openWS("")
	return ws, g.recorder(sid)
}

// Revision 4: the server pings, the client answers, and a ping of the client is a violation.
func TestServerPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		ws, r := g.openRevision(4)
		start := time.Now()
		for range 3 {
			ws.expect("2")
			ws.say("3")
		}
		if passed := time.Since(start).Round(time.Second); passed != 75*time.Second {
			t.Errorf("three pings within %v", passed)
		}
		ws.say("2")
		ws.expect("close")
		g.expectEnd(r.s.ID(), ReasonTransportError, errPingDirection)
	})
}

// Revision 3: the client pings, the server answers and never pings, and the session ends PingInterval plus PingTimeout
// after the last ping.
func TestClientPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		ws, r := g.openRevision(3)
		for range 3 {
			time.Sleep(44 * time.Second)
			ws.say("2")
			ws.expect("3")
		}
		last := time.Now()
		// Other packets do not count.
		time.Sleep(40 * time.Second)
		ws.say("4message")
		ws.expect("close")
		if passed := time.Since(last).Round(time.Second); passed != 45*time.Second {
			t.Errorf("closed %v after the last ping", passed)
		}
		g.expectEnd(r.s.ID(), ReasonPingTimeout, nil)
		if got := r.received(); got != "message" {
			t.Errorf("received %q", got)
		}
	})
}

func TestClientPingsViolation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		ws, r := g.openRevision(3)
		ws.say("3")
		ws.expect("close")
		g.expectEnd(r.s.ID(), ReasonTransportError, errPingDirection)
	})
}

// A client whose pings are not read because the session is paused is not taken for gone; after the pause it gets another
// interval.
func TestClientPingsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		ws, r := g.openRevision(3)
		r.s.Pause()
		time.Sleep(3 * time.Minute)
		g.expectEnd(r.s.ID(), "", nil)
		r.s.Resume()
		start := time.Now()
		ws.expect("close")
		if passed := time.Since(start).Round(time.Second); passed != 45*time.Second {
			t.Errorf("closed %v after the pause", passed)
		}
		g.expectEnd(r.s.ID(), ReasonPingTimeout, nil)
	})
}

// A closing session answers no ping, and its deadline holds.
func TestClientPingsWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{PingInterval: time.Second, PingTimeout: time.Second})
		g.onAccept = func(s *Session) { s.protocol = 3 }
		sid, _ := g.openPoll()
		s := g.recorder(sid).s
		s.mu.Lock()
		s.heartbeat().startLocked(s)
		s.mu.Unlock()
		_ = s.Send(NewMessage([]byte("last")))
		s.Close()
		time.Sleep(3 * time.Second)
		g.expectEnd(sid, ReasonPingTimeout, nil)
	})
}
