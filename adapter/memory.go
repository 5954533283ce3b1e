package adapter

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/server/parser"
)

// Memory returns the builder of the in-memory adapter: a cluster of one node.
func Memory() Builder {
	return BuilderFunc(func(local Local) (Adapter, error) {
		return &memory{local: local, done: make(chan struct{})}, nil
	})
}

// memory forwards everything to this node.
type memory struct {
	// Static after construction.
	local Local
	done  chan struct{} // closed by Close

	closed atomic.Bool
}

func (m *memory) Broadcast(p *parser.Packet, sel Selection, flags Flags) error {
	if m.closed.Load() {
		return ErrClosed
	}
	m.local.Deliver(p, sel, flags)
	return nil
}

func (m *memory) BroadcastWithAck(ctx context.Context, p *parser.Packet, sel Selection, flags Flags, acks AckSink) (AckSummary, error) {
	if m.closed.Load() {
		return AckSummary{}, ErrClosed
	}
	w := &localAcks{sink: acks, all: make(chan struct{})}
	n, cancel := m.local.DeliverWithAck(p, sel, flags, w.ack, w.gone)
	w.expect(n)
	var err error
	select {
	case <-w.all:
		return AckSummary{}, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-m.done:
		err = ErrClosed
	}
	for _, sid := range cancel() {
		w.gone(sid)
	}
	w.stop()
	return AckSummary{}, err
}

// localAcks counts the answers of this node's sockets; they may come before their number is known.
type localAcks struct {
	// Static after construction.
	sink AckSink
	all  chan struct{} // closed when every socket has answered or gone

	mu sync.Mutex
	// Guarded by mu.
	answered, expected int
	known, stopped     bool
}

func (w *localAcks) expect(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sink.Expected(n)
	w.expected, w.known = n, true
	w.checkLocked()
}

func (w *localAcks) ack(sid string, value parser.Payload) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.sink.Ack("", sid, value)
		w.answered++
		w.checkLocked()
	}
}

func (w *localAcks) gone(sid string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped {
		w.sink.Gone("", sid)
		w.answered++
		w.checkLocked()
	}
}

func (w *localAcks) checkLocked() {
	if w.known && w.answered == w.expected {
		w.stopped = true
		close(w.all)
	}
}

// stop ends the counting, so that nothing reaches the sink afterwards.
func (w *localAcks) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
}

func (m *memory) FetchSockets(ctx context.Context, sel Selection, _ Flags) (Result[SocketDetails], error) {
	if m.closed.Load() {
		return Result[SocketDetails]{}, ErrClosed
	}
	return Result[SocketDetails]{Values: m.local.FetchSockets(sel)}, nil
}

func (m *memory) SocketsJoin(sel Selection, _ Flags, rooms []string) error {
	if m.closed.Load() {
		return ErrClosed
	}
	m.local.SocketsJoin(sel, rooms)
	return nil
}

func (m *memory) SocketsLeave(sel Selection, _ Flags, rooms []string) error {
	if m.closed.Load() {
		return ErrClosed
	}
	m.local.SocketsLeave(sel, rooms)
	return nil
}

func (m *memory) DisconnectSockets(sel Selection, _ Flags, closeConn bool) error {
	if m.closed.Load() {
		return ErrClosed
	}
	m.local.DisconnectSockets(sel, closeConn)
	return nil
}

func (m *memory) ServerSideEmit(parser.Payload) error {
	if m.closed.Load() {
		return ErrClosed
	}
	return nil
}

func (m *memory) ServerSideEmitWithAck(context.Context, parser.Payload) (Result[parser.Payload], error) {
	if m.closed.Load() {
		return Result[parser.Payload]{}, ErrClosed
	}
	return Result[parser.Payload]{}, nil
}

func (m *memory) Rooms(context.Context) (Result[string], error) {
	if m.closed.Load() {
		return Result[string]{}, ErrClosed
	}
	return Result[string]{Values: m.local.Rooms()}, nil
}

func (m *memory) ServerCount(context.Context) (int, error) {
	if m.closed.Load() {
		return 0, ErrClosed
	}
	return 1, nil
}

func (m *memory) Close() error {
	if m.closed.CompareAndSwap(false, true) {
		close(m.done)
	}
	return nil
}
