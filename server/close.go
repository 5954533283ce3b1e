package server

import (
	"slices"

	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/parser"
)

// close ends the socket. From here on it is in no room, its context has ended and its acknowledgements have failed;
// OnDisconnecting and OnDisconnect follow on its worker, after the events that came before. Only when this side asked
// for the disconnect are events that wait dropped, and the client told.
func (s *Socket) close(reason Reason) {
	var farewell *engine.Message
	if reason == ReasonServerDisconnect {
		farewell = s.client.encodeControl(&parser.Packet{Type: parser.Disconnect, Namespace: s.nsp.name, ID: parser.NoID})
	}
	s.client.mu.Lock()
	d := s.detachLocked(reason, farewell)
	s.client.mu.Unlock()
	d.finish()
}

// detachment is what is still to be done about a socket that has been detached, with no lock held.
type detachment struct {
	socket *Socket
	reason Reason
	acks   ackTable
	freed  int64 // bytes of events that will not be handled
	busy   bool  // callbacks are still to run
}

// finish does it; nil needs nothing.
func (d *detachment) finish() {
	if d == nil {
		return
	}
	s := d.socket
	s.nsp.server.countDisconnect(d.reason)
	if r := s.nsp.recovery; r != nil {
		r.leave(s, d.reason)
	}
	s.nsp.index.Flush()
	s.cancelContext()
	for _, e := range d.acks {
		e.waiter.failed(s, &DisconnectError{d.reason})
	}
	s.client.discharge(d.freed)
	if len(s.nsp.server.hooks.afterDisconnect) > 0 {
		s.tellDisconnect(d.reason)
	}
	if s.observed() {
		s.observe(Observation{Kind: ObservedDisconnected, ID: parser.NoID, Reason: d.reason})
	}
	// Callbacks that are still to run may register the functions that the disconnect is to call.
	if d.busy || s.nsp.hooks().endings() || s.ownHooks().endings() {
		s.enqueue(task{step: stepDisconnect})
	}
	s.nsp.release()
}

// detachLocked makes a connected socket a closed one that is in no room and that its client does not know any more, and
// puts farewell on its way, a DISCONNECT packet or nil. client.mu is held, so that it is one step with respect to join: a
// client that comes back is neither refused nor told of this end. The result is nil if the socket was not connected.
func (s *Socket) detachLocked(reason Reason, farewell *engine.Message) *detachment {
	c := s.client
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.phase.Load() != phaseConnected {
		s.endLaterLocked(reason)
		return nil
	}
	d := &detachment{socket: s, reason: reason}
	s.phase.Store(phaseClosed)
	s.reason = reason
	s.left = s.leaveAll()
	d.acks = s.takeAcksLocked()
	c.removeLocked(s)
	if reason == ReasonServerDisconnect {
		d.freed = s.dropEventsLocked()
	}
	if farewell != nil {
		// SendQueued does no I/O. The session may have closed; then nobody waits for the packet.
		_ = c.session.SendQueued(farewell)
	}
	d.busy = s.inbox != nil
	return d
}

// detachLocked ends the socket of a client that has come back to its namespace.
func (c *client) detachLocked(namespace string) *detachment {
	if s := c.socketLocked(namespace); s != nil {
		return s.detachLocked(ReasonClientDisconnect, nil)
	}
	return nil
}

// abandon ends a socket that has not connected: refused by a middleware, or its client went away.
func (s *Socket) abandon(reason Reason) {
	s.mu.Lock()
	s.phase.Store(phaseClosed)
	s.reason = reason
	acks := s.takeAcksLocked()
	s.mu.Unlock()
	s.leaveAll()
	s.nsp.index.Flush()
	s.cancelContext()
	for _, e := range acks {
		e.waiter.failed(s, &DisconnectError{reason})
	}
	s.nsp.release()
}

func (s *Socket) runDisconnect() {
	type list = []*slot[disconnectFunc]
	each([]func(h *hooks) list{
		func(h *hooks) list { return h.disconnecting },
		func(h *hooks) list { return h.disconnect },
	}, func(of func(*hooks) list) {
		each(slices.Concat(of(s.nsp.hooks()), of(s.ownHooks())), func(f *slot[disconnectFunc]) {
			_ = s.protect("OnDisconnect", func() error {
				f.value(s.client.withValues(s.nsp.server.farewell), s, s.reason)
				return nil
			})
		})
	})
}
