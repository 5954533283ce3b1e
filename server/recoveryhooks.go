package server

import (
	"context"
	"errors"
	"time"
)

// What the application is asked and told about clients that go on.

// RecoveryWindow returns for how long clients of the namespace can go on after the end of their connection: at least
// RecoveryOptions.MaxDisconnectionDuration. It is 0 without recovery, also if the adapter keeps no history.
func (n *Namespace) RecoveryWindow() time.Duration {
	n.open()
	if n.recovery == nil {
		return 0
	}
	return n.recovery.opts.MaxDisconnectionDuration
}

// OnRecover registers a function that runs for each client that goes on, before the client gets anything: the socket has its rooms and
// data, and what is sent to it from here on waits. After an error the client starts anew, with another socket, as after one of
// RecoveryOptions.Recheck. The context of a socket that does not connect in the end ends, and nothing else tells of it. The returned
// function removes it.
func (n *Namespace) OnRecover(f func(ctx context.Context, s *Socket) error) (remove func()) {
	return n.onRecover(f)
}

// OnRecover registers a function for clients that go on in the children, see Namespace.OnRecover.
func (p *ParentNamespace) OnRecover(f func(ctx context.Context, s *Socket) error) (remove func()) {
	return p.onRecover(f)
}

// Recovered reports whether the client goes on after its connection was lost: the socket has its former id, rooms and data, and what
// the client has missed is on its way. See Options.Recovery.
func (s *Socket) Recovered() bool { return s.restored != nil && s.phase.Load() != phaseConnecting }

// Recoverable reports whether the client of a socket that has disconnected can go on with it, as far as this node knows: see
// Options.Recovery. It may have gone on already.
func (s *Socket) Recoverable() bool {
	if s.nsp.recovery == nil || s.phase.Load() != phaseClosed || !s.ticket.entered.Load() && s.restored == nil || s.ticket.taken.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return recoverable(s.reason)
}

// recoverable reports whether a client can go on after a disconnect, as in the reference.
func recoverable(reason Reason) bool {
	switch reason {
	case ReasonTransportError, ReasonTransportClose, ReasonForcedClose, ReasonPingTimeout, ReasonShutdown, ReasonForcedServerClose:
		return true
	}
	return false
}

var errRefusedRecovery = errors.New("the client may not go on")

var errOtherOwner = errors.New("the session is somebody else's")

// recheck asks whether the client of a socket may go on.
func (s *Socket) recheck(ctx context.Context) error {
	r := s.nsp.recovery
	switch {
	case r == nil:
		return nil
	case s.ticket.ownedBy() != s.restored.from.owner:
		return refusedRecovery(errOtherOwner)
	case r.opts.Recheck == nil:
		return nil
	}
	return refusedRecovery(s.protect("recovery recheck", func() error { return r.opts.Recheck(ctx, s) }))
}

// refusedRecovery is the error of who has refused it.
func refusedRecovery(err error) error {
	if err == nil {
		return nil
	}
	return errors.Join(errRefusedRecovery, err)
}

// resumes tells the OnRecover functions, of which any can refuse.
func (s *Socket) resumes(ctx context.Context) error {
	for _, f := range s.nsp.hooks().recover {
		if err := s.protect("OnRecover", func() error { return f.value(ctx, s) }); err != nil {
			return refusedRecovery(err)
		}
	}
	return nil
}
