package redistest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// NewDelay makes a way to a server on which each byte takes half of a round trip in either direction, however many are under way,
// and returns where to connect instead. It ends with the test.
func NewDelay(t testing.TB, to string, roundTrip time.Duration) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &delay{to: to, oneWay: roundTrip / 2, conns: make(map[net.Conn]struct{})}
	d.all.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			d.connect(near)
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		d.end()
		d.all.Wait()
	})
	return listener.Addr().String()
}

// delay is a proxy.
type delay struct {
	// Static after construction.
	to     string
	oneWay time.Duration
	all    sync.WaitGroup // goroutines

	mu sync.Mutex
	// Guarded by mu.
	conns map[net.Conn]struct{}
	ended bool
}

// parcel is what was read at once, and when it is to arrive.
type parcel struct {
	bytes []byte
	due   time.Time
}

func (d *delay) connect(near net.Conn) {
	far, err := net.Dial("tcp", d.to)
	if err != nil {
		_ = near.Close()
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ended {
		_ = near.Close()
		_ = far.Close()
		return
	}
	d.conns[near], d.conns[far] = struct{}{}, struct{}{}
	d.carry(near, far)
	d.carry(far, near)
}

// carry moves bytes in one direction until one of the two connections ends, and then ends both.
func (d *delay) carry(from, to net.Conn) {
	road := make(chan parcel, 4096)
	d.all.Go(func() {
		defer close(road)
		for {
			b := make([]byte, 32<<10)
			n, err := from.Read(b)
			if err != nil {
				return
			}
			road <- parcel{b[:n], time.Now().Add(d.oneWay)}
		}
	})
	d.all.Go(func() {
		for p := range road {
			time.Sleep(time.Until(p.due))
			_, _ = to.Write(p.bytes) // if it fails, the reader ends too
		}
		_ = from.Close()
		_ = to.Close()
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.conns, from)
	})
}

func (d *delay) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended = true
	for c := range d.conns {
		_ = c.Close()
	}
}
