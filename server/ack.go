package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sockeye-io/sockeye/server/parser"
)

// ackWaiter waits for the acknowledgement of one packet. Exactly one of its methods is called for each socket, on the
// reading side of the connection or by whoever ends the socket; they must not block.
type ackWaiter interface {
	acked(s *Socket, args Args)
	failed(s *Socket, err error)
}

// ackEntry is one pending acknowledgement.
type ackEntry struct {
	id     int64
	waiter ackWaiter
}

// ackTable holds the pending acknowledgements of a socket in the order of their ids. Ids are taken from one counter per
// namespace, so that new ones nearly always go to the end, and answers mostly come from the front.
type ackTable []ackEntry

func (t ackTable) search(id int64) (int, bool) {
	return slices.BinarySearchFunc(t, id, func(e ackEntry, id int64) int { return cmp.Compare(e.id, id) })
}

// expectAck registers a waiter. It fails when the socket is gone, or when the answer could not be read.
func (s *Socket) expectAck(id int64, w ackWaiter) error {
	err := s.addAck(id, w)
	if err == errManyAcks {
		return s.nsp.server.exceeded(limitPendingAcks, "one more acknowledgement to wait for", int64(s.nsp.server.opts.MaxPendingAcks))
	}
	return err
}

var errManyAcks = errors.New("too many acknowledgements")

func (s *Socket) addAck(id int64, w ackWaiter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase.Load() == phaseClosed {
		return &DisconnectError{s.reason}
	}
	// Checked with mu held: regulate sets the flag before it fails what is in the table.
	if s.client.paused.Load() {
		return ErrInboxFull
	}
	if s.acks == nil {
		s.acks = new(ackTable)
	} else if len(*s.acks) >= s.nsp.server.opts.MaxPendingAcks {
		return errManyAcks
	}
	i, _ := s.acks.search(id)
	*s.acks = slices.Insert(*s.acks, i, ackEntry{id, w})
	s.nsp.server.pendingAcks.Add(1)
	return nil
}

// takeAck removes and returns the waiter of an id; nil if there is none.
func (s *Socket) takeAck(id int64) ackWaiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acks == nil {
		return nil
	}
	i, ok := s.acks.search(id)
	if !ok {
		return nil
	}
	w := (*s.acks)[i].waiter
	*s.acks = slices.Delete(*s.acks, i, i+1)
	if len(*s.acks) == 0 {
		s.acks = nil
	}
	s.nsp.server.pendingAcks.Add(-1)
	return w
}

func (s *Socket) takeAcksLocked() ackTable {
	if s.acks == nil {
		return nil
	}
	all := *s.acks
	s.acks = nil
	s.nsp.server.pendingAcks.Add(-int64(len(all)))
	return all
}

// failAcks ends all pending waits.
func (s *Socket) failAcks(err error) {
	s.mu.Lock()
	all := s.takeAcksLocked()
	s.mu.Unlock()
	for _, e := range all {
		e.waiter.failed(s, err)
	}
}

// onAck resolves an acknowledgement. It runs on the reading side, so that a handler may wait for one.
func (s *Socket) onAck(p *parser.Packet) {
	if s.observed() {
		s.observeAck(ObservedAckReceived, p)
	}
	args, err := p.Args()
	w := s.takeAck(p.ID)
	p.Recycle()
	switch {
	case w == nil:
		s.nsp.server.unknownAcks.Add(1)
	case err != nil:
		w.failed(s, fmt.Errorf("%w: %w", ErrInvalidArguments, err))
	default:
		w.acked(s, args)
	}
}

// ackCall is a call of EmitWithAck that waits.
type ackCall chan ackResult // capacity 1

type ackResult struct {
	args Args
	err  error
}

func (c ackCall) acked(_ *Socket, args Args)  { c <- ackResult{args: args} }
func (c ackCall) failed(_ *Socket, err error) { c <- ackResult{err: err} }

// AckTarget is what EmitWithAck can send to: *Socket, Emission and *RemoteSocket.
type AckTarget interface {
	emitWithAck(ctx context.Context, event string, args []any) (Args, error)
}

// EmitWithAck sends an event to one client and waits for its acknowledgement, which is decoded into R as the arguments of
// Func are. The wait ends with ErrAckTimeout at the context's deadline, or after Options.AckTimeout if it has none, with
// ErrDisconnected when the client goes, and with ErrInboxFull when the answer cannot be read because
// the client's events fill the inbox. It may be called from a handler of the same client.
func EmitWithAck[R any](ctx context.Context, to AckTarget, event string, args ...any) (R, error) {
	var result R
	list, err := to.emitWithAck(ctx, event, args)
	if err == nil {
		err = decodeAck(list, &result)
	}
	return result, err
}

func (s *Socket) emitWithAck(ctx context.Context, event string, args []any) (Args, error) {
	return s.emission(sendFlags{}).emitWithAck(ctx, event, args)
}

func (e Emission) emitWithAck(ctx context.Context, event string, args []any) (answer Args, err error) {
	s := e.socket
	ctx, end := s.nsp.server.begin(ctx, e.operation(OperationAsk, event))
	defer func() { end(err) }()
	p, err := s.nsp.packet(event, args)
	if err != nil {
		return Args{}, err
	}
	ctx, cancel := s.nsp.server.ackContext(ctx)
	defer cancel()
	p.ID = s.nsp.nextAckID()
	s.notifyOutgoing(&p)
	call := make(ackCall, 1)
	if err := s.expectAck(p.ID, call); err != nil {
		return Args{}, err
	}
	if err := s.send(&p, e.flags); err != nil {
		s.takeAck(p.ID)
		return Args{}, err
	}
	select {
	case r := <-call:
		return r.args, r.err
	case <-ctx.Done():
	}
	if s.takeAck(p.ID) == nil {
		// The answer won the race; it is in the channel already or about to be.
		r := <-call
		return r.args, r.err
	}
	return Args{}, s.nsp.server.ackEnded(ctx)
}

// ackContext bounds the wait for acknowledgements.
func (srv *Server) ackContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, srv.opts.AckTimeout)
}

// ackEnded says why a wait ended, and counts it if time ran out.
func (srv *Server) ackEnded(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		srv.ackTimeouts.Add(1)
		return fmt.Errorf("%w: %w", ErrAckTimeout, ctx.Err())
	}
	return context.Cause(ctx)
}
