package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/parser"
)

// Emission is a way to emit to one client with flags. It is an immutable value.
type Emission struct {
	socket *Socket
	flags  sendFlags
	ctx    context.Context // of WithContext, nil for none
}

// sendFlags modify one packet.
type sendFlags struct {
	volatile bool
	plain    bool // not compressed
}

// Volatile lets each socket that is not ready for more miss the packet.
func (e Emission) Volatile() Emission {
	e.flags.volatile = true
	return e
}

// Compress says whether the packet may be compressed; the default is that it may.
func (e Emission) Compress(on bool) Emission {
	e.flags.plain = !on
	return e
}

// WithContext says in which context events are emitted, for Hooks.Begin. See BroadcastOperator.WithContext.
func (e Emission) WithContext(ctx context.Context) Emission {
	e.ctx = ctx
	return e
}

// Broadcast selects every socket of the namespace but this one, with the same flags and context.
func (e Emission) Broadcast() BroadcastOperator {
	op := e.socket.nsp.operator()
	op.flags.Volatile, op.flags.NoCompress = e.flags.volatile, e.flags.plain
	op.ctx = e.ctx
	return op.Except(e.socket.id)
}

// Emit sends an event to this client. See Socket.Emit.
func (e Emission) Emit(event string, args ...any) error {
	_, end := e.socket.nsp.server.begin(orBackground(e.ctx), e.operation(OperationEmit, event))
	err := e.emit(event, args)
	end(err)
	return err
}

func (e Emission) operation(kind OperationKind, event string) Operation {
	return Operation{Kind: kind, Namespace: e.socket.nsp.name, Socket: e.socket.id, Event: event}
}

func (e Emission) emit(event string, args []any) error {
	p, err := e.socket.nsp.packet(event, args)
	if err != nil {
		return err
	}
	s := e.socket
	switch s.phase.Load() {
	case phaseClosed:
		return s.disconnectError()
	case phaseConnected:
		if s.nsp.recovery != nil && !e.flags.volatile {
			return e.viaRoom(&p)
		}
	}
	s.notifyOutgoing(&p)
	return s.send(s.nsp.unoffset(&p), e.flags)
}

// viaRoom sends an event to the socket's own room, as in the reference, so that the history has it. The room is this node's, so that
// nothing has failed if the other nodes cannot be reached.
func (e Emission) viaRoom(p *parser.Packet) error {
	flags := adapter.Flags{NoCompress: e.flags.plain}
	err := e.socket.nsp.cluster().Broadcast(p, adapter.Selection{Rooms: []string{e.socket.id}}, flags)
	if errors.Is(err, ErrClusterUnavailable) {
		return nil
	}
	return err
}

// send writes a packet to this client alone, at once if the connection is idle.
func (s *Socket) send(p *parser.Packet, f sendFlags) error {
	phase := s.phase.Load()
	if phase == phaseClosed {
		return s.disconnectError()
	}
	m, err := s.client.encode(p, f.plain)
	if err != nil {
		return err
	}
	if phase == phaseConnecting && s.restored != nil && s.hold(m, payloadSize(&p.Payload), f.volatile) {
		return nil
	}
	if s.nsp.recovery != nil && phase == phaseConnected {
		s.inTurn(func() { _ = s.write(m, f.volatile) })
		return nil
	}
	return s.write(m, f.volatile)
}

// write hands a message to the connection.
func (s *Socket) write(m *engine.Message, volatile bool) error {
	f := sendFlags{volatile: volatile}
	if f.volatile {
		s.client.session.SendVolatile(m)
		return nil
	}
	if err := s.client.session.Send(m); err != nil {
		return fmt.Errorf("%w: %w", ErrDisconnected, err)
	}
	return nil
}

// sendShared queues a message that many sockets share; nil if the client's codec could not make it. at is where the history has it.
func (s *Socket) sendShared(m *engine.Message, size int, at place, volatile bool) {
	if m == nil || !s.set.Live() {
		return
	}
	switch {
	case s.announced.Load():
	case s.restored != nil:
		if !s.passes(m, size, at, volatile) {
			return
		}
	default:
		// The socket is between joining the index and queueing its CONNECT packet; both happen under this lock.
		s.client.mu.Lock()
		s.client.mu.Unlock()
	}
	if volatile {
		s.client.session.SendVolatile(m)
		return
	}
	// A session that has closed in the meantime takes nothing; its sockets are about to be told.
	_ = s.client.session.SendQueued(m)
}

// notifyOutgoing shows an event to the HandleAnyOutgoing functions and to observers.
func (s *Socket) notifyOutgoing(p *parser.Packet) {
	h, own := s.nsp.hooks(), s.ownHooks()
	if len(h.outgoing)+len(own.outgoing)+len(own.observers) == 0 || p.Type != parser.Event {
		return
	}
	if len(own.observers) > 0 {
		s.observeEvent(ObservedSent, p)
	}
	name, args, err := p.Event()
	if err != nil {
		return
	}
	e := &Event{Name: name, Args: args, Reply: noReply}
	for _, list := range [][]*slot[eventFunc]{h.outgoing, own.outgoing} {
		for _, f := range list {
			_ = s.protect("HandleAnyOutgoing", func() error {
				f.value(s.Context(), s, e)
				return nil
			})
		}
	}
}

var noReply = &Reply{id: parser.NoID}
