package engine

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pipeListener is an in-memory listener, usable inside a synctest bubble.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	wrap   func(net.Conn) net.Conn // of the server's ends
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *pipeListener) Addr() net.Addr { return pipeAddr{} }

func (l *pipeListener) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- l.wrap(server):
		return client, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// recorder is a Handler that keeps what it gets.
type recorder struct {
	s      *Session
	onText func(r *recorder, data string)
	onPong func()

	mu      sync.Mutex
	got     []string
	pongs   int
	closes  []string
	lastErr error
	closed  chan struct{}
}

func (r *recorder) OnText(data []byte) {
	r.mu.Lock()
	r.got = append(r.got, string(data))
	r.mu.Unlock()
	if r.onText != nil {
		r.onText(r, string(data))
	}
}

func (r *recorder) OnBinary(data []byte) {
	r.mu.Lock()
	r.got = append(r.got, fmt.Sprintf("<%x>", data))
	r.mu.Unlock()
}

func (r *recorder) OnPong() {
	r.mu.Lock()
	r.pongs++
	r.mu.Unlock()
	if r.onPong != nil {
		r.onPong()
	}
}

func (r *recorder) OnClose(reason string, err error) {
	r.mu.Lock()
	r.closes = append(r.closes, reason)
	r.lastErr = err
	n := len(r.closes)
	r.mu.Unlock()
	if n == 1 {
		close(r.closed)
	}
}

func (r *recorder) received() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.got, "|")
}

func (r *recorder) answered() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pongs
}

func (r *recorder) ended() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.closes, "|")
}

// rig is a server with a way to reach it.
type rig struct {
	t    testing.TB
	srv  *Server
	http *http.Server
	dial func() (net.Conn, error)
	web  *http.Client

	onText   func(r *recorder, data string)
	onAccept func(*Session)
	wrap     func(net.Conn) net.Conn // changes the server's end of a connection

	mu       sync.Mutex
	sessions map[string]*recorder
}

func newRig(t testing.TB, opts *Options) *rig { return newRigOn(t, opts, false, 0) }

// newRigOn starts a server in memory, or on a loopback port; the HTTP server gets the timeout.
func newRigOn(t testing.TB, opts *Options, tcp bool, timeout time.Duration) *rig {
	t.Helper()
	g := &rig{t: t, sessions: make(map[string]*recorder)}
	if opts == nil {
		opts = &Options{}
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	srv, err := New(opts, func(s *Session) Handler {
		r := &recorder{s: s, closed: make(chan struct{}), onText: g.onText}
		g.mu.Lock()
		g.sessions[s.ID()] = r
		g.mu.Unlock()
		if g.onAccept != nil {
			g.onAccept(s)
		}
		return r
	})
	if err != nil {
		t.Fatal(err)
	}
	g.srv = srv
	g.http = &http.Server{
		Handler: srv, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
		ReadTimeout: timeout, WriteTimeout: timeout,
	}
	var l net.Listener
	if tcp {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		g.dial = func() (net.Conn, error) { return net.Dial("tcp", l.Addr().String()) }
	} else {
		pipe := newPipeListener()
		pipe.wrap = func(c net.Conn) net.Conn {
			if g.wrap != nil {
				return g.wrap(c)
			}
			return c
		}
		l, g.dial = pipe, pipe.dial
	}
	g.web = &http.Client{Transport: &http.Transport{
		DialContext:        func(context.Context, string, string) (net.Conn, error) { return g.dial() },
		DisableCompression: true,
	}}
	served := make(chan struct{})
	go func() {
		_ = g.http.Serve(l)
		close(served)
	}()
	t.Cleanup(func() {
		_ = g.srv.Close()
		g.web.CloseIdleConnections()
		_ = g.http.Close()
		<-served
	})
	return g
}

func (g *rig) recorder(sid string) *recorder {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sessions[sid]
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (g *rig) request(method, target, body string, header ...string) (answer, error) {
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequest(method, "http://test"+target, reader)
	if err != nil {
		return answer{}, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := g.web.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b)}, err
}

func (g *rig) must(method, target, body string, header ...string) answer {
	g.t.Helper()
	a, err := g.request(method, target, body, header...)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, target, err)
	}
	return a
}

const base = "/engine.io/?EIO=4&transport=polling"

type openPacketJSON struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int64    `json:"pingInterval"`
	PingTimeout  int64    `json:"pingTimeout"`
	MaxPayload   int64    `json:"maxPayload"`
}

func parseOpen(t testing.TB, packet string) (open openPacketJSON) {
	t.Helper()
	if !strings.HasPrefix(packet, "0") {
		t.Fatalf("not an open packet: %q", packet)
	}
	if err := json.Unmarshal([]byte(packet[1:]), &open); err != nil {
		t.Fatal(err)
	}
	return open
}

// openPoll opens a polling session and returns its id and the target of its requests.
func (g *rig) openPoll() (sid, target string) {
	g.t.Helper()
	a := g.must("GET", base, "")
	first, _, _ := strings.Cut(a.body, "\x1e")
	sid = parseOpen(g.t, first).SID
	return sid, base + "&sid=" + sid
}

// async runs a request and delivers its answer.
func (g *rig) async(method, target, body string) <-chan answer {
	ch := make(chan answer, 1)
	go func() {
		a, err := g.request(method, target, body)
		if err != nil {
			a.body = "error: " + err.Error()
		}
		ch <- a
	}()
	return ch
}

// wsClient is a websocket client that sees frames.
type wsClient struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	res  *http.Response
}

const wsHeaders = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// upgrade sends an upgrade request and reads the answer's head.
func (g *rig) upgrade(target string, extra ...string) *wsClient {
	g.t.Helper()
	conn, err := g.dial()
	if err != nil {
		g.t.Fatal(err)
	}
	c := &wsClient{t: g.t, conn: conn, r: bufio.NewReader(conn)}
	g.t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: test\r\n%s%s\r\n", target, wsHeaders, strings.Join(extra, "")); err != nil {
		g.t.Fatal(err)
	}
	if c.res, err = http.ReadResponse(c.r, nil); err != nil {
		g.t.Fatal(err)
	}
	return c
}

// openWS opens a websocket session.
func (g *rig) openWS(query string, extra ...string) (*wsClient, string) {
	g.t.Helper()
	c := g.upgrade("/engine.io/?EIO=4&transport=websocket"+query, extra...)
	if c.res.StatusCode != http.StatusSwitchingProtocols {
		g.t.Fatalf("status %d", c.res.StatusCode)
	}
	return c, parseOpen(g.t, c.text()).SID
}

// frame reads one frame. An error ends the connection: the opcode is then 0xff.
func (c *wsClient) frame() (first byte, payload []byte) {
	var head [2]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return 0xff, nil
	}
	n := uint64(head[1] & 0x7f)
	switch n {
	case 126:
		var b [2]byte
		_, _ = io.ReadFull(c.r, b[:])
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, _ = io.ReadFull(c.r, b[:])
		n = binary.BigEndian.Uint64(b[:])
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(c.r, payload); err != nil {
		return 0xff, nil
	}
	return head[0], payload
}

// text reads a frame and describes it: a text as it is, others by their opcode.
func (c *wsClient) text() string {
	first, payload := c.frame()
	switch first {
	case 0x81:
		return string(payload)
	case 0x82:
		return fmt.Sprintf("<%x>", payload)
	case 0x88:
		if len(payload) >= 2 {
			return fmt.Sprintf("close %d", binary.BigEndian.Uint16(payload))
		}
		return "close"
	case 0x8a:
		return "pong " + string(payload)
	case 0xff:
		return "end"
	}
	return fmt.Sprintf("frame %x %q", first, payload)
}

func (c *wsClient) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.text(); got != w {
			c.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

var maskKey = [4]byte{1, 2, 3, 4}

func (c *wsClient) send(op websocket.Opcode, payload string) {
	c.t.Helper()
	if err := c.trySend(op, payload); err != nil {
		c.t.Fatal(err)
	}
}

func (c *wsClient) trySend(op websocket.Opcode, payload string) error {
	_, err := c.conn.Write(websocket.AppendMasked(nil, websocket.BitFin|byte(op), maskKey, []byte(payload)))
	return err
}

func (c *wsClient) say(text string) { c.t.Helper(); c.send(websocket.OpText, text) }

// goodbye answers a close frame.
func (c *wsClient) goodbye() {
	_, _ = c.conn.Write(websocket.AppendMasked(nil, websocket.BitFin|byte(websocket.OpClose), maskKey, nil))
}

// bytesHandler copies binary messages as texts; it echoes.
type echoHandler struct{ s *Session }

func (h echoHandler) OnText(data []byte)    { _ = h.s.Send(NewMessage(data)) }
func (h echoHandler) OnBinary(data []byte)  { _ = h.s.Send(NewBinaryMessage(bytes.Clone(data))) }
func (h echoHandler) OnClose(string, error) {}

// within is for tests against real sockets: a generous bound that only a hang reaches.
func within(t testing.TB, what string, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-time.After(30 * time.Second):
		t.Fatal("timed out: " + what)
	}
}

// eventually waits until ok reports true, where what brings that about tells nobody. It does not spin, which would cost
// the processors what is measured.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	over := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-look.C:
		case <-over:
			t.Fatal("timed out: " + what)
		}
	}
}

var errTest = errors.New("test")

// silentHandler takes messages and does nothing.
type silentHandler struct{}

func (silentHandler) OnText([]byte)         {}
func (silentHandler) OnBinary([]byte)       {}
func (silentHandler) OnClose(string, error) {}
