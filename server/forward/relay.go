package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// relays carry the bytes of websockets whose session is on another node, after the heads. Frames are not looked at. Where both
// connections have descriptors of their own, on Linux, loops wait for all of them (relay_linux.go): a relay then has no goroutine
// and no buffer while nothing moves. The others have two goroutines.
type relays struct {
	count      *counters
	loops      loops
	lingerTime time.Duration // how long a relay goes on of which one side has ended, or the client takes nothing

	mu sync.Mutex
	// Guarded by mu.
	closed  bool
	plain   map[*plainRelay]struct{}
	running sync.WaitGroup // goroutines of plain relays; added to with mu held
}

func newRelays(count *counters) *relays {
	return &relays{
		count: count, loops: loops{lingerTime: lingerTime}, lingerTime: lingerTime, plain: make(map[*plainRelay]struct{}),
	}
}

const (
	// lingerTime is as long as the engine waits for the end of a client that it has closed.
	lingerTime = 30 * time.Second
)

// start begins to relay: first is what the client gets first, early what the node gets first. Both connections belong to the relay,
// which ends when life does.
func (rs *relays) start(client, node net.Conn, first, early []byte, life context.Context) {
	if !writeAll(client, first) || !writeAll(node, early) {
		_ = client.Close()
		_ = node.Close()
		return
	}
	rs.count.relays.Add(1)
	if !rs.loops.add(client, node, life, func() { rs.count.relays.Add(-1) }) {
		rs.startPlain(client, node, life)
	}
}

// writeAll writes a few bytes that connections of clients nearly always take at once.
func writeAll(conn net.Conn, p []byte) bool {
	if len(p) == 0 {
		return true
	}
	_ = conn.SetWriteDeadline(time.Now().Add(upgradeTime))
	_, err := conn.Write(p)
	return err == nil && conn.SetWriteDeadline(time.Time{}) == nil
}

// close ends all relays, and those that come.
func (rs *relays) close() {
	rs.loops.close()
	rs.mu.Lock()
	rs.closed = true
	for r := range rs.plain {
		r.close()
	}
	rs.mu.Unlock()
	rs.running.Wait()
}

// endOne has the node of one relay see the end of its client, if there is one that has not seen it: the session ends there, and then
// the relay. What the node has sent by then arrives; of what the client has sent, what was read.
func (rs *relays) endOne() bool {
	if rs.loops.endOne() {
		return true
	}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for r := range rs.plain {
		if r.leave() {
			return true
		}
	}
	return false
}

// cut ends all relays at once.
func (rs *relays) cut() {
	rs.loops.cut()
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for r := range rs.plain {
		r.close()
	}
}

// plainRelay has a goroutine for each direction.
type plainRelay struct {
	client, node net.Conn
	leaving      atomic.Bool // no more is read of the client than what has arrived
}

// leaveTime is for reading what a client has sent before its relay ends.
const leaveTime = 100 * time.Millisecond

// leave has the node see the end of the client. It reports false if it has done so before.
func (r *plainRelay) leave() bool {
	if r.leaving.Swap(true) {
		return false
	}
	_ = r.client.SetReadDeadline(time.Now().Add(leaveTime))
	return true
}

// inOrder reports whether a direction has come to an end that can be passed on.
func (r *plainRelay) inOrder(from net.Conn, end error) bool {
	return errors.Is(end, io.EOF) || from == r.client && r.leaving.Load() && errors.Is(end, os.ErrDeadlineExceeded)
}

func (r *plainRelay) close() {
	_ = r.client.Close()
	_ = r.node.Close()
}

func (rs *relays) startPlain(client, node net.Conn, life context.Context) {
	r := &plainRelay{client: client, node: node}
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if rs.closed {
		r.close()
		rs.count.relays.Add(-1)
		return
	}
	rs.plain[r] = struct{}{}
	var both sync.WaitGroup
	both.Add(2)
	copying := func(to, from net.Conn, limit time.Duration) {
		defer both.Done()
		if end := copyBytes(to, from, limit); !r.inOrder(from, end) || !closeWrite(to) {
			r.close()
		}
		_ = to.SetReadDeadline(time.Now().Add(rs.lingerTime))
	}
	rs.running.Go(func() { copying(node, client, 0) }) // which may take its time, as long as it lives
	rs.running.Go(func() {
		stop := context.AfterFunc(life, r.close)
		copying(client, node, rs.lingerTime)
		both.Wait()
		stop()
		r.close()
		rs.mu.Lock()
		delete(rs.plain, r)
		rs.mu.Unlock()
		rs.count.relays.Add(-1)
	})
}

const (
	smallBuffer = 512 // held by each direction while nothing moves
	largeBuffer = 16 << 10
)

var largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}

// copyBytes relays one direction to its end, which it returns. What has been read must be written within limit, if there is one.
func copyBytes(to, from net.Conn, limit time.Duration) error {
	small := make([]byte, smallBuffer)
	for {
		full, err := copyOnce(to, from, small, limit)
		if full && err == nil {
			err = copyBulk(to, from, limit)
		}
		if err != nil {
			return err
		}
	}
}

// copyBulk goes on with a large buffer until that is not filled any more.
func copyBulk(to, from net.Conn, limit time.Duration) error {
	buf := largeBuffers.Get().(*[largeBuffer]byte)
	defer largeBuffers.Put(buf)
	for {
		if full, err := copyOnce(to, from, buf[:], limit); !full || err != nil {
			return err
		}
	}
}

func copyOnce(to, from net.Conn, buf []byte, limit time.Duration) (full bool, err error) {
	n, err := from.Read(buf)
	if n > 0 {
		if limit > 0 {
			_ = to.SetWriteDeadline(time.Now().Add(limit))
		}
		if _, failed := to.Write(buf[:n]); failed != nil {
			return false, failed
		}
	}
	return n == len(buf), err
}

// closeWrite passes the end of a direction on. It reports false if that cannot be.
func closeWrite(to net.Conn) bool {
	half, ok := to.(interface{ CloseWrite() error })
	return ok && half.CloseWrite() == nil
}
