package redistest

import (
	"net"
	"sync"
	"testing"
)

// Link is a way to a server that can be cut: what is sent over it is then lost, and neither end hears that. It ends with the test.
type Link struct {
	// Static after construction.
	t    testing.TB
	Addr string // where to connect instead
	to   string
	all  sync.WaitGroup // goroutines

	mu sync.Mutex
	// Guarded by mu.
	cut   bool
	conns map[*linked]struct{}
	ended bool
}

// linked is a connection over a link. The fields are guarded by Link.mu.
type linked struct {
	near, far net.Conn // far is nil if it was made while the link was cut
	lost      bool     // it has lost something, its end maybe
}

// NewLink makes a link to a server's address.
func NewLink(t testing.TB, to string) *Link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &Link{t: t, Addr: listener.Addr().String(), to: to, conns: make(map[*linked]struct{})}
	l.all.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			l.connect(near)
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.end()
		l.all.Wait()
	})
	return l
}

// Cut has the link lose everything from now on. Connections can be made, and reach nobody.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
}

// Mend ends that. Connections that have lost something break, as when both ends find out.
func (l *Link) Mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
	for c := range l.conns {
		if c.lost {
			l.closeLocked(c)
		}
	}
}

func (l *Link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	for c := range l.conns {
		l.closeLocked(c)
	}
}

func (l *Link) closeLocked(c *linked) {
	_ = c.near.Close()
	if c.far != nil {
		_ = c.far.Close()
	}
	delete(l.conns, c)
}

// connect takes a connection.
func (l *Link) connect(near net.Conn) {
	l.mu.Lock()
	c := &linked{near: near, lost: l.cut}
	l.mu.Unlock()
	if !c.lost {
		far, err := net.Dial("tcp", l.to)
		if err != nil {
			_ = near.Close()
			return
		}
		c.far = far
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
	if l.ended || c.lost && !l.cut {
		l.closeLocked(c)
		return
	}
	l.all.Go(func() { l.carry(c, c.near, c.far) })
	if c.far != nil {
		l.all.Go(func() { l.carry(c, c.far, c.near) })
	}
}

// carry moves bytes in one direction until the connection ends.
func (l *Link) carry(c *linked, from, to net.Conn) {
	b := make([]byte, 64<<10)
	for {
		n, err := from.Read(b)
		l.mu.Lock()
		lost := l.cut || c.lost
		c.lost = lost
		if err != nil {
			if !lost {
				l.closeLocked(c)
			}
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		if lost {
			continue
		}
		_, _ = to.Write(b[:n]) // if it fails, the other direction knows
	}
}
