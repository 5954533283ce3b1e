package engine

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestSendAwayPolling: what is queued arrives, no close packet does, and the next poll is refused.
func TestSendAwayPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, target := g.openPoll()
		poll := g.async("GET", target, "")
		synctest.Wait()
		if !g.recorder(sid).s.SendAway() {
			t.Error("the session has not ended with its poll")
		}
		if a := <-poll; a.body != "6" {
			t.Errorf("parked poll: %+v", a)
		}
		g.expectEnd(sid, ReasonForcedClose, nil)
		expectUnknown(g, target)

		sid, target = g.openPoll()
		if !g.recorder(sid).s.SendAway() {
			t.Error("a session without a poll waits for one, though nothing is queued")
		}
		expectUnknown(g, target)

		sid, target = g.openPoll()
		s := g.recorder(sid).s
		if err := s.Send(NewMessage([]byte("last"), []byte{1})); err != nil {
			t.Fatal(err)
		}
		if s.SendAway() {
			t.Error("ended before what was queued has been sent")
		}
		if err := s.Send(NewMessage([]byte("after"))); err != ErrClosed {
			t.Errorf("Send afterwards: %v", err)
		}
		if a := g.must("GET", target, ""); a.body != "4last\x1ebAQ==" {
			t.Errorf("next poll: %+v", a)
		}
		g.expectEnd(sid, ReasonForcedClose, nil)
		expectUnknown(g, target)
	})
}

// TestSendAwayWebSocket: what is queued arrives, and then the connection ends without a close frame, though the peer is slow.
func TestSendAwayWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		ws, sid := g.openWS("")
		s := g.recorder(sid).s
		text := strings.Repeat("x", 100<<10)
		for range 3 {
			if err := s.Send(NewMessage([]byte(text))); err != nil {
				t.Fatal(err)
			}
		}
		s.SendAway()
		s.SendAway()
		time.Sleep(5 * time.Second)
		for range 3 {
			ws.expect("4" + text)
		}
		ws.expect("end")
		g.expectEnd(sid, ReasonForcedClose, nil)
		_ = ws.conn.Close()
		synctest.Wait()
		if st := g.srv.Stats(); st.Sessions+st.Closing+st.Timers != 0 {
			t.Errorf("something is left: %+v", st)
		}
	})
}

// TestSendAwayDiscard: a client that does not take what is queued is told no more when that is dropped.
func TestSendAwayDiscard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, target := g.openPoll()
		s := g.recorder(sid).s
		if err := s.Send(NewMessage([]byte("lost"))); err != nil {
			t.Fatal(err)
		}
		s.SendAway()
		s.Discard()
		g.expectEnd(sid, ReasonForcedClose, nil)
		expectUnknown(g, target)
	})
}

// expectUnknown polls a session that has ended.
func expectUnknown(g *rig, target string) {
	g.t.Helper()
	if a := g.must("GET", target, ""); a.status != http.StatusBadRequest || !strings.Contains(a.body, "Session ID unknown") {
		g.t.Errorf("next poll: %+v", a)
	}
}

// TestCloseFlushes: a server that closes sends what is queued, and waits a second for those who do not take it.
func TestCloseFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		ws, wsID := g.openWS("")
		sid, target := g.openPoll()
		for _, id := range []string{wsID, sid} {
			for range 2 {
				if err := g.recorder(id).s.Send(NewMessage([]byte("last"))); err != nil {
					t.Fatal(err)
				}
			}
		}
		start := time.Now()
		done := make(chan struct{})
		go func() { defer close(done); _ = g.srv.Close() }()
		ws.expect("4last", "4last", "end")
		_ = ws.conn.Close()
		if a := g.must("GET", target, ""); a.body != "4last\x1e4last" {
			t.Errorf("poll: %+v", a)
		}
		<-done
		if took := time.Since(start); took > 100*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, _ := g.openPoll()
		if err := g.recorder(sid).s.Send(NewMessage([]byte("never fetched"))); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_ = g.srv.Close()
		if took := time.Since(start).Round(10 * time.Millisecond); took != closeGrace {
			t.Errorf("took %v", took)
		}
		g.expectEnd(sid, ReasonForcedClose, nil)
	})
}
