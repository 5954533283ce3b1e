package engine

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"testing"
	"time"
)

// Idle connections that the poller watches have no goroutine; the workers end soon.
func TestPollerIdle(t *testing.T) {
	g := newRigOn(t, &Options{ReadMode: ReadPoller}, true, 0)
	g.onText = sayEcho
	before := runtime.NumGoroutine()
	clients := make([]*wsClient, maxIdleWorkers+200)
	for i := range clients {
		clients[i], _ = g.openWS("")
	}
	for range 2 {
		for i, ws := range clients {
			ws.say(fmt.Sprint("4", i))
		}
		for i, ws := range clients {
			ws.expect(fmt.Sprint("4", i))
		}
	}
	// The goroutines of the handshakes and the workers that are too many end on their own time.
	for runtime.NumGoroutine() > before+20 {
		runtime.Gosched()
	}
	if a := g.must("GET", base, ""); a.status != http.StatusOK {
		t.Errorf("status %d", a.status)
	}
}

// A client that goes while it is read more slowly is not waited for; one that goes during a Pause is, for what it has sent.
func TestGoneDuringBreak(t *testing.T) {
	g := newRigOn(t, &Options{ReadMode: ReadPoller}, true, 0)
	paused := make(chan struct{}, 1)
	g.onText = func(r *recorder, _ string) {
		r.s.PauseFor(time.Hour)
		paused <- struct{}{}
	}
	flood := masked(slices.Repeat([]string{"4x"}, 10_000)...)
	for _, end := range []struct {
		name string
		end  func(*net.TCPConn) error
	}{
		{"reset", func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) }},
		{"close", (*net.TCPConn).CloseWrite},
	} {
		ws, sid := g.openWS("")
		if _, err := ws.conn.Write(flood); err != nil {
			t.Fatal(err)
		}
		<-paused
		if err := end.end(ws.conn.(*net.TCPConn)); err != nil {
			t.Fatal(err)
		}
		r := g.recorder(sid)
		within(t, end.name, r.closed)
		if got, reason := r.received(), r.ended(); got != "x" || reason != ReasonTransportClose {
			t.Errorf("%s: received %d bytes, ended with %q", end.name, len(got), reason)
		}
		_ = ws.conn.Close()
	}
}
