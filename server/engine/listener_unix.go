//go:build linux || darwin

package engine

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// NewListener returns a listener whose connections the server's poller can watch when they carry TLS, and whose requests are
// served in the order in which they arrived, those of one session (Linux, without TLS):
//
//	l, err := net.Listen("tcp", ":443")
//	http.Serve(tls.NewListener(engine.NewListener(l), config), srv)
//
// Connections without TLS can be watched with and without it, but net/http alone lets requests of a session overtake each
// other. With server.Serve, connections on which nothing happens, and polls that wait, need no goroutine (parking_linux.go). Elsewhere
// than on Linux it changes nothing.
func NewListener(l net.Listener) net.Listener {
	stampArrivals(l)
	return &pollListener{l, newLot(l.Addr())}
}

type pollListener struct {
	net.Listener
	lot *lot
}

// Accept waits for the next connection.
func (l *pollListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if raw := rawConn(conn); raw != nil {
		return &pollConn{Conn: conn, raw: raw, parkable: parkable{lot: l.lot}}, nil
	}
	return conn, nil
}

// CloseWrite ends the sending side.
func (c *pollConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Conn.Close()
}

// pollConn lies between a TLS connection and the socket. Once it has been told not to wait, a read that would have to
// wait returns errNotReady: crypto/tls keeps a record that it has read in part, and tries again later, after an error
// that calls itself temporary.
type pollConn struct {
	net.Conn
	raw    syscall.RawConn
	noWait atomic.Bool
	// arrival is the request that the connection brought last.
	arrival atomic.Pointer[arrival]
	closed  atomic.Bool
	parkable
	// Owned by the reading side.
	peer   string // what RemoteAddr says, once it was asked
	lead   byte   // read alone, in front of what is read next; 0: nothing
	leadAt int64  // when it arrived
}

// Close closes the connection, or parks its socket. Nobody waits any more for what it brought.
func (c *pollConn) Close() error {
	if c.handOver() || c.evicted() {
		return nil
	}
	err := c.Conn.Close()
	c.closed.Store(true)
	inFlight.end(c.arrival.Swap(nil))
	return err
}

// taken returns the connection to go on with when it has been taken over from the HTTP server: nobody reads through a
// pollConn then, unless there is TLS on it.
func taken(conn net.Conn) net.Conn {
	if c, ok := conn.(*pollConn); ok {
		return c.Conn
	}
	return conn
}

type notReady struct{}

func (notReady) Error() string   { return "nothing to read yet" }
func (notReady) Timeout() bool   { return true }
func (notReady) Temporary() bool { return true }

var errNotReady net.Error = notReady{}

// Read reads what there is.
func (c *pollConn) Read(p []byte) (int, error) {
	if !c.noWait.Load() {
		return c.readParkable(p)
	}
	r := tlsReads.Get().(*tlsRead)
	r.p, r.n, r.err = p, 0, nil
	err := c.raw.Read(r.read)
	n, failed := r.n, r.err
	r.p = nil
	tlsReads.Put(r)
	switch {
	case err != nil:
		return 0, err
	case failed != nil:
		return 0, failed
	case n == 0:
		return 0, errNotReady
	}
	return n, nil
}

// tlsRead is one read that does not wait.
type tlsRead struct {
	p    []byte
	n    int
	err  error
	read func(fd uintptr) bool
}

var tlsReads = sync.Pool{New: func() any {
	r := new(tlsRead)
	r.read = func(fd uintptr) bool {
		r.n, r.err = readNow(fd, r.p)
		return true
	}
	return r
}}

// pollable returns access to the socket under a TLS connection that came from NewListener's listener, and the connection
// between them.
func pollable(conn link) *pollConn {
	t, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	c, _ := t.NetConn().(*pollConn)
	return c
}

// isNotReady reports whether a read has found nothing and may be tried again.
func isNotReady(err error) bool { return errors.Is(err, errNotReady) }
