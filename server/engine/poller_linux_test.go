package engine

import (
	"fmt"
	"net/http"
	"runtime"
	"testing"
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
