package engine

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestRefusedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reported []int
		opts := &Options{
			AllowRequest: func(r *http.Request) error {
				switch r.URL.Query().Get("allow") {
				case "no":
					return errTest
				case "text":
					return &Refusal{Message: "not <you>"}
				}
				return nil
			},
			OnConnectionError: func(e *ConnectionError) { reported = append(reported, e.Code) },
		}
		g := newRig(t, opts)
		_, poll := g.openPoll()
		ws, wsID := g.openWS("")
		_ = ws
		const eio = "/engine.io/?EIO=4"
		for _, c := range []struct {
			name, method, target string
			status               int
			body                 string
		}{
			{"no transport", "GET", eio, 400, `{"code":0,"message":"Transport unknown"}`},
			{"unknown transport", "GET", eio + "&transport=tcp", 400, `{"code":0,"message":"Transport unknown"}`},
			{"webtransport", "GET", eio + "&transport=webtransport", 400, `{"code":0,"message":"Transport unknown"}`},
			{"last transport counts", "GET", eio + "&transport=polling&transport=x", 400, `{"code":0,"message":"Transport unknown"}`},
			{"unknown session", "GET", base + "&sid=x", 400, `{"code":1,"message":"Session ID unknown"}`},
			{"prototype session", "GET", base + "&sid=__proto__", 400, `{"code":1,"message":"Session ID unknown"}`},
			{"session id of the right length", "POST", base + "&sid=aaaaaaaaaaaaaaaaaaaa", 400, `{"code":1,"message":"Session ID unknown"}`},
			{"post without session", "POST", base, 400, `{"code":2,"message":"Bad handshake method"}`},
			{"options without session", "OPTIONS", base, 400, `{"code":2,"message":"Bad handshake method"}`},
			{"websocket without upgrade", "GET", eio + "&transport=websocket", 400, `{"code":3,"message":"Bad request"}`},
			{"transport mismatch", "GET", base + "&sid=" + wsID, 400, `{"code":3,"message":"Bad request"}`},
			{"websocket session by GET", "GET", eio + "&transport=websocket&sid=" + wsID, 400, `{"code":3,"message":"Bad request"}`},
			{"protocol mismatch", "GET", strings.Replace(poll, "EIO=4", "EIO=3", 1), 400, `{"code":3,"message":"Bad request"}`},
			{"forbidden", "GET", base + "&allow=no", 403, `{"code":4,"message":"Forbidden"}`},
			{"forbidden with a text", "GET", base + "&allow=text", 403, `{"code":4,"message":"not <you>"}`},
			{"revision 3", "GET", "/engine.io/?EIO=3&transport=polling", 400, `{"code":5,"message":"Unsupported protocol version"}`},
			{"no revision", "GET", "/engine.io/?transport=polling", 400, `{"code":5,"message":"Unsupported protocol version"}`},
			{"other method", "DELETE", poll, 500, ""},
			{"options with session", "OPTIONS", poll, 500, ""},
			{"other path", "GET", "/other/?EIO=4&transport=polling", 404, "404 page not found\n"},
		} {
			a := g.must(c.method, c.target, "")
			if a.status != c.status || a.body != c.body {
				t.Errorf("%s: got %d %s, want %d %s", c.name, a.status, a.body, c.status, c.body)
			}
			if strings.HasPrefix(c.body, "{") && a.header.Get("Content-Type") != "application/json" {
				t.Errorf("%s: content type %q", c.name, a.header.Get("Content-Type"))
			}
		}
		if len(reported) != 17 {
			t.Errorf("%d refusals reported: %v", len(reported), reported)
		}
		if n := g.srv.Stats().Refused[CodeForbidden]; n != 2 {
			t.Errorf("%d forbidden requests counted", n)
		}
		// The sessions are none the worse for it.
		if n := g.srv.Len(); n != 2 {
			t.Errorf("%d sessions", n)
		}
	})
}

func TestRefusedUpgrades(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{AllowRequest: func(r *http.Request) error {
			if r.URL.Query().Get("allow") != "" {
				return &Refusal{Message: "no entry"}
			}
			return nil
		}})
		for _, c := range []struct{ target, body string }{
			{"/engine.io/?EIO=4&transport=tcp", "Transport unknown"},
			{"/engine.io/?EIO=4&transport=websocket&sid=x", "Session ID unknown"},
			{"/engine.io/?EIO=4&transport=websocket&allow=no", "no entry"},
			{"/engine.io/?EIO=3&transport=websocket", "Unsupported protocol version"},
		} {
			ws := g.upgrade(c.target)
			body, _ := io.ReadAll(ws.res.Body)
			if ws.res.StatusCode != 400 || string(body) != c.body || ws.res.Header.Get("Content-Type") != "text/html" || !ws.res.Close {
				t.Errorf("%s: %d %q %v", c.target, ws.res.StatusCode, body, ws.res.Header)
			}
		}
		ws := g.upgrade("/engine.io/?EIO=4&transport=websocket", "Sec-WebSocket-Extensions: x\r\n", "Sec-WebSocket-Protocol: a, b\r\n")
		if got := ws.res.Header.Get("Sec-WebSocket-Protocol"); ws.res.StatusCode != 101 || got != "a" {
			t.Errorf("status %d, subprotocol %q", ws.res.StatusCode, got)
		}
		// An upgrade with the polling transport gets a connection that is closed at once.
		ws = g.upgrade(base)
		ws.expect("close")
		ws.goodbye()
		ws.expect("end")
	})
}

func TestPollingHeaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var initial, all int
		opts := &Options{
			Cookie:           &Cookie{MaxAge: time.Hour, Secure: true},
			OnInitialHeaders: func(h http.Header, _ *http.Request) { initial++; h.Set("X-Initial", "1") },
			OnHeaders:        func(h http.Header, _ *http.Request) { all++; h.Set("X-All", "1") },
			InitialPacket:    NewMessage([]byte("welcome")),
		}
		g := newRig(t, opts)
		a := g.must("GET", base, "", "User-Agent", "Mozilla (;MSIE 9)")
		first, rest, _ := strings.Cut(a.body, "\x1e")
		sid := parseOpen(t, first).SID
		want := fmt.Sprintf(`0{"sid":"%s","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`, sid)
		if first != want || rest != "4welcome" {
			t.Errorf("got %q", a.body)
		}
		for name, value := range map[string]string{
			"Content-Type":     "text/plain; charset=UTF-8",
			"Content-Length":   fmt.Sprint(len(a.body)),
			"Cache-Control":    "no-store",
			"X-Xss-Protection": "0",
			"X-Initial":        "1",
			"X-All":            "1",
			"Set-Cookie":       "io=" + sid + "; Max-Age=3600; Path=/; HttpOnly; Secure; SameSite=Lax",
		} {
			if got := a.header.Get(name); got != value {
				t.Errorf("%s: %q, want %q", name, got, value)
			}
		}
		a = g.must("POST", base+"&sid="+sid, "4hello")
		if a.status != 200 || a.body != "ok" || a.header.Get("Content-Type") != "text/html" ||
			a.header.Get("Set-Cookie") != "" || a.header.Get("X-Xss-Protection") != "" || a.header.Get("X-All") != "1" {
			t.Errorf("POST: %+v", a)
		}
		ws, _ := g.openWS("")
		if ws.res.Header.Get("X-Initial") != "1" || ws.res.Header.Get("Set-Cookie") != "" {
			t.Errorf("101: %v", ws.res.Header)
		}
		ws.expect("4welcome")
		if initial != 2 || all != 3 {
			t.Errorf("hooks called %d and %d times", initial, all)
		}
	})
}

func TestCORS(t *testing.T) {
	const origin = "https://a.example"
	type headers map[string]string
	for _, c := range []struct {
		name    string
		cors    *CORS
		origin  string
		headers headers
		refused bool // over websocket
	}{
		{"no policy", nil, origin, headers{"Access-Control-Allow-Origin": "", "Vary": ""}, false},
		{"any", &CORS{}, origin, headers{"Access-Control-Allow-Origin": "*", "Vary": ""}, false},
		{"any, with credentials", &CORS{Credentials: true}, origin, headers{
			"Access-Control-Allow-Origin": "*", "Vary": "", "Access-Control-Allow-Credentials": "true"}, false},
		{"fixed", &CORS{Origin: origin, Credentials: true}, origin, headers{
			"Access-Control-Allow-Origin": origin, "Vary": "Origin", "Access-Control-Allow-Credentials": "true"}, false},
		{"fixed, other origin", &CORS{Origin: "https://b.example"}, origin, headers{"Access-Control-Allow-Origin": "https://b.example"}, true},
		{"list", &CORS{Origins: []string{"https://b.example", origin}, ExposedHeaders: []string{"A", "B"}}, origin, headers{
			"Access-Control-Allow-Origin": origin, "Vary": "Origin", "Access-Control-Expose-Headers": "A,B"}, false},
		{"list, other origin", &CORS{Origins: []string{"https://b.example"}}, origin, headers{"Access-Control-Allow-Origin": "", "Vary": "Origin"}, true},
		{"list, no origin", &CORS{Origins: []string{origin}}, "", headers{"Access-Control-Allow-Origin": "", "Vary": "Origin"}, false},
		{"reflect", &CORS{ReflectOrigin: true, Credentials: true}, origin, headers{"Access-Control-Allow-Origin": origin}, false},
		{"function", &CORS{OriginFunc: func(_ *http.Request, o string) bool { return o == origin }}, origin, headers{
			"Access-Control-Allow-Origin": origin, "Vary": "Origin"}, false},
		{"function refuses", &CORS{OriginFunc: func(*http.Request, string) bool { return false }}, origin, headers{
			"Access-Control-Allow-Origin": "", "Vary": ""}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, &Options{CORS: c.cors})
				var h []string
				ws := ""
				if c.origin != "" {
					h = []string{"Origin", c.origin}
					ws = "Origin: " + c.origin + "\r\n"
				}
				a := g.must("GET", base, "", h...)
				if a.status != 200 {
					t.Errorf("status %d", a.status)
				}
				for name, want := range c.headers {
					if got := a.header.Get(name); got != want {
						t.Errorf("%s: %q, want %q", name, got, want)
					}
				}
				client := g.upgrade("/engine.io/?EIO=4&transport=websocket", ws)
				if refused := client.res.StatusCode == 400; refused != c.refused {
					t.Errorf("websocket: status %d", client.res.StatusCode)
				}
			})
		})
	}
}

// A page of the server's own host is never foreign, whatever the policy says and whoever ends TLS.
func TestOwnOrigin(t *testing.T) {
	policies := map[string]*CORS{
		"fixed":    {Origin: "https://partner.example"},
		"list":     {Origins: []string{"https://partner.example"}},
		"pattern":  {OriginPatterns: []*regexp.Regexp{regexp.MustCompile(`^https://partner\.`)}},
		"function": {OriginFunc: func(*http.Request, string) bool { return false }},
	}
	for _, c := range []struct {
		host, origin string
		own          bool
	}{
		{"127.0.0.1:3000", "http://127.0.0.1:3000", true},
		{"127.0.0.1:3000", "https://127.0.0.1:3000", true},
		{"chat.example", "https://chat.example", true},
		{"Chat.Example", "https://chat.example", true},
		{"chat.example:443", "https://chat.example", true},
		{"chat.example:80", "https://chat.example", true},
		{"chat.example", "http://chat.example:80", true},
		{"[::1]:3000", "http://[::1]:3000", true},
		{"[::1]:80", "http://[::1]", true},
		{"127.0.0.1:3000", "http://127.0.0.1:3001", false},
		{"127.0.0.1:3000", "http://127.0.0.1", false},
		{"127.0.0.1", "http://127.0.0.1:3000", false},
		{"chat.example", "https://chat.example.evil.example", false},
		{"chat.example", "https://evil.example/chat.example", false},
		{"chat.example", "https://chat.example@evil.example", false},
		{"chat.example", "chat.example", false},
		{"chat.example", "null", false},
		{"null", "null", false},
		{"", "http://", false},
	} {
		for name, policy := range policies {
			synctest.Test(t, func(t *testing.T) {
				g := newRig(t, &Options{CORS: policy})
				conn, err := g.dial()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				head := "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\n" + wsHeaders
				fmt.Fprintf(conn, "%sHost: %s\r\nOrigin: %s\r\n\r\n", head, c.host, c.origin)
				res, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				if own := res.StatusCode == http.StatusSwitchingProtocols; own != c.own {
					t.Errorf("%s, host %q, origin %q: status %d", name, c.host, c.origin, res.StatusCode)
				}
			})
		}
	}
}

func TestPreflight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{CORS: &CORS{Origin: "https://a.example", MaxAge: time.Minute}})
		a := g.must("OPTIONS", base, "", "Origin", "https://a.example", "Access-Control-Request-Headers", "x-one, x-two")
		want := map[string]string{
			"Access-Control-Allow-Origin":  "https://a.example",
			"Access-Control-Allow-Methods": "GET,HEAD,PUT,PATCH,POST,DELETE",
			"Access-Control-Allow-Headers": "x-one, x-two",
			"Access-Control-Max-Age":       "60",
			"Vary":                         "Origin, Access-Control-Request-Headers",
		}
		for name, value := range want {
			if got := a.header.Get(name); got != value {
				t.Errorf("%s: %q, want %q", name, got, value)
			}
		}
		if a.status != 204 || a.body != "" {
			t.Errorf("%d %q", a.status, a.body)
		}
	})
}

func TestCompression(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		long := strings.Repeat("compress me ", 200)
		for _, c := range []struct {
			accept, encoding string
			short            bool
			plain            bool
		}{
			{accept: "gzip", encoding: "gzip"},
			{accept: "deflate, gzip;q=0.5", encoding: "deflate"},
			{accept: "", encoding: ""},
			{accept: "br", encoding: ""},
			{accept: "*", encoding: "gzip"},
			{accept: "gzip;q=0, *", encoding: "deflate"},
			{accept: "gzip", encoding: "", short: true},
			{accept: "gzip", encoding: "", plain: true},
		} {
			sid, target := g.openPoll()
			text := long
			if c.short {
				text = "short"
			}
			m := NewMessage([]byte(text))
			m.SetCompress(!c.plain)
			if err := g.recorder(sid).s.Send(m); err != nil {
				t.Fatal(err)
			}
			a := g.must("GET", target, "", "Accept-Encoding", c.accept)
			if got := a.header.Get("Content-Encoding"); got != c.encoding {
				t.Errorf("%+v: encoding %q", c, got)
			}
			if hasLength := a.header.Get("Content-Length") != ""; hasLength != (c.encoding == "") {
				t.Errorf("%+v: content length %q", c, a.header.Get("Content-Length"))
			}
			if got := decompress(t, a); got != "4"+text {
				t.Errorf("%+v: body %q", c, got)
			}
		}
	})
}

func decompress(t *testing.T, a answer) string {
	t.Helper()
	var r io.Reader = strings.NewReader(a.body)
	var err error
	switch a.header.Get("Content-Encoding") {
	case "gzip":
		r, err = gzip.NewReader(r)
	case "deflate":
		r, err = zlib.NewReader(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestLargeHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		a := g.must("GET", base, "", "X-Large", strings.Repeat("x", defaultMaxHandshake))
		if a.status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("status %d", a.status)
		}
		if n := g.srv.Stats().Limits["handshake_size"]; n != 1 || g.srv.Len() != 0 {
			t.Errorf("counted %d, %d sessions", n, g.srv.Len())
		}
	})
}

// The timeouts of the application's HTTP server must not cut parked polls, nor websocket connections.
func TestServerDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRigOn(t, nil, false, time.Second)
		sid, target := g.openPoll()
		ws, _ := g.openWS("")
		poll := g.async("GET", target, "")
		time.Sleep(10 * time.Second)
		if err := g.recorder(sid).s.Send(NewMessage([]byte("late"))); err != nil {
			t.Fatal(err)
		}
		if a := <-poll; a.body != "4late" {
			t.Errorf("got %+v", a)
		}
		if a := g.must("POST", target, "4x"); a.body != "ok" {
			t.Errorf("got %+v", a)
		}
		ws.expect("2")
	})
}

func TestOptionErrors(t *testing.T) {
	for _, c := range []struct {
		opts Options
		want string
	}{
		{Options{Path: "x"}, `path "x" must start with a slash`},
		{Options{PingInterval: -1}, "ping interval"},
		{Options{PingTimeout: time.Microsecond}, "ping timeout"},
		{Options{UpgradeTimeout: -time.Second}, "upgrade timeout"},
		{Options{MaxHTTPBufferSize: -1}, "maximum HTTP buffer size"},
		{Options{PingInterval: math.MaxInt64}, "ping interval"},
		{Options{MaxHTTPBufferSize: math.MaxInt64}, "not be more than 1 GiB"},
		{Options{OutboxLimit: -1}, "outbox limit"},
		{Options{OutboxMax: -1}, "outbox maximum"},
		{Options{OutboxLimit: 3, OutboxMax: 2}, "outbox limit 3 must not exceed the maximum 2"},
		{Options{OutboxMax: 3, OutboxTotal: 2}, "nor that the total 2"},
		{Options{OutboxLimit: 3, OutboxTotal: 2}, "nor that the total 2"},
		{Options{InputTotal: -1}, "input total"},
		{Options{OutboxTotal: -1}, "outbox total"},
		{Options{StateTotal: -1}, "state total"},
		{Options{MaxSessions: -1}, "maximum of sessions"},
		{Options{MaxHandshakeSize: -1}, "maximum handshake size"},
		{Options{Transports: []string{"polling", "tcp"}}, `unknown transport "tcp"`},
		{Options{HTTPCompression: &HTTPCompression{Level: 10}}, "compression level 10"},
		{Options{PerMessageDeflate: &PerMessageDeflate{ServerMaxWindowBits: 7}}, "window of 7 bits"},
		{Options{Cookie: &Cookie{Name: "a b"}}, "cookie"},
		{Options{Cookie: &Cookie{SameSite: "maybe"}}, `same-site "maybe"`},
		{Options{CORS: &CORS{Origin: "x", ReflectOrigin: true}}, "only one of"},
	} {
		_, err := New(&c.opts, func(*Session) Handler { return nil })
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%+v: %v", c.opts, err)
		}
	}
	if _, err := New(nil, nil); err == nil {
		t.Error("no accept function, no error")
	}
}

// TestWarnCredentials: a policy that browsers do not heed is told about, once, and others are not.
func TestWarnCredentials(t *testing.T) {
	for _, c := range []struct {
		cors *CORS
		want int
	}{
		{nil, 0}, {&CORS{}, 0}, {&CORS{Credentials: true}, 1}, {&CORS{Origin: "*", Credentials: true}, 1},
		{&CORS{Origins: []string{"*"}, Credentials: true}, 1}, {&CORS{ReflectOrigin: true, Credentials: true}, 0},
		{&CORS{Origins: []string{"https://a.example"}, Credentials: true}, 0},
	} {
		var log strings.Builder
		srv, err := New(&Options{CORS: c.cors, Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(*Session) Handler { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if err := srv.Close(); err != nil || strings.Count(log.String(), "ReflectOrigin") != c.want {
			t.Errorf("%+v: logged %q, error %v", c.cors, log.String(), err)
		}
	}
}

// wrapped hides everything but what http.ResponseController finds through Unwrap, as routers' writers do.
type wrapped struct{ w http.ResponseWriter }

func (w wrapped) Header() http.Header         { return w.w.Header() }
func (w wrapped) Write(b []byte) (int, error) { return w.w.Write(b) }
func (w wrapped) WriteHeader(status int)      { w.w.WriteHeader(status) }
func (w wrapped) Unwrap() http.ResponseWriter { return w.w }

func TestMiddlewares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		var order []string
		for _, name := range []string{"first", "second"} {
			g.srv.Use(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					order = append(order, name)
					w.Header().Set("X-"+name, "1")
					if r.URL.Query().Get("stop") == name {
						w.WriteHeader(http.StatusTeapot)
						return
					}
					next.ServeHTTP(wrapped{w}, r)
				})
			})
		}
		if a := g.must("GET", base, ""); a.status != 200 || a.header.Get("X-Second") != "1" {
			t.Errorf("%+v", a)
		}
		if a := g.must("GET", base+"&stop=second", ""); a.status != http.StatusTeapot {
			t.Errorf("%+v", a)
		}
		ws, _ := g.openWS("")
		if ws.res.Header.Get("X-First") != "1" {
			t.Errorf("101 headers: %v", ws.res.Header)
		}
		if got := strings.Join(order, " "); got != "first second first second first second" {
			t.Error(got)
		}
	})
}

// A writer that cannot be hijacked must give an error, not a panic.
func TestNoHijacker(t *testing.T) {
	var log bytes.Buffer
	srv, err := New(&Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(*Session) Handler { return nil })
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "/engine.io/?EIO=4&transport=websocket", nil)
	for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="} {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	srv.ServeHTTP(w, r)
	if w.Code != http.StatusInternalServerError || srv.Len() != 0 {
		t.Errorf("status %d, %d sessions", w.Code, srv.Len())
	}
	srv.ServeHTTP(wrapped{w}, r)
	if text := log.String(); strings.Count(text, "writer=*httptest.ResponseRecorder") != 1 {
		t.Errorf("logged %q", text)
	}
}

// TestRequestDeadline ends the context of a parked poll by a deadline: the client comes back to the same session.
func TestRequestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		g.srv.Use(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx, cancel := context.WithTimeout(r.Context(), time.Second)
				defer cancel()
				next.ServeHTTP(w, r.WithContext(ctx))
			})
		})
		sid, target := g.openPoll()
		for range 2 {
			began := time.Now()
			if a := g.must("GET", target, ""); a.body != "6" || time.Since(began) != time.Second {
				t.Errorf("%+v after %v", a, time.Since(began))
			}
		}
		poll := g.async("GET", target, "")
		synctest.Wait()
		if err := g.recorder(sid).s.Send(NewMessage([]byte("hi"))); err != nil {
			t.Fatal(err)
		}
		if a := <-poll; a.body != "4hi" {
			t.Errorf("%+v", a)
		}
	})
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		opts   *Options
		target string
		want   bool
	}{
		{nil, "/engine.io/?a", true},
		{nil, "/engine.io/any/thing", true},
		{nil, "/engine.io", false},
		{nil, "/engine.iox/", false},
		{&Options{DisableTrailingSlash: true}, "/engine.iox", true},
		{&Options{Path: "/a/b/"}, "/a/b/?x", true},
		{&Options{Path: "/"}, "/x", true},
	} {
		srv, err := New(c.opts, func(*Session) Handler { return nil })
		if err != nil {
			t.Fatal(err)
		}
		if got := srv.Matches(httptest.NewRequest("GET", c.target, nil)); got != c.want {
			t.Errorf("%s: %v", c.target, got)
		}
	}
}

func TestRefusalIsFound(t *testing.T) {
	wrapped := fmt.Errorf("auth: %w", &Refusal{Message: "expired"})
	var r *Refusal
	if !errors.As(wrapped, &r) || r.Error() != "expired" {
		t.Error("not found")
	}
}
