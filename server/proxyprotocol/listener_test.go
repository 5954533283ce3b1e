package proxyprotocol_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"
	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/proxyprotocol"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func trust(t *testing.T, texts ...string) server.TrustedProxies {
	t.Helper()
	proxies, err := server.ParseTrustedProxies(texts...)
	if err != nil {
		t.Fatal(err)
	}
	return proxies
}

// headerOf encodes a header of a client, of either version.
func headerOf(t *testing.T, version byte, client string) string {
	t.Helper()
	source, err := net.ResolveTCPAddr("tcp", client)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := proxyproto.HeaderProxyFromAddrs(version, source, &net.TCPAddr{IP: source.IP, Port: 443}).Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// serve answers each request with its RemoteAddr.
func serve(t *testing.T, balancers server.TrustedProxies) (addr string) {
	t.Helper()
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.RemoteAddr)
	}))
	ts.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	ts.Listener = proxyprotocol.NewListener(ts.Listener, balancers)
	ts.Start()
	t.Cleanup(ts.Close)
	return ts.Listener.Addr().String()
}

// ask sends raw bytes and returns status and body of the answer, and the client's address.
func ask(t *testing.T, addr, raw string) (status int, body, local string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, "", ""
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b), conn.LocalAddr().String()
}

func TestHeaders(t *testing.T) {
	const request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	v2 := headerOf(t, 2, "198.51.100.7:4711")
	local := "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	addr, closed := serve(t, trust(t, "127.0.0.1")), serve(t, trust(t, "192.0.2.0/24"))
	for name, c := range map[string]struct {
		addr, header string
		status       int
		remote       string // "" is the connection's own
	}{
		"version 1":           {addr, headerOf(t, 1, "198.51.100.7:4711"), 200, "198.51.100.7:4711"},
		"version 1, IPv6":     {addr, headerOf(t, 1, "[2001:db8::1]:4711"), 200, "[2001:db8::1]:4711"},
		"version 2":           {addr, v2, 200, "198.51.100.7:4711"},
		"version 2, IPv6":     {addr, headerOf(t, 2, "[2001:db8::1]:4711"), 200, "[2001:db8::1]:4711"},
		"an extension":        {addr, v2[:15] + "\x10" + v2[16:] + "\xe0\x00\x01a", 200, "198.51.100.7:4711"},
		"LOCAL":               {addr, local, 200, ""},
		"UNKNOWN":             {addr, "PROXY UNKNOWN\r\n", 200, ""},
		"none":                {addr, "", 400, ""},
		"bad address":         {addr, "PROXY TCP4 198.51.100.700 1.1.1.1 1 2\r\n", 400, ""},
		"a long line":         {addr, "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n", 400, ""},
		"too many extensions": {addr, v2[:14] + "\xff\xff", 400, ""},
		"a stranger's header": {closed, headerOf(t, 1, "198.51.100.7:4711"), 400, ""},
		"a stranger's second": {closed, v2, 400, ""},
		"a stranger":          {closed, "", 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, body, own := ask(t, c.addr, c.header+request)
			if c.remote == "" {
				c.remote = own
			}
			if status != c.status || status == 200 && body != c.remote {
				t.Errorf("status %d, address %q, want %d and %q", status, body, c.status, c.remote)
			}
		})
	}
}

// TestSpoofing lets a client bring headers of its own, behind the balancer's.
func TestSpoofing(t *testing.T) {
	addr := serve(t, trust(t, "127.0.0.1"))
	own := headerOf(t, 1, "8.8.8.8:1")
	if status, body, _ := ask(t, addr, headerOf(t, 1, "198.51.100.7:4711")+own+"GET / HTTP/1.1\r\nHost: a\r\n\r\n"); status != 400 {
		t.Errorf("a second header: status %d, address %q", status, body)
	}
}

// TestHeaderDeadline has a balancer that says nothing.
func TestHeaderDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		l := proxyprotocol.NewListener(&one{conn: ours}, trust(t, "127.0.0.1"))
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		began := time.Now()
		_ = conn.SetDeadline(time.Now().Add(time.Hour))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) != 5*time.Second {
			t.Errorf("read: %v after %v", err, time.Since(began))
		}
		if got := conn.RemoteAddr().String(); got != "127.0.0.1:1" {
			t.Errorf("address %q", got)
		}
	})
}

// one is a listener with one connection, from a balancer.
type one struct {
	net.Listener
	conn net.Conn
}

func (o *one) Accept() (net.Conn, error) { return tcp{o.conn}, nil }

type tcp struct{ net.Conn }

func (tcp) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// TestSessions looks at the handshakes of sockets behind a balancer, over plain TCP and TLS and both transports, whose bytes
// arrive in one segment with the header.
func TestSessions(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			srv, err := server.New(&server.Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			seen := make(chan server.Handshake, 2)
			srv.Of("/").OnConnection(func(_ context.Context, s *server.Socket) { seen <- s.Handshake() })
			ts := httptest.NewUnstartedServer(srv)
			ts.Listener = server.NewListener(proxyprotocol.NewListener(ts.Listener, trust(t, "127.0.0.1")))
			if secure {
				ts.StartTLS()
			} else {
				ts.Start()
			}
			defer ts.Close()
			defer srv.Close()
			conn := &headed{header: []byte(headerOf(t, 2, "198.51.100.7:4711"))}
			if conn.Conn, err = net.Dial("tcp", ts.Listener.Addr().String()); err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			client := net.Conn(conn)
			if secure {
				client = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the test's own certificate
			}
			fmt.Fprint(client, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 8.8.8.8\r\n"+
				"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"+
				"\x81\x82\x00\x00\x00\x0040") // the CONNECT packet, with a mask of zeros
			h := <-seen
			if h.Address != "198.51.100.7" || h.Secure != secure {
				t.Errorf("address %q, secure %v", h.Address, h.Secure)
			}
		})
	}
}

// headed writes a header in front of the first bytes.
type headed struct {
	net.Conn
	header []byte
}

func (h *headed) Write(p []byte) (int, error) {
	if h.header == nil {
		return h.Conn.Write(p)
	}
	_, err := h.Conn.Write(append(bytes.Clone(h.header), p...))
	h.header = nil
	return len(p), err
}
