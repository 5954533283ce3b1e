package engine

import (
	"bufio"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A session whose observer ends it while the server closes holds up nobody, whatever comes first, and is counted and told of once.
func TestAbandonedSession(t *testing.T) {
	for _, transport := range []string{TransportPolling, TransportWebSocket} {
		for name, end := range map[string]func(*Session){
			"ended":     func(s *Session) { s.Fail(ReasonTransportError, errLimit) },
			"not ended": func(s *Session) {},
		} {
			t.Run(transport+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := &watcher{}
					var g *rig
					g = newRig(t, &Options{Observe: func(s *Session) Observer {
						g.srv.closed.Store(true) // as Close begins
						end(s)
						return w
					}})
					if transport == TransportPolling {
						if a := g.must("GET", base, ""); a.status != http.StatusServiceUnavailable {
							t.Errorf("answered %+v", a)
						}
					} else {
						g.expectNoWebSocket(0)
					}
					began := time.Now()
					_ = g.srv.Close()
					if took := time.Since(began); took > 0 {
						t.Errorf("Close took %v", took)
					}
					synctest.Wait()
					st := g.srv.Stats()
					if st.Polling != 0 || st.WebSocket != 0 || st.Timers != 0 || st.Closing != 0 || st.Opened != st.Closed || g.srv.live.Load() != 0 {
						t.Errorf("%+v, %d live", st, g.srv.live.Load())
					}
					if got := w.all(); strings.Count(got, "|") != 0 || !strings.HasPrefix(got, "closed ") {
						t.Errorf("observed %s", got)
					}
				})
			})
		}
	}
}

// expectNoWebSocket has a handshake end without a websocket: with the status, or 0 for a connection that just ends.
func (g *rig) expectNoWebSocket(status int) {
	g.t.Helper()
	conn, err := g.dial()
	if err != nil {
		g.t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\n" + wsHeaders + "\r\n")); err != nil {
		g.t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	switch {
	case err != nil && status != 0, err == nil && (res.StatusCode != status || res.Header.Get("Retry-After") == ""):
		g.t.Errorf("answered %+v, %v; want status %d", res, err, status)
	}
}

// When RefuseHandshakes has returned nothing comes in, however far it is: neither a handshake that an application has kept waiting
// nor a session that moves here.
func TestRefuseHandshakesUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g *rig
		refuse := func() { g.srv.RefuseHandshakes(true) }
		g = newRig(t, &Options{AllowRequest: func(*http.Request) error { refuse(); return nil }})
		if a := g.must("GET", base, ""); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("answered %+v", a)
		}
		g.srv.RefuseHandshakes(false)
		g.expectNoWebSocket(http.StatusServiceUnavailable)
		if st := g.srv.Stats(); st.Sessions != 0 || st.Opened != 0 || st.TurnedAway != 2 || st.StateBytes != 0 {
			t.Errorf("%+v", st)
		}
		g.srv.RefuseHandshakes(false)
		g.onAccept = func(*Session) { refuse() }
		if err := g.srv.Adopt(&Transfer{ID: "abcdefghijklmnopqrst", Protocol: 4}); !errors.Is(err, errRefusing) {
			t.Errorf("adopt: %v", err)
		}
		synctest.Wait()
		if st := g.srv.Stats(); st.Sessions != 0 || st.Opened != st.Closed || st.StateBytes != 0 {
			t.Errorf("%+v", st)
		}
	})
}
