package engine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
	"weak"
)

// parked puts a second HTTP server in front of g, which parks connections soon, and makes g's requests go there.
func (g *rig) parked(change func(*http.Server)) *lot { return g.parkedAfter(time.Millisecond, change) }

func (g *rig) parkedAfter(wait time.Duration, change func(*http.Server)) *lot {
	g.t.Helper()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	l := NewListener(plain).(*pollListener)
	l.lot.soon, l.lot.late = wait, wait
	web := &http.Server{
		Handler: g.srv, ConnState: g.srv.ConnState, IdleTimeout: time.Minute, ReadHeaderTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	if change != nil {
		change(web)
	}
	back, settle := l.Park(web)
	var served sync.WaitGroup
	for _, l := range []net.Listener{l, back} {
		served.Go(func() { _ = web.Serve(l) })
	}
	g.dial = func() (net.Conn, error) { return net.Dial("tcp", plain.Addr().String()) }
	g.web.CloseIdleConnections()
	g.t.Cleanup(func() {
		_ = g.srv.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		settle(ctx)
		if err := web.Shutdown(ctx); err != nil {
			g.t.Error(err)
		}
		_ = web.Close()
		served.Wait()
	})
	return l.lot
}

// len is how many sockets are parked.
func (l *lot) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seats)
}

func (l *lot) await(t testing.TB, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d sockets are parked", n), func() bool { return l.len() == n })
}

// line is a connection on which a test writes HTTP.
type line struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	raw  bytes.Buffer // what has been read
}

func (g *rig) line() *line {
	g.t.Helper()
	conn, err := g.dial()
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	l := &line{t: g.t, conn: conn}
	l.r = bufio.NewReader(io.TeeReader(conn, &l.raw))
	return l
}

func (l *line) say(text string) {
	l.t.Helper()
	if _, err := io.WriteString(l.conn, text); err != nil {
		l.t.Fatal(err)
	}
}

// answer reads one.
func (l *line) answer() (status int, body string) {
	l.t.Helper()
	res, err := http.ReadResponse(l.r, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func (l *line) expect(status int, body string) {
	l.t.Helper()
	if s, b := l.answer(); s != status || b != body {
		l.t.Fatalf("answered %d %q, want %d %q", s, b, status, body)
	}
}

func getText(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: test\r\n\r\n" }
func postText(target, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s", target, len(body), body)
}

// serving is how many connections have a goroutine of net/http.
func serving() int {
	buf := make([]byte, 1<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "net/http.(*conn).serve(")
}

// TestParkedPoll: the answers of polls are the same in every byte, parked or not, and their connections go on.
func TestParkedPoll(t *testing.T) {
	date := regexp.MustCompile(`Date: [^\r]*`)
	ask := func(mode ReadMode, head, message string) string {
		g := newRig(t, &Options{ReadMode: mode, CORS: &CORS{ReflectOrigin: true, Credentials: true, ExposedHeaders: []string{"x-a"}},
			OnHeaders: func(h http.Header, r *http.Request) {
				h.Set("X-Echo", r.Header.Get("X-Token")+r.Proto+r.Host)
			}})
		sid, target := g.openPoll()
		lot := g.parked(nil)
		l := g.line()
		l.say(fmt.Sprintf(head, target))
		s := g.recorder(sid).s
		if mode == ReadAuto {
			lot.await(t, 1)
			eventually(t, "net/http has let go", func() bool { return serving() == 0 })
		} else {
			eventually(t, "the poll waits", func() bool { return s.transport.(*polling).parked() })
		}
		if err := s.Send(NewMessage([]byte(message))); err != nil {
			t.Fatal(err)
		}
		l.answer()
		if !strings.Contains(head, "close") && (!strings.Contains(head, "1.0") || strings.Contains(head, "keep-alive")) {
			l.say(postText(target, "4x"))
			l.expect(200, "ok")
		} else if _, err := l.r.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("the connection goes on: %v", err)
		}
		return date.ReplaceAllString(l.raw.String(), "Date")
	}
	for _, head := range []string{
		"GET %s HTTP/1.1\r\nHost: test\r\n\r\n",
		"GET %s HTTP/1.1\nHost: test\n\n",
		"GET %s HTTP/1.1\r\nHost: test\r\nOrigin: http://a\r\nX-Token: \xe9  b\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n",
		"GET %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\nUser-Agent: Trident/\r\n\r\n",
		"GET %s HTTP/1.0\r\n\r\n",
		"GET %s HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
		"GET %s HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\nPragma: no-cache\r\n\r\n",
	} {
		for _, message := range []string{"hello", strings.Repeat("long ", 1000), strings.Repeat("x", 200_000)} {
			if got, want := ask(ReadAuto, head, message), ask(ReadGoroutine, head, message); got != want {
				t.Errorf("%q: parked %.1000q, not parked %.1000q", head, got, want)
			}
		}
	}
}

// TestParkedPollGone: a client that leaves is noticed.
func TestParkedPollGone(t *testing.T) {
	g := newRig(t, nil)
	sid, target := g.openPoll()
	lot := g.parked(nil)
	for _, reset := range []bool{false, true} {
		l := g.line()
		l.say(getText(target))
		lot.await(t, 1)
		if reset {
			_ = l.conn.(*net.TCPConn).SetLinger(0)
		}
		_ = l.conn.Close()
		r := g.recorder(sid)
		within(t, "the session ends", r.closed)
		if r.ended() != ReasonTransportError || !errors.Is(r.lastErr, errPollGone) {
			t.Errorf("ended with %q, %v", r.ended(), r.lastErr)
		}
		lot.await(t, 0)
		sid, target = g.openPollOn(lot)
	}
}

// openPollOn opens a session through the server whose connections lot parks, and forgets the connection.
func (g *rig) openPollOn(lot *lot) (sid, target string) {
	g.t.Helper()
	sid, target = g.openPoll()
	g.web.CloseIdleConnections()
	lot.await(g.t, 0)
	return sid, target
}

// TestParkedPollPipelined: a request that comes behind a poll, with it or when it is parked, is served behind it.
func TestParkedPollPipelined(t *testing.T) {
	for _, together := range []bool{false, true} {
		g := newRig(t, nil)
		sid, target := g.openPoll()
		lot := g.parked(nil)
		s := g.recorder(sid).s
		l := g.line()
		if together {
			l.say(getText(target) + postText(target, "4a"))
		} else {
			l.say(getText(target))
			lot.await(t, 1)
			l.say(postText(target, "4a"))
			lot.await(t, 0)
		}
		eventually(t, "the poll waits", func() bool { return s.transport.(*polling).parked() })
		if got := g.recorder(sid).received(); got != "" {
			t.Errorf("served before the poll: %q", got)
		}
		_ = s.Send(NewMessage([]byte("b")))
		l.expect(200, "4b")
		l.expect(200, "ok")
		if got := g.recorder(sid).received(); got != "a" {
			t.Errorf("received %q", got)
		}
		l.say(getText(target))
		lot.await(t, 1)
	}
}

// TestParkedPipelinedBody: the moment after which a connection is parked does not bound the body of a request that came with the one
// before it.
func TestParkedPipelinedBody(t *testing.T) {
	g := newRig(t, nil)
	g.parkedAfter(time.Nanosecond, func(web *http.Server) {
		web.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil || r.Context().Err() != nil {
				t.Errorf("read %q, %v", body, err)
			}
			_, _ = w.Write(body)
		})
	})
	l := g.line()
	head, _, _ := strings.Cut(postText("/", "second"), "second")
	l.say(postText("/", "first") + head)
	l.expect(200, "first")
	l.say("second")
	l.expect(200, "second")
}

// TestParkedIdle: a connection between two requests is parked, too, and counts as idle.
func TestParkedIdle(t *testing.T) {
	g := newRig(t, &Options{MaxIdle: 2})
	_, target := g.openPoll()
	lot := g.parked(nil)
	first := g.line()
	for range 3 {
		first.say(postText(target, "4a"))
		first.expect(200, "ok")
		lot.await(t, 1)
		eventually(t, "net/http has let go", func() bool { return serving() == 0 })
	}
	first.say("POST")
	lot.await(t, 0)
	first.say(postText(target, "4a")[len("POST"):])
	first.expect(200, "ok")
	lot.await(t, 1)
	for range 2 {
		l := g.line()
		l.say(postText(target, "4a"))
		l.expect(200, "ok")
	}
	if _, err := first.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the connection that has been idle for longest: %v", err)
	}
	lot.await(t, 2)
	if n := g.srv.count.limits[limitIdle].Load(); n != 1 {
		t.Errorf("%d connections were too many, want 1", n)
	}
}

// TestParkedIdleTimeout: a parked connection ends when net/http would have ended it, and nothing of it is left.
func TestParkedIdleTimeout(t *testing.T) {
	g := newRig(t, nil)
	_, target := g.openPoll()
	lot := g.parked(func(web *http.Server) { web.IdleTimeout = 2 * time.Second })
	l := g.line()
	start := time.Now()
	l.say(postText(target, "4a"))
	l.expect(200, "ok")
	lot.await(t, 1)
	if _, err := l.r.ReadByte(); !errors.Is(err, io.EOF) || time.Since(start) < 2*time.Second {
		t.Errorf("the connection ended after %v: %v", time.Since(start), err)
	}
	lot.await(t, 0)
	eventually(t, "no connection is counted", func() bool {
		g.srv.waiting.mu.Lock()
		defer g.srv.waiting.mu.Unlock()
		return len(g.srv.waiting.places) == 0
	})
}

// TestParkedShutdown: polls are answered when the server ends, and what is idle is closed.
func TestParkedShutdown(t *testing.T) {
	var polls []*line
	var silent *line
	outer := t
	t.Run("serve", func(t *testing.T) {
		g := newRig(t, nil)
		var targets []string
		for range 20 {
			_, target := g.openPoll()
			targets = append(targets, target)
		}
		lot := g.parked(nil)
		g.t = outer // who ends the connections
		for _, target := range targets {
			l := g.line()
			l.say(getText(target))
			polls = append(polls, l)
		}
		silent = g.line()
		silent.say("GET / HTTP/1.1\r\nHost: test\r\n\r\n")
		silent.answer()
		lot.await(t, len(polls)+1)
	})
	for _, l := range polls {
		l.expect(200, "6")
	}
	if _, err := silent.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the idle connection: %v", err)
	}
}

// TestNotParked: where something stands between net/http and the engine, it sees the answer.
func TestNotParked(t *testing.T) {
	for _, between := range []string{"writer", "request", "nothing"} {
		g := newRig(t, nil)
		sid, target := g.openPoll()
		g.parked(func(web *http.Server) {
			web.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch between {
				case "writer":
					w = struct{ http.ResponseWriter }{w}
				case "request":
					r = r.WithContext(r.Context())
				}
				if got := parkableConn(w, r) != nil; got != (between == "nothing") {
					t.Errorf("%s between: parkable %v", between, got)
				}
				g.srv.ServeHTTP(w, r)
			})
		})
		l := g.line()
		l.say(getText(target))
		eventually(t, "the poll waits", func() bool { return g.recorder(sid).s.transport.(*polling).parked() })
		_ = g.recorder(sid).s.Send(NewMessage([]byte("a")))
		l.expect(200, "4a")
	}
}

// TestParkedStress: whatever comes while connections are taken from net/http and given back, nothing is lost.
func TestParkedStress(t *testing.T) {
	g := newRig(t, nil)
	g.onText = func(r *recorder, data string) { _ = r.s.Send(NewMessage([]byte(data))) }
	g.parkedAfter(time.Nanosecond, nil)
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			_, target := g.openPoll()
			poll, post := g.line(), g.line()
			for n := range 60 {
				text := fmt.Sprintf("4%d.%d", i, n)
				poll.say(getText(target))
				post.say(postText(target, text))
				post.expect(200, "ok")
				poll.expect(200, text)
			}
		})
	}
	clients.Wait()
}

// TestEndsHead: nothing of what follows a request is taken for a part of it.
func TestEndsHead(t *testing.T) {
	for text, want := range map[string]bool{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n":                            true,
		"ET / HTTP/1.0\r\n\r\n":                                        true,
		"GET / HTTP/1.1\nHost: a\n\n":                                  true,
		"GET / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n": false,
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nG":                           false,
		"GET / HTTP/1.1\r\nHost: a\r\n":                                false,
		"GET / HTTP/1.1\r\n\nGET / HTTP/1.1\r\n\r\n":                   false,
		"GET": false,
		"":    false,
	} {
		if got := endsHead([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestHandshakePinsNothing: what a session keeps of its first request is a copy, and not the memory into which the request was read.
func TestHandshakePinsNothing(t *testing.T) {
	const head = "GET /engine.io/?EIO=4&transport=polling&name=value HTTP/1.1\r\nHost: test\r\nUser-Agent: a browser\r\nCookie: a=1\r\nX-Real: x\r\n\r\n"
	read := func() (h Handshake, memory []weak.Pointer[byte]) {
		r, err := http.ReadRequest(bufio.NewReaderSize(strings.NewReader(head), 4096))
		if err != nil {
			t.Fatal(err)
		}
		note := func(text string) string {
			// Memory of its own, without a pointer beside it: the allocator would let tiny objects share a block.
			text += strings.Repeat("x", 100)
			memory = append(memory, weak.Make(unsafe.StringData(text)))
			return text
		}
		r.RequestURI, r.Host, r.RemoteAddr = note(r.RequestURI), note(r.Host), "127.0.0.1:1"
		for name, values := range r.Header {
			r.Header[name] = []string{note(values[0])}
		}
		h, ok := newHandshake(r, nil, 16<<10)
		if !ok {
			t.Fatal("the handshake is too long")
		}
		return h, memory
	}
	h, memory := read()
	if len(memory) != 5 {
		t.Fatalf("%d strings are looked at", len(memory))
	}
	headers, query := h.Headers(), h.Query()
	for i, m := range memory {
		eventually(t, fmt.Sprintf("string %d is collected", i), func() bool { runtime.GC(); return m.Value() == nil })
	}
	if len(headers) != 4 || !strings.HasPrefix(query["name"], "value") || !strings.HasPrefix(h.URL(), "/engine.io/") {
		t.Errorf("headers %v, query %v", headers, query)
	}
}
