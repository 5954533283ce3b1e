package engine

import (
	"testing"
	"testing/synctest"
	"time"
)

// wantAnswered checks how many pongs the handler was told of.
func (r *recorder) wantAnswered(t *testing.T, want int, when string) {
	t.Helper()
	synctest.Wait()
	if got := r.answered(); got != want {
		t.Errorf("%s the handler was told of %d pongs, want %d", when, got, want)
	}
}

// The handler is told of the pong that answers a ping, and of no other.
func TestPongs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		ws, sid := g.openWS("")
		r := g.recorder(sid)
		ws.say("3")
		r.wantAnswered(t, 0, "before the first ping")
		for n := range 3 {
			ws.expect("2")
			ws.say("3")
			r.wantAnswered(t, n+1, "after an answer")
			ws.say("3")
			r.wantAnswered(t, n+1, "after one more")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, target := g.openPoll()
		r := g.recorder(sid)
		if got := g.must("GET", target, "").body; got != "2" {
			t.Fatalf("polled %q", got)
		}
		r.wantAnswered(t, 0, "when the ping was fetched")
		if got := g.must("POST", target, "3").status; got != 200 {
			t.Fatalf("POST of a pong: %d", got)
		}
		r.wantAnswered(t, 1, "after the POST")
	})
}

// A session that is paused for long gets several pings. The pong for one after which there was another says nothing of what was sent in
// between, however late it is read.
func TestPongsPaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		ws, sid := g.openWS("")
		r := g.recorder(sid)
		r.s.Pause()
		ws.expect("2")
		ws.expect("2")
		r.s.Resume()
		ws.say("3")
		r.wantAnswered(t, 0, "when the first of two pings was answered")
		ws.expect("2")
		ws.say("3")
		r.wantAnswered(t, 0, "when the second of three was")
		ws.say("3")
		r.wantAnswered(t, 1, "when all were")
		ws.expect("2")
		ws.say("3")
		r.wantAnswered(t, 2, "at the next one")
	})
}

// OnClose is the last call: it waits for OnPong.
func TestPongBeforeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		ws, sid := g.openWS("")
		r := g.recorder(sid)
		hold := make(chan struct{})
		r.onPong = func() { <-hold }
		ws.expect("2")
		go ws.say("3")
		synctest.Wait()
		r.s.Fail("failed", nil)
		g.expectEnd(sid, "", nil)
		close(hold)
		g.expectEnd(sid, "failed", nil)
		time.Sleep(time.Second)
		r.wantAnswered(t, 1, "at the end")
	})
}
