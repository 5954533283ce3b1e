// Package proxyprotocol reads the PROXY protocol, versions 1 and 2: what a load balancer that works on TCP writes in front of
// each connection, so that the server knows the client's address.
//
//	l, err := net.Listen("tcp", ":3000")
//	balancers, err := server.ParseTrustedProxies("10.0.0.0/8")
//	http.Serve(proxyprotocol.NewListener(l, balancers), srv)
//
// A balancer that works on HTTP writes headers instead, see server.EngineOptions.TrustedProxies.
package proxyprotocol

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// headerTimeout bounds how long a connection may take to bring its header.
const headerTimeout = 5 * time.Second

// NewListener returns a listener whose connections of trusted balancers must begin with a header, which decides their
// RemoteAddr and LocalAddr; without a valid one within 5 s reads fail. A header that says that the balancer speaks for itself
// (LOCAL, UNKNOWN) leaves the addresses as they are. Of everybody else a header means nothing: it is read as data, which HTTP
// refuses. A peer on a Unix socket counts as 127.0.0.1. Engine sessions read such connections as if there had been no header,
// in any read mode. With TLS in this process:
//
//	tls.NewListener(server.NewListener(proxyprotocol.NewListener(l, balancers)), config)
func NewListener(l net.Listener, balancers server.TrustedProxies) net.Listener {
	return &listener{l, balancers}
}

type listener struct {
	net.Listener
	balancers server.TrustedProxies
}

// Accept returns the next connection. It does not wait for the header.
func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil || !l.trusts(inner.RemoteAddr()) {
		return inner, err
	}
	return &conn{Conn: inner, remote: inner.RemoteAddr(), local: inner.LocalAddr()}, nil
}

func (l *listener) trusts(addr net.Addr) bool {
	switch a := addr.(type) {
	case *net.TCPAddr:
		return l.balancers.Contains(a.AddrPort().Addr())
	case *net.UnixAddr:
		return l.balancers.Contains(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	}
	return false
}

// conn is a connection of a balancer. The header is read by the first method that needs it or could disturb its reading, on
// the goroutine of the caller, which for net/http is the connection's own.
type conn struct {
	net.Conn
	once          sync.Once
	remote, local net.Addr // written by once
	err           error    // written by once
}

func (c *conn) await() error {
	c.once.Do(func() {
		_ = c.Conn.SetReadDeadline(time.Now().Add(headerTimeout))
		remote, local, err := readHeader(c.Conn)
		_ = c.Conn.SetReadDeadline(time.Time{})
		switch {
		case err != nil:
			c.err = fmt.Errorf("read PROXY header: %w", err)
		case remote != nil:
			c.remote, c.local = remote, local
		}
	})
	return c.err
}

// Read reads what follows the header.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.await(); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

// RemoteAddr returns the client's address.
func (c *conn) RemoteAddr() net.Addr {
	_ = c.await()
	return c.remote
}

// LocalAddr returns the address that the client has connected to.
func (c *conn) LocalAddr() net.Addr {
	_ = c.await()
	return c.local
}

// SetDeadline sets the deadlines of what follows the header.
func (c *conn) SetDeadline(t time.Time) error {
	_ = c.await()
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline sets the deadline of what follows the header.
func (c *conn) SetReadDeadline(t time.Time) error {
	_ = c.await()
	return c.Conn.SetReadDeadline(t)
}

// PassThrough returns the connection that carries the bytes behind the header unchanged: readHeader takes not one too many.
func (c *conn) PassThrough() net.Conn { return c.Conn }

// CloseWrite ends the sending side.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}
