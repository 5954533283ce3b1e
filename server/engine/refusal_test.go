package engine

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

// A Refusal can choose the status and say when to come back, over polling and for an upgrade.
func TestRefusalStatus(t *testing.T) {
	for _, c := range []struct {
		refusal        Refusal
		polling, ws    int
		after, message string
	}{
		{Refusal{Message: "no"}, 403, 400, "", "no"},
		{Refusal{Message: "slow", Status: 429, RetryAfter: 1200 * time.Millisecond}, 429, 429, "2", "slow"},
		{Refusal{Message: "full", Status: 503, RetryAfter: time.Second}, 503, 503, "1", "full"},
		{Refusal{Message: "odd", Status: 200}, 403, 400, "", "odd"},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, &Options{AllowRequest: func(*http.Request) error { return &c.refusal }})
			a := g.must("GET", "/engine.io/?EIO=4&transport=polling", "")
			if a.status != c.polling || a.header.Get("Retry-After") != c.after || a.body != `{"code":4,"message":"`+c.message+`"}` {
				t.Errorf("%+v: %+v", c.refusal, a)
			}
			res := g.upgrade("/engine.io/?EIO=4&transport=websocket").res
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != c.ws || res.Header.Get("Retry-After") != c.after || string(body) != c.message {
				t.Errorf("%+v: %d %v %s", c.refusal, res.StatusCode, res.Header, body)
			}
		})
	}
}

// Who observes a session may end it before it is known; nothing of it stays.
func TestObserveEndsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watcher{}
		g := newRig(t, &Options{Observe: func(s *Session) Observer {
			s.Fail(ReasonTransportError, errLimit)
			return w
		}})
		a := g.must("GET", "/engine.io/?EIO=4&transport=polling", "")
		synctest.Wait()
		if st := g.srv.Stats(); st.Sessions != 0 || st.Polling != 0 || st.Timers != 0 || st.Opened != 1 || st.Closed != 1 {
			t.Errorf("%d: %+v", a.status, st)
		}
		if got := w.all(); !strings.HasPrefix(got, "closed transport error limit") || strings.Count(got, "closed") != 1 {
			t.Errorf("observed %s", got)
		}
	})
}

// A session's observer is found, with what it wraps.
func TestSessionObserver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &watcher{}
		g := newRig(t, &Options{Observe: func(*Session) Observer { return w }})
		_, sid := g.openWS("")
		if got := g.recorder(sid).s.Observer(); got != Observer(w) {
			t.Errorf("observed by %v", got)
		}
		g = newRig(t, nil)
		_, sid = g.openWS("")
		if got := g.recorder(sid).s.Observer(); got != nil {
			t.Errorf("observed by %v", got)
		}
	})
}

// PauseFor ends by itself, the last one counts, and Resume does not end it, nor does it end a Pause.
func TestPauseFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		g.onText = func(r *recorder, data string) {
			switch data {
			case "both":
				r.s.PauseFor(time.Second)
				r.s.PauseFor(3 * time.Second)
			case "pause too":
				r.s.PauseFor(time.Second)
				r.s.Pause()
			}
		}
		ws, sid := g.openWS("")
		r := g.recorder(sid)
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := r.received(); got != want {
				t.Errorf("received %q, want %q", got, want)
			}
		}
		var frames []byte
		for _, text := range []string{"4a", "4both", "4b", "4pause too", "4c"} {
			frames = websocket.AppendMasked(frames, websocket.BitFin|byte(websocket.OpText), maskKey, []byte(text))
		}
		if _, err := ws.conn.Write(frames); err != nil {
			t.Fatal(err)
		}
		expect("a|both")
		r.s.Resume()
		time.Sleep(2900 * time.Millisecond)
		expect("a|both")
		time.Sleep(200 * time.Millisecond)
		expect("a|both|b|pause too")
		time.Sleep(2 * time.Second)
		expect("a|both|b|pause too")
		r.s.Resume()
		expect("a|both|b|pause too|c")
		r.s.PauseFor(time.Minute)
		r.s.Discard()
		ws.expect("close")
		g.expectEnd(sid, ReasonForcedClose, nil)
		time.Sleep(2 * time.Minute)
	})
}

func TestRefusalWrapped(t *testing.T) {
	e := forbidden(nil, errors.Join(errLimit, &Refusal{Message: "m", Status: 429}))
	if e.statusOr(403) != 429 || e.answer() != "m" {
		t.Errorf("%+v", e)
	}
}

// A strict policy refuses pages of other origins on every transport, whatever cookies they bring; requests that no page sends, and those of
// the server's own pages, are let in.
func TestStrictOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nobody := func(*http.Request, string) bool { return false }
		g := newRig(t, &Options{CORS: &CORS{Strict: true, OriginFunc: nobody}})
		_, target := g.openPoll()
		const refused = `{"code":4,"message":"Forbidden"}`
		for _, c := range []struct {
			method, target, origin string
			status                 int
		}{
			{"GET", base, "https://evil.example", 403},
			{"GET", base, "null", 403},
			{"GET", target, "https://evil.example", 403},
			{"POST", target, "https://evil.example", 403},
			{"GET", base, "", 200},
			{"GET", base, "http://test", 200},
			{"POST", target, "", 200},
		} {
			header := []string{"Cookie", "session=secret"}
			if c.origin != "" {
				header = append(header, "Origin", c.origin)
			}
			body := ""
			if c.method == "POST" {
				body = "4x"
			}
			a := g.must(c.method, c.target, body, header...)
			if a.status != c.status || a.status == 403 && a.body != refused || a.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s from %q: %+v", c.method, c.origin, a)
			}
		}
		for origin, status := range map[string]int{"https://evil.example": 400, "http://test": 101} {
			if got := g.upgrade("/engine.io/?EIO=4&transport=websocket", "Origin: "+origin+"\r\n").res.StatusCode; got != status {
				t.Errorf("an upgrade from %s gets %d", origin, got)
			}
		}
	})
}
