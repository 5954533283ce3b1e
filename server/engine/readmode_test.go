package engine

import (
	"bytes"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

// eachReadMode runs a test over loopback connections in all read modes.
func eachReadMode(t *testing.T, test func(t *testing.T, mode ReadMode)) {
	for _, mode := range []ReadMode{ReadPoller, ReadHot, ReadGoroutine} {
		t.Run(string(mode), func(t *testing.T) { test(t, mode) })
	}
}

func masked(texts ...string) []byte {
	var b []byte
	for _, s := range texts {
		b = websocket.AppendMasked(b, websocket.BitFin|byte(websocket.OpText), maskKey, []byte(s))
	}
	return b
}

// sayEcho makes every text come back.
func sayEcho(r *recorder, data string) { _ = r.s.Send(NewMessage([]byte(data))) }

// Bytes may come in any pieces: one at a time, many messages at once, a message over many reads.
func TestReadModesPieces(t *testing.T) {
	eachReadMode(t, func(t *testing.T, mode ReadMode) {
		g := newRigOn(t, &Options{ReadMode: mode}, true, 0)
		g.onText = sayEcho
		ws, _ := g.openWS("")
		for _, b := range masked("4one", "4two") {
			if _, err := ws.conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		ws.expect("4one", "4two")
		var many []string
		for i := range 500 {
			many = append(many, fmt.Sprint("4n", i))
		}
		sent := make(chan error, 1)
		go func() {
			_, err := ws.conn.Write(masked(many...))
			sent <- err
		}()
		ws.expect(many...)
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{readBufferSize - 8, readBufferSize, readBufferSize + 1, 100_000} {
			long := "4" + strings.Repeat("x", size)
			go func() {
				_, err := ws.conn.Write(masked(long))
				sent <- err
			}()
			ws.expect(long)
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
	})
}

// What a client sends right behind its handshake belongs to the session.
func TestReadModesEarlyBytes(t *testing.T) {
	eachReadMode(t, func(t *testing.T, mode ReadMode) {
		g := newRigOn(t, &Options{ReadMode: mode}, true, 0)
		g.onText = sayEcho
		conn, err := g.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		request := "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\n" + wsHeaders + "\r\n"
		if _, err := conn.Write(append([]byte(request), masked("4early", "4bird")...)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 0, 1024)
		buf := make([]byte, 1024)
		for !bytes.Contains(got, []byte("4bird")) {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("%v after %q", err, got)
			}
			got = append(got, buf[:n]...)
		}
		if !bytes.Contains(got, []byte("4early")) {
			t.Errorf("got %q", got)
		}
	})
}

// Each way in which a connection can end is noticed, with nothing that came before it lost.
func TestReadModesEnds(t *testing.T) {
	ends := map[string]struct {
		end    func(s *Session, conn *net.TCPConn)
		reason string
	}{
		"close":      {func(_ *Session, c *net.TCPConn) { _ = c.Close() }, ReasonTransportClose},
		"half close": {func(_ *Session, c *net.TCPConn) { _ = c.CloseWrite() }, ReasonTransportClose},
		"reset": {func(_ *Session, c *net.TCPConn) {
			_ = c.SetLinger(0)
			_ = c.Close()
		}, ReasonTransportClose},
		"discard":  {func(s *Session, _ *net.TCPConn) { s.Discard() }, ReasonForcedClose},
		"close it": {func(s *Session, _ *net.TCPConn) { s.Close() }, ReasonForcedClose},
		"abrupt": {func(s *Session, _ *net.TCPConn) {
			s.finish(&ending{reason: ReasonTransportError, err: errTest, abrupt: true})
		}, ReasonTransportError},
	}
	eachReadMode(t, func(t *testing.T, mode ReadMode) {
		for name, e := range ends {
			t.Run(name, func(t *testing.T) {
				g := newRigOn(t, &Options{ReadMode: mode}, true, 0)
				ws, sid := g.openWS("")
				r := g.recorder(sid)
				ws.say("4last words")
				if name != "reset" && name != "close" && name != "half close" {
					for r.received() == "" {
						runtime.Gosched()
					}
				}
				e.end(r.s, ws.conn.(*net.TCPConn))
				within(t, "the end of the session", r.closed)
				if r.ended() != e.reason {
					t.Errorf("reason %q, want %q", r.ended(), e.reason)
				}
				if got := r.received(); got != "last words" && name != "reset" {
					t.Errorf("received %q", got)
				}
				_ = ws.conn.Close()
				_ = g.srv.Close()
				g.checkEnded(t)
			})
		}
	})
}

// While a session is paused nothing is delivered; what waits comes in order afterwards, and so does the end behind it.
func TestReadModesPause(t *testing.T) {
	eachReadMode(t, func(t *testing.T, mode ReadMode) {
		g := newRigOn(t, &Options{ReadMode: mode}, true, 0)
		paused := make(chan struct{})
		g.onText = func(r *recorder, data string) {
			if data == "0" {
				r.s.Pause()
				close(paused)
			}
		}
		ws, sid := g.openWS("")
		r := g.recorder(sid)
		var want, texts []string
		for i := range 2000 {
			want = append(want, fmt.Sprint(i))
			texts = append(texts, fmt.Sprint("4", i))
		}
		if _, err := ws.conn.Write(masked(texts...)); err != nil {
			t.Fatal(err)
		}
		_ = ws.conn.(*net.TCPConn).CloseWrite()
		within(t, "the pause", paused)
		if got := r.received(); got != "0" {
			t.Errorf("received %.40q during the pause", got)
		}
		r.s.Resume()
		within(t, "the end", r.closed)
		if got := r.received(); got != strings.Join(want, "|") {
			t.Errorf("received %d bytes: %.60q", len(got), got)
		}
	})
}

// A handler that calls runtime.Goexit ends its session and nothing else.
func TestReadModesGoexit(t *testing.T) {
	eachReadMode(t, func(t *testing.T, mode ReadMode) {
		g := newRigOn(t, &Options{ReadMode: mode}, true, 0)
		g.onText = func(r *recorder, data string) {
			if data == "leave" {
				runtime.Goexit()
			}
			sayEcho(r, data)
		}
		ws, sid := g.openWS("")
		other, _ := g.openWS("")
		r := g.recorder(sid)
		if _, err := ws.conn.Write(masked("4leave", "4more")); err != nil {
			t.Fatal(err)
		}
		within(t, "the end of the session", r.closed)
		ws.expect("close")
		ws.goodbye()
		ws.expect("end")
		other.say("4still here")
		other.expect("4still here")
	})
}

// What is continued runs after the message, may block, and holds up neither the connection nor Close.
func TestReadModesContinue(t *testing.T) {
	eachReadMode(t, func(t *testing.T, mode ReadMode) {
		g := newRigOn(t, &Options{ReadMode: mode}, true, 0)
		release := make(chan struct{})
		var continued sync.WaitGroup
		continued.Add(3)
		g.onText = func(r *recorder, data string) {
			if strings.HasPrefix(data, "block") {
				r.s.Continue(func() {
					defer continued.Done()
					<-release
				})
				return
			}
			sayEcho(r, data)
		}
		ws, _ := g.openWS("")
		ws.say("4block 1")
		ws.say("4a")
		ws.expect("4a")
		if _, err := ws.conn.Write(masked("4block 2", "4block 3", "4b")); err != nil {
			t.Fatal(err)
		}
		ws.expect("4b")
		_ = ws.conn.Close()
		_ = g.srv.Close()
		close(release)
		continued.Wait()
	})
}

// Descriptors and slots are used again at once: an event for a connection that is gone must not reach its successor.
func TestReadModesReuse(t *testing.T) {
	eachReadMode(t, func(t *testing.T, mode ReadMode) {
		g := newRigOn(t, &Options{ReadMode: mode}, true, 0)
		g.onText = sayEcho
		var clients sync.WaitGroup
		for i := range 8 {
			clients.Go(func() {
				for j := range 60 {
					conn, err := g.dial()
					if err != nil {
						t.Error(err)
						return
					}
					text := fmt.Sprintf("4%d of %d", j, i)
					if err := exchange(conn, text, j%3 == 0); err != nil {
						t.Errorf("%s: %v", text, err)
					}
				}
			})
		}
		clients.Wait()
		_ = g.srv.Close()
		g.checkEnded(t)
	})
}

// exchange opens a session on conn, says something, expects it back, and closes the connection.
func exchange(conn net.Conn, text string, reset bool) error {
	defer conn.Close()
	request := "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\n" + wsHeaders + "\r\n"
	if _, err := conn.Write([]byte(request)); err != nil {
		return err
	}
	got, buf := make([]byte, 0, 1024), make([]byte, 1024)
	until := func(what string) error {
		for !bytes.Contains(got, []byte(what)) {
			n, err := conn.Read(buf)
			if err != nil {
				return fmt.Errorf("%w after %q", err, got)
			}
			got = append(got, buf[:n]...)
		}
		return nil
	}
	if err := until(`"maxPayload"`); err != nil {
		return err
	}
	if _, err := conn.Write(masked(text)); err != nil {
		return err
	}
	if reset {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	return until(text)
}

// An unknown read mode is an error that names it.
func TestReadModeUnknown(t *testing.T) {
	_, err := New(&Options{ReadMode: "epoll"}, func(*Session) Handler { return nil })
	if err == nil || !strings.Contains(err.Error(), `"epoll"`) {
		t.Errorf("error %v", err)
	}
}

// TestPassThrough reads a wrapped connection as the wrapper says.
func TestPassThrough(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tcp, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	for _, c := range []struct {
		conn net.Conn
		raw  bool
	}{{tcp, true}, {opaque{tcp}, false}, {transparent{opaque{tcp}, tcp}, true}, {transparent{opaque{tcp}, a}, false}} {
		if got := rawConn(c.conn) != nil; got != (c.raw && runtime.GOOS != "windows") {
			t.Errorf("%T: descriptor %v", c.conn, got)
		}
	}
}

type opaque struct{ net.Conn }

type transparent struct {
	opaque
	inner net.Conn
}

func (c transparent) PassThrough() net.Conn { return c.inner }
