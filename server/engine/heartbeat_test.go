package engine

import (
	"strings"
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

// A session ends at PingInterval plus PingTimeout, to the nanosecond, for whatever arrives: that timers are rounded to ticks
// of the wheel serves nobody longer.
func TestDeadlineIsExact(t *testing.T) {
	const life = defaultPingInterval + defaultPingTimeout
	requests := map[string]func(g *rig, sid, target string) (served bool){
		"poll": func(g *rig, _, target string) bool {
			return g.must("GET", target, "").status == 200
		},
		"POST with a pong": func(g *rig, _, target string) bool {
			return g.must("POST", target, "3").status == 200
		},
		"POST with a message": func(g *rig, _, target string) bool {
			return g.must("POST", target, "4m").status == 200
		},
		"upgrade": func(g *rig, _, target string) bool {
			return g.upgrade(strings.Replace(target, "polling", "websocket", 1)).res.StatusCode == 101
		},
	}
	for name, request := range requests {
		for _, late := range []time.Duration{-time.Nanosecond, 0, time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, nil)
				time.Sleep(3 * time.Millisecond) // between two ticks
				sid, target := g.openPoll()
				time.Sleep(life + late)
				if served := request(g, sid, target); served != (late < 0) {
					t.Errorf("%s, %v after the deadline: served %v", name, late, served)
				}
				if late >= 0 {
					g.expectEnd(sid, ReasonPingTimeout, nil)
				}
			})
		}
	}
	for _, packet := range []string{"3", "4m", "6"} {
		for _, late := range []time.Duration{-time.Nanosecond, 0, time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, nil)
				time.Sleep(3 * time.Millisecond)
				ws, sid := g.openWS("")
				go ws.expect("2")
				time.Sleep(life + late)
				ws.say(packet)
				synctest.Wait()
				want := ""
				if late >= 0 {
					want = ReasonPingTimeout
				}
				if got := g.recorder(sid).ended(); got != want {
					t.Errorf("packet %q, %v after the deadline: ended %q", packet, late, got)
				}
			})
		}
	}
}

// The last frame of an upgrade does not save a session whose deadline has passed meanwhile.
func TestDeadlineDuringUpgrade(t *testing.T) {
	for _, late := range []time.Duration{-time.Nanosecond, 0, time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, nil)
			time.Sleep(3 * time.Millisecond)
			sid, target := g.openPoll()
			time.Sleep(defaultPingInterval + defaultPingTimeout - time.Second)
			ws := g.upgrade(strings.Replace(target, "polling", "websocket", 1))
			ws.say("2probe")
			ws.expect("3probe")
			time.Sleep(time.Second + late)
			ws.say("5")
			synctest.Wait()
			if moved := g.recorder(sid).ended() == ""; moved != (late < 0) {
				t.Errorf("%v after the deadline: moved %v", late, moved)
			}
		})
	}
}

// A server that was frozen and sends its ping late does not hold that against the client.
func TestLatePing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		ws, sid := g.openWS("")
		s := g.recorder(sid).s
		// As the wheel reports it: the ping was due 10 s ago.
		s.mu.Lock()
		s.srv.wheel.Cancel(&s.timer)
		s.mu.Unlock()
		time.Sleep(defaultPingInterval + 10*time.Second)
		go s.heartbeatExpired()
		ws.expect("2")
		time.Sleep(defaultPingTimeout*3/4 - time.Second)
		g.expectEnd(sid, "", nil)
		time.Sleep(2 * time.Second)
		g.expectEnd(sid, ReasonPingTimeout, nil)
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
		ws.expect("end")
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
		ws.expect("end")
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
