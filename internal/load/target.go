package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"
)

// Transports that a client can use.
const (
	WebSocket = "websocket"
	Polling   = "polling"
)

// Target says how to reach a server. It is static and shared by all clients.
type Target struct {
	Address   string // host:port
	Host      string // for the Host header and the name in the certificate
	Path      string // with slashes at both ends, for example /socket.io/
	TLS       bool
	Insecure  bool   // do not check the certificate
	Transport string // WebSocket or Polling

	// ReadBuffer is how many bytes a websocket client reads at a time; 0 is 4 KB.
	ReadBuffer int
}

// ParseTarget reads a URL such as http://localhost:3000 or wss://example.com/socket.io/. Without a path it is
// /socket.io/, without a scheme http, without a port the scheme's.
func ParseTarget(raw string) (Target, error) {
	if !strings.Contains(raw, "://") {
		raw = "http://" + raw
	}
	u, err := url.Parse(raw)
	if err != nil {
		return Target{}, fmt.Errorf("%q is not a URL: %w", raw, err)
	}
	t := Target{Host: u.Host, Path: u.Path, Transport: WebSocket}
	port := "80"
	switch u.Scheme {
	case "http", "ws":
	case "https", "wss":
		t.TLS, port = true, "443"
	default:
		return Target{}, fmt.Errorf("%q: the scheme must be http, https, ws or wss", raw)
	}
	if u.Hostname() == "" {
		return Target{}, fmt.Errorf("%q names no host", raw)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return Target{}, fmt.Errorf("%q: a query or fragment is not supported", raw)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	t.Address = net.JoinHostPort(u.Hostname(), port)
	if t.Path == "" || t.Path == "/" {
		t.Path = "/socket.io/"
	}
	return t, nil
}

// node returns the one that client i of the worker connects to.
func (p *plan) node(i int) *Target {
	if n := (p.First + i) % (1 + len(p.Others)); n > 0 {
		return &p.Others[n-1]
	}
	return &p.Target
}

// loopback reports whether the server is on this machine's IPv4 loopback network.
func (t *Target) loopback() bool {
	host, _, _ := net.SplitHostPort(t.Address)
	ip := net.ParseIP(host)
	return host == "localhost" || ip.To4() != nil && ip.IsLoopback()
}

// dial opens a connection from a source address; nil lets the system choose.
func (t *Target) dial(ctx context.Context, source net.IP) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1}
	if source != nil {
		d.LocalAddr = &net.TCPAddr{IP: source}
	}
	conn, err := d.DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return nil, &UnreachableError{Address: t.Address, Err: err}
	}
	if !t.TLS {
		return conn, nil
	}
	name, _, err := net.SplitHostPort(t.Address)
	if err != nil {
		name = t.Address
	}
	secure := tls.Client(conn, &tls.Config{ServerName: name, InsecureSkipVerify: t.Insecure, NextProtos: []string{"http/1.1"}})
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, &ProtocolError{"the TLS handshake failed: " + err.Error()}
	}
	return secure, nil
}

// drop closes a connection with a reset, so that thousands of them do not keep the machine's ports for a minute.
func drop(conn net.Conn) {
	inner := conn
	if secure, ok := conn.(*tls.Conn); ok {
		inner = secure.NetConn()
	}
	if tcp, ok := inner.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = inner.Close()
}

// UnreachableError says that no connection could be made.
type UnreachableError struct {
	Address string
	Err     error
}

// Error says what to look at.
func (e *UnreachableError) Error() string {
	var dns *net.DNSError
	switch {
	case errors.Is(e.Err, syscall.ECONNREFUSED):
		return fmt.Sprintf("no server listens at %s (connection refused)", e.Address)
	case errors.Is(e.Err, syscall.EMFILE):
		return "this process may not open more descriptors; use more --processes or raise `ulimit -n`"
	case errors.Is(e.Err, syscall.EADDRNOTAVAIL):
		return fmt.Sprintf("no free port to reach %s from; use more --source addresses", e.Address)
	case errors.As(e.Err, &dns):
		return fmt.Sprintf("host %s is not known", dns.Name)
	case errors.Is(e.Err, context.DeadlineExceeded):
		return fmt.Sprintf("%s did not accept a connection in time", e.Address)
	}
	return fmt.Sprintf("cannot reach %s: %v", e.Address, e.Err)
}

// here reports whether this machine has run out of something, so that further attempts are pointless.
func (e *UnreachableError) here() bool {
	return errors.Is(e.Err, syscall.EMFILE) || errors.Is(e.Err, syscall.EADDRNOTAVAIL)
}

// Unwrap returns the system's error.
func (e *UnreachableError) Unwrap() error { return e.Err }

// ProtocolError says that the peer does not behave as a Socket.IO server.
type ProtocolError struct{ Problem string }

// Error describes the problem.
func (e *ProtocolError) Error() string { return e.Problem }

func violation(format string, args ...any) error {
	return &ProtocolError{fmt.Sprintf(format, args...)}
}

// refusal explains an HTTP answer that is not the one wanted.
func (t *Target) refusal(status int, body string) error {
	body = strings.TrimSpace(body)
	if len(body) > 200 {
		body = body[:200] + "..."
	}
	switch {
	case strings.Contains(body, `"code":`):
		return violation("the server refused the handshake with status %d: %s", status, body)
	case status == 404 || status == 405 || status == 200 || status == 426:
		return violation("%s%s answered with status %d: not a Socket.IO server, or one with another path", t.Address, t.Path, status)
	}
	return violation("%s%s answered with status %d: %s", t.Address, t.Path, status, body)
}
