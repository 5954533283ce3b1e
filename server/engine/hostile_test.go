package engine

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Every body gets an answer at once, also one that is refused, and a session that sent nonsense ends: nothing is left open.
func TestEveryBodyIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		for _, c := range []struct {
			name, kind, body string
			status           int
			ends             bool
		}{
			{"binary body", "application/octet-stream", "\x04\x00\xff", 400, true},
			{"empty body", "text/plain", "", 200, true},
			{"unknown packet", "text/plain", "9x", 200, true},
			{"bad base64", "text/plain", "b!!!", 200, false},
			{"separators alone", "text/plain", "\x1e\x1e\x1e", 200, true},
			{"upgrade in a body", "text/plain", "5", 200, false},
			{"noop in a body", "text/plain", "6", 200, false},
			{"ping in a body", "text/plain", "2", 200, true},
			{"open in a body", "text/plain", "0{}", 200, false},
			{"message", "text/plain", "4ok", 200, false},
		} {
			sid, target := g.openPoll()
			begun := time.Now()
			a := g.must("POST", target, c.body, "Content-Type", c.kind)
			synctest.Wait()
			ended := g.recorder(sid).ended() != ""
			if a.status != c.status || ended != c.ends || time.Since(begun) > time.Second {
				t.Errorf("%s: answered %d %s, ended %v after %v", c.name, a.status, a.body, ended, time.Since(begun))
			}
		}
		_, good := g.openPoll()
		if a := g.must("POST", good, "4good"); a.status != http.StatusOK {
			t.Errorf("a session that behaves gets %+v", a)
		}
	})
}

// FuzzRequest sends what no client would: nothing may panic, and every request that cannot become a session is answered.
func FuzzRequest(f *testing.F) {
	for _, target := range []string{
		"EIO=4&transport=polling", "EIO=3&transport=polling", "EIO=4&transport=websocket", "transport=polling&sid=__proto__",
		"EIO=4&transport=polling&sid=aaaaaaaaaaaaaaaaaaaa", "EIO=4&transport=constructor", "EIO=4&EIO=3;transport=polling&j=1", "%zz=%&&==",
		"EIO=4&transport=polling&t=\x00", "EIO=4&transport=polling&j=0);alert(1",
	} {
		f.Add("GET", target, "", "", "", "")
		f.Add("POST", target, "websocket", "Upgrade", "13", "4x")
		f.Add("OPTIONS", target, "h2c", "close, upgrade", "8", "")
	}
	f.Fuzz(func(t *testing.T, method, query, upgrade, connection, version, body string) {
		srv, err := New(&Options{Logger: slog.New(slog.DiscardHandler)}, func(*Session) Handler { return silentHandler{} })
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		r := httptest.NewRequest(http.MethodGet, "http://test/engine.io/", strings.NewReader(body))
		r.Method, r.URL.RawQuery = method, query
		r.RequestURI = "/engine.io/?" + query
		r.Header.Set("Upgrade", upgrade)
		r.Header.Set("Connection", connection)
		r.Header.Set("Sec-WebSocket-Version", version)
		r.Header.Set("Sec-WebSocket-Key", body)
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		answer := w.Result()
		text, _ := io.ReadAll(answer.Body)
		if n := srv.Len(); n > 1 || n == 1 && answer.StatusCode != http.StatusOK {
			t.Errorf("%d sessions after %d %s", n, answer.StatusCode, text)
		}
	})
}
