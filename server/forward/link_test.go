package forward_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/forward"
)

// link is a way to a private listener that can be cut, and that keeps what was sent.
type link struct {
	listener net.Listener

	mu sync.Mutex
	// Guarded by mu.
	to    string
	conns map[net.Conn]bool
	sent  []byte
	cut   bool
	dials func() // called before each connection goes on
}

func newLink(t *testing.T) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, conns: make(map[net.Conn]bool)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { l.serve(conn) })
		}
	})
	t.Cleanup(func() {
		l.end()
		running.Wait()
	})
	return l
}

func (l *link) serve(from net.Conn) {
	l.mu.Lock()
	address, dials := l.to, l.dials
	l.mu.Unlock()
	if dials != nil {
		dials()
	}
	to, err := net.Dial("tcp", address)
	if err != nil {
		_ = from.Close()
		return
	}
	l.mu.Lock()
	l.conns[from], l.conns[to] = true, true
	cut := l.cut
	l.mu.Unlock()
	var both sync.WaitGroup
	// What is sent is kept first: a test looks at it as soon as the request is answered.
	both.Go(func() { _, _ = io.Copy(io.MultiWriter((*record)(l), to), from); _ = to.(*net.TCPConn).CloseWrite() })
	both.Go(func() { _, _ = io.Copy(from, to); _ = from.(*net.TCPConn).CloseWrite() })
	if cut {
		l.end()
	}
	both.Wait()
	_ = from.Close()
	_ = to.Close()
}

type record link

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, p...)
	return len(p), nil
}

// end cuts the link, as when the machine behind it dies and says so.
func (l *link) end() {
	_ = l.listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for conn := range l.conns {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
}

func (l *link) bytes() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]byte(nil), l.sent...)
}

// linkedCluster is a cluster whose node 0 is reached through a link.
func linkedCluster(t *testing.T, n int, change func(i int, f *forward.Options, s *server.Options)) (*cluster, *link) {
	t.Helper()
	l := newLink(t)
	c := newCluster(t, n, func(i int, f *forward.Options, s *server.Options) {
		if i == 0 {
			f.Advertise = l.listener.Addr().String()
		}
		if change != nil {
			change(i, f, s)
		}
	})
	l.mu.Lock()
	l.to = c.nodes[0].fwd.Listening()
	l.mu.Unlock()
	return c, l
}
