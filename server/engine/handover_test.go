package engine

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

const holdTime = 100 * time.Millisecond

// twoServers runs two servers in a bubble: what the first one does not have any more it passes on to the second one.
func twoServers(t *testing.T, f func(t *testing.T, p *pair)) {
	synctest.Test(t, func(t *testing.T) {
		p := &pair{second: newRig(t, nil), moved: make(chan struct{})}
		p.second.onAccept = func(s *Session) {
			if p.second.srv.lookup(s.ID()) != nil {
				t.Error("the session can be found before it has a handler")
			}
		}
		p.first = newRig(t, &Options{
			HoldYoung: func(*http.Request) time.Duration { return holdTime },
			Elsewhere: func(w http.ResponseWriter, r *http.Request, sid string) bool {
				<-p.moved // as the other server has its clients' requests wait that arrive before the session
				if p.second.srv.lookup(sid) == nil {
					return false
				}
				p.passed.Add(1)
				pass(t, p.second, w, r)
				return true
			},
		})
		f(t, p)
	})
}

// pair is two servers.
type pair struct {
	first, second *rig
	moved         chan struct{} // closed when the session has
	passed        atomic.Int32  // requests
}

// pass does a request again on another server.
func pass(t *testing.T, to *rig, w http.ResponseWriter, r *http.Request) {
	req := r.Clone(r.Context())
	req.URL = &url.URL{Scheme: "http", Host: "test", Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	req.RequestURI = ""
	res, err := to.web.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	defer res.Body.Close()
	w.WriteHeader(res.StatusCode)
	_, _ = io.Copy(w, res.Body)
}

// move takes a session from one server to the other.
func (p *pair) move(t *testing.T, sid string) {
	t.Helper()
	transfer, ok := p.first.srv.Release(sid)
	if !ok {
		t.Fatal("not released")
	}
	wire, err := json.Marshal(transfer)
	if err != nil {
		t.Fatal(err)
	}
	transfer = new(Transfer)
	if err := json.Unmarshal(wire, transfer); err != nil {
		t.Fatal(err)
	}
	if err := p.second.srv.Adopt(transfer); err != nil {
		t.Fatal(err)
	}
	close(p.moved)
}

// TestHandover moves a session with a poll and a POST that wait, and upgrades it there: everything is handled once, in order.
func TestHandover(t *testing.T) {
	twoServers(t, func(t *testing.T, p *pair) {
		first, second := p.first, p.second
		sid, target := first.openPoll()
		poll, post := first.async("GET", target, ""), first.async("POST", target, "4one\x1e4two")
		synctest.Wait()
		if got := first.recorder(sid).received(); got != "" {
			t.Fatalf("handled before the time is over: %s", got)
		}
		p.move(t, sid)
		synctest.Wait()
		if a := <-post; a.body != "ok" {
			t.Errorf("POST: %+v", a)
		}
		if got := second.recorder(sid).received(); got != "one|two" {
			t.Errorf("handled %q", got)
		}
		c := second.upgrade(target + "&transport=websocket")
		c.say("2probe")
		c.expect("3probe")
		if a := <-poll; a.body != "6" {
			t.Errorf("poll: %+v", a)
		}
		c.say("5")
		c.say("4three")
		synctest.Wait()
		if got, s := second.recorder(sid).received(), second.recorder(sid).s; got != "one|two|three" || s.Transport() != TransportWebSocket {
			t.Errorf("handled %q, on %s", got, s.Transport())
		}
		if got := first.recorder(sid).ended(); got != ReasonMoved {
			t.Errorf("ended there with %q", got)
		}
		a, b := first.srv.Stats(), second.srv.Stats()
		if a.Released != 1 || b.Adopted != 1 || a.Sessions != 0 || b.Sessions != 1 || p.passed.Load() != 2 {
			t.Errorf("%d passed, %+v, %+v", p.passed.Load(), a, b)
		}
		c.goodbye()
	})
}

// TestHandoverStaysOnPolling: without an upgrade the session goes on on the other server, and what comes to the first one is passed on.
func TestHandoverStaysOnPolling(t *testing.T) {
	twoServers(t, func(t *testing.T, p *pair) {
		first, second := p.first, p.second
		sid, target := first.openPoll()
		p.move(t, sid)
		if a := first.must("POST", target, "4one"); a.body != "ok" {
			t.Errorf("POST: %+v", a)
		}
		poll := first.async("GET", target, "")
		synctest.Wait()
		s := second.recorder(sid).s
		if err := s.Send(NewMessage([]byte("answer"))); err != nil {
			t.Fatal(err)
		}
		if a := <-poll; a.body != "4answer" {
			t.Errorf("poll: %+v", a)
		}
		if h := s.Handshake(); h.URL() != base || h.Headers()["host"] != "test" {
			t.Errorf("handshake: %s %v", h.URL(), h.Headers())
		}
		first.must("POST", target, "1")
		synctest.Wait()
		if a := first.must("GET", target, ""); a.status != http.StatusBadRequest || !strings.Contains(a.body, `"code":1`) {
			t.Errorf("poll after the end: %+v", a)
		}
	})
}

// TestHoldEnds: what waits goes on when the time is over, when the upgrade comes here, and when the session ends.
func TestHoldEnds(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, g *rig, sid, target string){
		"time":    func(*testing.T, *rig, string, string) { time.Sleep(holdTime + wheelTick) },
		"upgrade": func(t *testing.T, g *rig, _, target string) { g.upgrade(target + "&transport=websocket") },
	} {
		t.Run(name, func(t *testing.T) {
			twoServers(t, func(t *testing.T, p *pair) {
				first := p.first
				sid, target := first.openPoll()
				post := first.async("POST", target, "4one")
				synctest.Wait()
				end(t, first, sid, target)
				if a := <-post; a.body != "ok" || first.recorder(sid).received() != "one" {
					t.Errorf("POST: %+v, handled %q", a, first.recorder(sid).received())
				}
				if _, ok := first.srv.Release(sid); ok || p.passed.Load() > 0 {
					t.Error("a session that has begun was released")
				}
			})
		})
	}
	t.Run("end of the session", func(t *testing.T) {
		twoServers(t, func(t *testing.T, p *pair) {
			first := p.first
			sid, target := first.openPoll()
			post := first.async("POST", target, "4one")
			synctest.Wait()
			close(p.moved)
			first.recorder(sid).s.Discard()
			if a := <-post; a.status != http.StatusBadRequest {
				t.Errorf("POST: %+v", a)
			}
			if _, ok := first.srv.Release(sid); ok {
				t.Error("a session that has ended was released")
			}
		})
	})
}

// TestNotReleased: sessions that nobody holds stay where they are.
func TestNotReleased(t *testing.T) {
	g := newRig(t, &Options{HoldYoung: func(r *http.Request) time.Duration {
		if r.URL.Query().Has("stay") {
			return 0
		}
		return time.Minute
	}})
	ws, sid := g.openWS("")
	if _, ok := g.srv.Release(sid); ok {
		t.Error("a websocket was released")
	}
	ws.send(websocket.OpClose, "")
	a := g.must("GET", base+"&stay=1", "")
	if _, ok := g.srv.Release(parseOpen(t, a.body).SID); ok {
		t.Error("a session was released that is not held")
	}
	sid, _ = g.openPoll()
	if err := g.recorder(sid).s.Send(NewMessage([]byte("queued"))); err != nil {
		t.Fatal(err)
	}
	if _, ok := g.srv.Release(sid); ok {
		t.Error("a session was released that has something to send")
	}
	if _, ok := g.srv.Release("nobody"); ok {
		t.Error("an unknown session was released")
	}
}

// TestAdoptRefuses what no server of the same kind releases, and an id that is taken.
func TestAdoptRefuses(t *testing.T) {
	g := newRig(t, nil)
	sid, _ := g.openPoll()
	for _, bad := range []Transfer{
		{ID: sid, Protocol: 4, Request: "/\n127.0.0.1"},
		{ID: "short", Protocol: 4},
		{ID: strings.Repeat("/", idLength), Protocol: 4},
		{ID: strings.Repeat("a", idLength), Protocol: 5},
		{ID: strings.Repeat("a", idLength), Protocol: 4, Request: strings.Repeat("x", 1<<20)},
	} {
		if err := g.srv.Adopt(&bad); err == nil {
			t.Errorf("adopted %+v", bad.ID)
		}
	}
	if n := g.srv.Len(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}
