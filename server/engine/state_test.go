package engine

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// speak sends one message, so that the session is no silent one.
func (g *rig) speak(target string) {
	g.t.Helper()
	if a := g.must("POST", target, "4hello"); a.status != http.StatusOK {
		g.t.Fatalf("a message was answered %d", a.status)
	}
}

// A flood of handshakes with long headers, whose clients never say anything, neither exceeds the budget nor keeps others out.
func TestStateTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const total = 1 << 20
		g := newRig(t, &Options{StateTotal: total})
		good, target := g.openPoll()
		g.speak(target)
		opened := 0
		for range 400 {
			if g.must("GET", base, "", "X-Large", strings.Repeat("x", 15<<10)).status == http.StatusOK {
				opened++
			}
			time.Sleep(20 * time.Millisecond)
			if n := g.srv.Stats().StateBytes; n > total {
				t.Fatalf("%d bytes are kept", n)
			}
			if opened%50 == 0 {
				_, target := g.openPoll()
				g.speak(target)
			}
		}
		st := g.srv.Stats()
		if st.Limits["made_room"] < 300 || st.Limits["state_total"] != 0 || opened != 400 {
			t.Errorf("%d were opened: %+v", opened, st.Limits)
		}
		if reason := g.recorder(good).ended(); reason != "" {
			t.Errorf("the client that was first has been ended with %q", reason)
		}
		_ = g.srv.Close()
		if st := g.srv.Stats(); st.StateBytes != 0 || g.srv.live.Load() != 0 {
			t.Errorf("left behind: %+v, %d sessions", st, g.srv.live.Load())
		}
	})
}

// When nobody can be ended, what would be added is refused, and those that are there stay.
func TestStateTotalRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{StateTotal: 1 << 20})
		var sids []string
		for {
			a := g.must("GET", base, "", "X-Large", strings.Repeat("x", 5<<10))
			if a.status != http.StatusOK {
				if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
					t.Errorf("refused with %+v", a)
				}
				break
			}
			sid := parseOpen(t, a.body).SID
			sids = append(sids, sid)
			g.speak(base + "&sid=" + sid)
		}
		if n := len(sids); n < 110 || n > 130 {
			t.Errorf("%d sessions fit in", n)
		}
		if c := g.upgrade("/engine.io/?EIO=4&transport=websocket", "X-Large: "+strings.Repeat("x", 9<<10)+"\r\n"); c.res.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("a websocket session was answered %d", c.res.StatusCode)
		}
		some := g.recorder(sids[0]).s
		if some.KeepState(20 << 10) {
			t.Error("more than the budget is kept")
		}
		time.Sleep(2 * time.Second) // none of them is silent
		if some.KeepState(20 << 10) {
			t.Error("more than the budget is kept")
		}
		for _, sid := range sids {
			if reason := g.recorder(sid).ended(); reason != "" {
				t.Fatalf("ended with %q", reason)
			}
		}
		g.recorder(sids[1]).s.Discard()
		g.recorder(sids[2]).s.Discard()
		if _, target := g.openPoll(); target == "" {
			t.Error("no room after two have gone")
		}
		if st := g.srv.Stats(); st.Limits["state_total"] != 4 || st.Limits["made_room"] != 0 {
			t.Errorf("counted %+v", st.Limits)
		}
	})
}

// A session that keeps far more than the others is ended for them.
func TestStateHoarder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{StateTotal: 1 << 20})
		ws, hoarder := g.openWS("")
		_, id := g.openWS("")
		ordinary := g.recorder(id).s
		for _, c := range []*Session{g.recorder(hoarder).s, ordinary} {
			c.receive(c.transport, packetMessage, nil)
		}
		if !g.recorder(hoarder).s.KeepState(900<<10) || !ordinary.KeepState(60<<10) {
			t.Fatal("the budget is not exceeded")
		}
		if !ordinary.KeepState(100 << 10) {
			t.Error("there was no room for the ordinary client")
		}
		ws.expect("end")
		g.expectEnd(hoarder, ReasonTransportError, ErrStateTotal)
		ordinary.ReleaseState(160 << 10)
		g.recorder(hoarder).s.ReleaseState(900 << 10)
		if n, want := g.srv.Stats().StateBytes, sessionCost+int64(len(ordinary.handshake.raw)); n != want {
			t.Errorf("%d bytes are kept, want %d", n, want)
		}
	})
}

// Too many sessions: silent ones are ended for new ones, others are not.
func TestMaxSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{MaxSessions: 20})
		var good, silent []string
		for range 10 {
			sid, target := g.openPoll()
			g.speak(target)
			good = append(good, sid)
			_, sid = g.openWS("")
			silent = append(silent, sid)
		}
		if a := g.must("GET", base, ""); a.status != http.StatusServiceUnavailable {
			t.Errorf("in the first second session 21 was answered %d", a.status)
		}
		time.Sleep(2 * time.Second)
		for range 10 {
			_, target := g.openPoll()
			g.speak(target)
			time.Sleep(time.Second)
		}
		if a := g.must("GET", base, ""); a.status != http.StatusServiceUnavailable {
			t.Errorf("beside 20 that are no silent ones another was answered %d", a.status)
		}
		synctest.Wait()
		for _, sid := range silent {
			g.expectEnd(sid, ReasonTransportError, ErrMaxSessions)
		}
		for _, sid := range good {
			if reason := g.recorder(sid).ended(); reason != "" {
				t.Errorf("ended with %q", reason)
			}
		}
		if st := g.srv.Stats(); st.Limits["sessions"] != 2 || st.Limits["made_room"] != 10 || st.Sessions != 20 {
			t.Errorf("counted %+v, %d sessions", st.Limits, st.Sessions)
		}
	})
}

// Whatever a handshake ends in, what it was charged comes back.
func TestStateOfFailedHandshakes(t *testing.T) {
	g := newRig(t, &Options{MaxHandshakeSize: 200})
	r, err := http.NewRequest("GET", "http://test/engine.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="}}
	g.srv.ServeHTTP(plainWriter{http.Header{}}, r)
	if a := g.must("GET", base, "", "X-Large", strings.Repeat("x", 200)); a.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("201 bytes of headers were answered %d", a.status)
	}
	if n := g.srv.Stats().StateBytes; n != 0 || g.srv.live.Load() != 0 {
		t.Errorf("%d bytes, %d sessions", n, g.srv.live.Load())
	}
}

// plainWriter cannot be hijacked.
type plainWriter struct{ header http.Header }

func (w plainWriter) Header() http.Header         { return w.header }
func (w plainWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w plainWriter) WriteHeader(int)             {}
