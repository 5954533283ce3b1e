package adapter

import (
	"context"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/server/parser"
)

// Memory returns the builder of the in-memory adapter: a cluster of one node.
func Memory() Builder {
	return BuilderFunc(func(local Local) (Adapter, error) { return NewMemory(local), nil })
}

// NewMemory returns the in-memory adapter of one namespace.
func NewMemory(local Local) Adapter { return &memory{local: local, done: make(chan struct{})} }

// memory forwards everything to this node.
type memory struct {
	// Static after construction.
	local Local
	done  chan struct{} // closed by Close

	// Set by Keep; nil if nothing is kept.
	history  *memoryHistory
	sessions *memorySessions

	closed atomic.Bool
}

// Keep implements Historian. It keeps at most 64 MiB and 100,000 sessions of a namespace.
func (m *memory) Keep(opts HistoryOptions) (History, SessionStore, error) {
	m.history, m.sessions = newMemoryHistory(opts.Retain), newMemorySessions(memorySessionsMax, opts.Expired)
	return m.history, m.sessions, nil
}

func (m *memory) Broadcast(p *parser.Packet, sel Selection, flags Flags) error {
	if m.closed.Load() {
		return ErrClosed
	}
	if m.history != nil {
		m.history.deliver(m.local, p, sel, flags)
		return nil
	}
	m.local.Deliver(p, sel, flags)
	return nil
}

func (m *memory) BroadcastWithAck(ctx context.Context, p *parser.Packet, sel Selection, flags Flags, acks AckSink) (AckSummary, error) {
	if m.closed.Load() {
		return AckSummary{}, ErrClosed
	}
	if m.history != nil {
		own, err := deliverInTurn(ctx, m.history.Turn, func() *localAcks { return deliverWithAck(m.local, p, sel, flags, acks) })
		if err == nil {
			err = own.wait(ctx, m.done)
		}
		return AckSummary{}, err
	}
	return AckSummary{}, deliverWithAck(m.local, p, sel, flags, acks).wait(ctx, m.done)
}

func (m *memory) FetchSockets(ctx context.Context, sel Selection, _ Flags) (Result[SocketDetails], error) {
	if m.closed.Load() {
		return Result[SocketDetails]{}, ErrClosed
	}
	return Result[SocketDetails]{Values: m.local.FetchSockets(sel)}, nil
}

func (m *memory) SocketIDs(_ context.Context, sel Selection, _ Flags) (Result[string], error) {
	if m.closed.Load() {
		return Result[string]{}, ErrClosed
	}
	return Result[string]{Values: m.local.SocketIDs(sel)}, nil
}

func (m *memory) CountSockets(_ context.Context, sel Selection, _ Flags) (Result[int], error) {
	if m.closed.Load() {
		return Result[int]{}, ErrClosed
	}
	return Result[int]{Values: []int{m.local.CountSockets(sel)}}, nil
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
		if m.sessions != nil {
			m.sessions.close()
		}
	}
	return nil
}
