package servertest

import (
	"context"
	"net"
	"sync"
)

// Addresses are those reserved for documentation (RFC 5737), so that nothing takes a client for a local one. Each
// connection has its own port, as on a real network.
var (
	serverAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 80}
	clientIP   = net.IPv4(192, 0, 2, 2)
)

const (
	firstPort = 1024
	ports     = 1<<16 - firstPort
)

// listener accepts the connections that dial makes. It closes them all when it is closed.
type listener struct {
	// Static after construction.
	bufferSize int
	backlog    chan net.Conn
	done       chan struct{}

	mu sync.Mutex
	// Guarded by mu.
	dialed int
	closed bool
	conns  map[*conn]struct{} // the server's ends
}

func newListener(bufferSize int) *listener {
	return &listener{
		bufferSize: bufferSize,
		backlog:    make(chan net.Conn),
		done:       make(chan struct{}),
		conns:      make(map[*conn]struct{}),
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.backlog:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Addr() net.Addr { return serverAddr }

// Close also closes the connections, those taken over from the HTTP server included.
func (l *listener) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return net.ErrClosed
	}
	l.closed = true
	close(l.done)
	conns := make([]*conn, 0, len(l.conns))
	for c := range l.conns {
		conns = append(conns, c)
	}
	l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	return nil
}

// dial returns the client's end of a new connection, once the server has accepted it.
func (l *listener) dial(ctx context.Context) (*conn, error) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, net.ErrClosed
	}
	addr := &net.TCPAddr{IP: clientIP, Port: firstPort + l.dialed%ports}
	l.dialed++
	client, server := newConnPair(addr, serverAddr, l.bufferSize)
	server.closed = l.forget
	l.conns[server] = struct{}{}
	l.mu.Unlock()
	var err error
	select {
	case l.backlog <- server:
		return client, nil
	case <-l.done:
		err = net.ErrClosed
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	_ = server.Close()
	return nil, err
}

func (l *listener) forget(c *conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}
