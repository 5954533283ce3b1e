package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen; it is only used up by a failing test.
const patience = 10 * time.Second

// node is a server under test.
type node struct {
	*server.Server
	t    testing.TB
	addr string // host:port
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// start runs a server on a free port. Sockets must be gone when the test ends.
func start(t testing.TB, opts *server.Options) *node {
	t.Helper()
	if opts == nil {
		opts = &server.Options{}
	}
	if opts.Logger == nil {
		opts.Logger = quiet()
	}
	srv, err := server.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(srv)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v, %+v", err, srv.Stats())
		}
		ts.CloseClientConnections()
		ts.Close()
		if s := srv.Stats(); s.Sockets+s.Connecting+s.Rooms+s.PendingAcks+s.Workers+s.Engine.Sessions != 0 {
			t.Errorf("left behind: %+v", s)
		}
	})
	return &node{Server: srv, t: t, addr: ts.Listener.Addr().String(), dial: new(net.Dialer).DialContext}
}

// peer is a client that speaks the wire protocol over a websocket.
type peer struct {
	t    testing.TB
	conn net.Conn
	in   chan string // text messages without the Engine.IO digit; binary ones after "b"; closed with the connection
	done sync.WaitGroup

	mu sync.Mutex // guards writes
}

// websocket opens a connection without joining a namespace.
func (n *node) websocket(t testing.TB) *peer {
	t.Helper()
	d := ws.Dialer{NetDial: n.dial}
	conn, br, _, err := d.Dial(context.Background(), "ws://"+n.addr+"/socket.io/?EIO=4&transport=websocket")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, conn: conn, in: make(chan string, 1<<16)}
	var r io.Reader = conn
	if br != nil {
		r = br
	}
	p.done.Go(func() { p.read(r) })
	t.Cleanup(p.close)
	return p
}

func (p *peer) read(r io.Reader) {
	defer close(p.in)
	defer func() { _ = p.conn.Close() }() // as a client does when it is told of the end
	rw := struct {
		io.Reader
		io.Writer
	}{r, io.Discard}
	for {
		data, op, err := wsutil.ReadServerData(rw)
		if err != nil {
			return
		}
		switch {
		case op == ws.OpBinary:
			p.in <- "b" + string(data)
		case data[0] == '2':
			p.write(ws.OpText, "3")
		case data[0] == '4':
			p.in <- string(data[1:])
		}
	}
}

func (p *peer) close() {
	_ = p.conn.Close()
	p.done.Wait()
}

func (p *peer) write(op ws.OpCode, data string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// The connection may be closed by the server; tests look at what they receive.
	_ = wsutil.WriteClientMessage(p.conn, op, []byte(data))
}

// batch sends Engine.IO packets in one write, so that they are read together.
func (p *peer) batch(packets ...string) {
	var frames bytes.Buffer
	for _, packet := range packets {
		_ = wsutil.WriteClientMessage(&frames, ws.OpText, []byte(packet)) // a buffer takes everything
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = p.conn.Write(frames.Bytes()) // see write
}

// send sends a Socket.IO packet.
func (p *peer) send(packet string) { p.write(ws.OpText, "4"+packet) }

// next returns the next message.
func (p *peer) next() string {
	p.t.Helper()
	select {
	case m, ok := <-p.in:
		if !ok {
			p.t.Fatal("the connection is closed")
		}
		return m
	case <-time.After(patience):
		p.t.Fatal("no message came")
	}
	return ""
}

// expect checks the next messages.
func (p *peer) expect(want ...string) {
	p.t.Helper()
	for _, w := range want {
		if got := p.next(); got != w {
			p.t.Fatalf("got %q, want %q", got, w)
		}
	}
}

// expectClosed waits for the end of the connection and returns what came before it.
func (p *peer) expectClosed() (rest []string) {
	p.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case m, ok := <-p.in:
			if !ok {
				return rest
			}
			rest = append(rest, m)
		case <-deadline:
			p.t.Fatal("the connection stays open")
		}
	}
}

// join connects to a namespace and returns the socket's id.
func (p *peer) join(namespace, auth string) string {
	p.t.Helper()
	prefix := "0"
	if namespace != "/" {
		prefix += namespace + ","
	}
	p.send(prefix + auth)
	got := p.next()
	var reply struct{ SID string }
	if rest, ok := strings.CutPrefix(got, prefix); !ok || json.Unmarshal([]byte(rest), &reply) != nil || len(reply.SID) != 20 {
		p.t.Fatalf("answer to CONNECT %s: %s", namespace, got)
	}
	return reply.SID
}

// connect opens a connection and joins the main namespace.
func (n *node) connect(t testing.TB) (*peer, *server.Socket) {
	t.Helper()
	p := n.websocket(t)
	sid := p.join("/", "")
	s, ok := n.Of("/").Socket(sid)
	if !ok {
		t.Fatalf("socket %s is not there", sid)
	}
	return p, s
}

// await waits for a value.
func await[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	panic("unreachable")
}

// eventually waits until a condition that other goroutines bring about is true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never happened: %s", what)
		}
	}
}

// pipes is a listener whose connections are in memory, for tests inside a synctest bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

func (l *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, srv := net.Pipe()
	l.conns <- srv
	return client, nil
}

// startInMemory runs a server on in-memory connections. The returned function stops it.
func startInMemory(t *testing.T, opts *server.Options) (n *node, stop func()) {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = quiet()
	}
	srv, err := server.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	l := &pipes{conns: make(chan net.Conn, 16), done: make(chan struct{})}
	hs := &http.Server{Handler: srv}
	var done sync.WaitGroup
	done.Go(func() { _ = hs.Serve(l) })
	return &node{Server: srv, t: t, addr: "node", dial: l.dial}, func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		_ = hs.Close()
		done.Wait()
	}
}

func (n *node) get(t testing.TB, path string, header http.Header) *http.Response {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s%s", n.addr, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	tr := &http.Transport{DisableCompression: true, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}
