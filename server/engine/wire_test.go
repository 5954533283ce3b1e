package engine

import (
	"bufio"
	"bytes"
	"compress/flate"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

func inflate(t *testing.T, p []byte) string {
	t.Helper()
	r := flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPerMessageDeflate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, &Options{PerMessageDeflate: &PerMessageDeflate{}})
		g.onText = func(r *recorder, data string) { _ = r.s.Send(NewMessage([]byte(data))) }
		const extension = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
		ws, sid := g.openWS("", extension)
		plain, plainID := g.openWS("")
		long := strings.Repeat("compressible ", 100)
		m := NewMessage([]byte(long), []byte("short"), []byte(long))
		for _, id := range []string{sid, plainID} {
			if err := g.recorder(id).s.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		plain.expect("4"+long, fmt.Sprintf("<%x>", "short"), fmt.Sprintf("<%x>", long))
		for _, want := range []struct {
			first byte
			text  string
		}{{0xc1, "4" + long}, {0x82, "short"}, {0xc2, long}} {
			first, payload := ws.frame()
			if first != want.first {
				t.Fatalf("first byte %x, want %x", first, want.first)
			}
			got := string(payload)
			if first&websocket.BitRSV1 != 0 {
				got = inflate(t, payload)
			}
			if got != want.text {
				t.Errorf("got %q", got)
			}
		}
		quiet := NewMessage([]byte(long))
		quiet.SetCompress(false)
		_ = g.recorder(sid).s.Send(quiet)
		ws.expect("4" + long)
		compressed := websocket.AppendDeflated(nil, []byte("4"+long), 1)
		if _, err := ws.conn.Write(websocket.AppendMasked(nil, websocket.BitFin|websocket.BitRSV1|byte(websocket.OpText), maskKey, compressed)); err != nil {
			t.Fatal(err)
		}
		if _, payload := ws.frame(); inflate(t, payload) != "4"+long {
			t.Error("the echo differs")
		}
	})
}

// pieces is a connection that writes three bytes at a time.
type pieces struct{ net.Conn }

func (c pieces) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var k int
		k, err = c.Conn.Write(p[n:min(n+3, len(p))])
		n += k
	}
	return n, err
}

// TLS connections are read by a goroutine each, or by the poller when they come from NewListener's listener, and records
// may come in any pieces.
func TestTLS(t *testing.T) {
	for _, polled := range []bool{false, true} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(fmt.Sprintf("polled=%v %s", polled, tls.VersionName(version)), func(t *testing.T) { testTLS(t, polled, version) })
		}
	}
}

// testTLS ends a connection by the client's close frame, and one by SendAway.
func testTLS(t *testing.T, polled bool, version uint16) {
	srv, err := New(&Options{MaxHTTPBufferSize: 1 << 20}, func(s *Session) Handler { return echoHandler{s} })
	if err != nil {
		t.Fatal(err)
	}
	hs := httptest.NewUnstartedServer(srv)
	hs.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if polled {
		hs.Listener = NewListener(hs.Listener)
	}
	hs.StartTLS()
	defer hs.Close()
	ws, s := dialTLS(t, srv, hs, version)
	if h := s.Handshake(); !h.Secure() || h.Address() != "127.0.0.1" {
		t.Errorf("secure %v, address %q", h.Secure(), h.Address())
	}
	for _, n := range []int{1, 511, 512, 513, 5000, 40_000, 1, 2000, 1} {
		text := "4" + strings.Repeat("x", n)
		go func() { _ = ws.trySend(websocket.OpText, text) }()
		if got := ws.text(); got != text {
			t.Fatalf("%d bytes came back as %d", len(text), len(got))
		}
	}
	s.mu.Lock()
	watched := s.transport.(*wsConn).poll.watched()
	s.mu.Unlock()
	if watched != (polled && runtime.GOOS == "linux") {
		t.Errorf("watched by the poller: %v", watched)
	}
	ws.goodbye()
	ws.expect("close", "end")

	ws, s = dialTLS(t, srv, hs, version)
	if err := s.Send(NewMessage([]byte("last"))); err != nil {
		t.Fatal(err)
	}
	s.SendAway()
	ws.expect("4last", "end") // which is an alert of TLS: a connection that is cut is an error
	if n, err := ws.conn.(*tls.Conn).NetConn().Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the end of TLS: %d bytes, %v; want the end of the connection", n, err)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
}

// dialTLS opens a websocket session.
func dialTLS(t *testing.T, srv *Server, hs *httptest.Server, version uint16) (*wsClient, *Session) {
	tcp, err := net.Dial("tcp", hs.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tcp.Close() })
	conn := tls.Client(pieces{tcp}, &tls.Config{InsecureSkipVerify: true, MaxVersion: version}) //nolint:gosec // the test's own certificate
	ws := &wsClient{t: t, conn: conn, r: bufio.NewReader(conn)}
	fmt.Fprintf(conn, "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\n%s\r\n", wsHeaders)
	if ws.res, err = http.ReadResponse(ws.r, nil); err != nil {
		t.Fatal(err)
	}
	return ws, srv.lookup(parseOpen(t, ws.text()).SID)
}

// Frames that arrive together with the handshake request must not be lost.
func TestEarlyFrames(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		g := newRigOn(t, nil, tcp, 0)
		g.onText = func(r *recorder, data string) { _ = r.s.Send(NewMessage([]byte(data))) }
		conn, err := g.dial()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		request := fmt.Appendf(nil, "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\n%s\r\n", wsHeaders)
		request = websocket.AppendMasked(request, websocket.BitFin|byte(websocket.OpText), maskKey, []byte("4early"))
		go func() { _, _ = conn.Write(request) }()
		ws := &wsClient{t: t, conn: conn, r: bufio.NewReader(conn)}
		if ws.res, err = http.ReadResponse(ws.r, nil); err != nil {
			t.Fatal(err)
		}
		parseOpen(t, ws.text())
		ws.expect("4early")
	}
}

func TestWarnings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		opts := &Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), MaxHTTPBufferSize: 10}
		g := newRig(t, opts)
		for range 3 {
			g.must("GET", base, "", "Origin", "https://evil.example", "Cookie", "session=1")
		}
		g.must("GET", base, "", "Origin", "http://test", "Cookie", "session=1")
		if n := strings.Count(log.String(), "carried cookies"); n != 1 {
			t.Errorf("%d warnings:\n%s", n, &log)
		}
		tooLong := func() {
			sid, target := g.openPoll()
			g.must("POST", target, "4this is too long")
			if strings.Contains(log.String(), sid) {
				t.Errorf("the log shows the whole id of a session:\n%s", &log)
			}
		}
		for range 3 {
			tooLong()
		}
		time.Sleep(warnInterval)
		tooLong()
		if n := strings.Count(log.String(), "too large"); n != 2 {
			t.Errorf("%d warnings:\n%s", n, &log)
		}
		if n := g.srv.Stats().Limits["body_size"]; n != 4 {
			t.Errorf("%d oversized bodies counted", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g := newRig(t, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), CORS: &CORS{Origins: []string{"https://a.example"}}})
		for range 3 {
			g.must("GET", base, "", "Origin", "https://evil.example", "Cookie", "session=1")
		}
		if n := strings.Count(log.String(), "does not allow"); n != 1 || strings.Contains(log.String(), "carried cookies") {
			t.Errorf("%d warnings:\n%s", n, &log)
		}
	})
}

// A client that only sends websocket pings and reads nothing must not make the server collect pongs.
func TestPongFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		ws, sid := g.openWS("")
		ping := strings.Repeat("p", 125)
		for range 1000 {
			if ws.trySend(websocket.OpPing, ping) != nil {
				break
			}
		}
		g.expectEnd(sid, ReasonTransportError, errControlFlood)
		if got := g.recorder(sid).s.transport.(*wsConn).control; len(got) > maxControl+256 {
			t.Errorf("%d bytes of pongs kept", len(got))
		}
	})
}

var _ net.Listener = (*pipeListener)(nil)

// valueConn is a connection that cannot be a map key.
type valueConn struct {
	net.Conn
	_ []byte
}

// Any net.Conn will do, on every way to its end.
func TestForeignConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		g.wrap = func(c net.Conn) net.Conn { return valueConn{Conn: c} }
		ws, sid := g.openWS("")
		g.recorder(sid).s.Discard()
		ws.expect("close")
		ws.goodbye()
		ws.expect("end")
		polling, _ := g.openPoll()
		turnedAway := g.upgrade("/engine.io/?EIO=4&transport=polling&sid=" + polling)
		turnedAway.expect("close")
		turnedAway.goodbye()
		turnedAway.expect("end")
		g.recorder(polling).s.Discard()
		synctest.Wait()
		if st := g.srv.Stats(); st.Closing != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// mute is a connection on which nothing can be written any more once broken is set.
type mute struct {
	net.Conn
	broken *atomic.Bool
}

func (c mute) Write(p []byte) (int, error) {
	if c.broken.Load() {
		return 0, errTest
	}
	return c.Conn.Write(p)
}

// Close gives the reader time to notice.
func (c mute) Close() error {
	err := c.Conn.Close()
	time.Sleep(time.Millisecond)
	return err
}

// A write that fails ends the session for this reason, not for that of the read which fails in consequence.
func TestWriteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		var broken atomic.Bool
		g.wrap = func(c net.Conn) net.Conn { return mute{c, &broken} }
		const rounds = 5
		for range rounds {
			broken.Store(false)
			_, sid := g.openWS("")
			synctest.Wait()
			broken.Store(true)
			s := g.recorder(sid).s
			if err := s.Send(NewMessage([]byte("m"))); err != nil {
				t.Fatal(err)
			}
			g.expectEnd(sid, ReasonTransportError, errTest)
		}
		st := g.srv.Stats()
		if st.Closing != 0 || st.QueuedBytes != 0 || st.Timers != 0 || st.Drops["closed"] != rounds {
			t.Errorf("%+v", st)
		}
	})
}
