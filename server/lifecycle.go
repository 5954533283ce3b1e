package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

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
	if s.state.Load() != stateConnected {
		s.endLaterLocked(reason)
		return nil
	}
	d := &detachment{socket: s, reason: reason}
	s.state.Store(stateClosed)
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

// abandon ends a socket that has not connected: refused by a middleware, or its client went away.
func (s *Socket) abandon(reason Reason) {
	s.mu.Lock()
	s.state.Store(stateClosed)
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

// onPacket takes an event or an acknowledgement on the reading side.
func (s *Socket) onPacket(p *parser.Packet) {
	s.heard = true
	if p.Type == parser.Event {
		s.onEvent(p)
	} else {
		s.onAck(p)
	}
}

// run does one task on the socket's worker.
func (s *Socket) run(t task) {
	switch t.step {
	case stepEvent:
		s.handle(t.packet)
	case stepConnection:
		s.runConnection()
	case stepDisconnect:
		s.runDisconnect()
	}
}

func (s *Socket) runConnection() {
	each(s.nsp.hooks().connection, func(f *slot[connectionFunc]) {
		_ = s.protect("OnConnection", func() error {
			f.value(s.Context(), s)
			return nil
		})
	})
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

// handle runs the callbacks of one event. p is used up.
func (s *Socket) handle(p *parser.Packet) {
	name, args, err := p.Event()
	id := p.ID
	p.Recycle()
	if err != nil {
		s.report("", err)
		return
	}
	var call struct { // in one piece of memory
		event Event
		reply Reply
	}
	call.reply.socket, call.reply.id = s, id
	call.event = Event{Name: name, Args: args, Reply: &call.reply}
	e := &call.event
	returned := false
	defer func() {
		if !returned { // runtime.Goexit
			s.fail(e, errPanic)
		}
	}()
	if tempo := s.tempoOf(name); tempo != nil {
		defer tempo.begin().end()
	}
	switch srv := s.nsp.server; {
	case srv.watched():
		s.dispatchOperation(e)
	case len(srv.hooks.afterEvent) > 0 || s.observed():
		_ = s.dispatchWatched(s.Context(), e)
	default:
		_ = s.dispatch(s.Context(), e) // reported already
	}
	returned = true
}

// dispatchOperation is dispatch for a server with Begin hooks.
func (s *Socket) dispatchOperation(e *Event) {
	ctx, end := s.nsp.server.begin(s.Context(), Operation{Kind: OperationEvent, Namespace: s.nsp.name, Socket: s.id, Event: e.Name})
	err := errPanic // what it stays if a callback calls runtime.Goexit
	defer func() { end(err) }()
	err = s.dispatchWatched(ctx, e)
}

// dispatchWatched is dispatch for a server with AfterEvent hooks, or a socket that is observed.
func (s *Socket) dispatchWatched(ctx context.Context, e *Event) error {
	known := len(s.nsp.hooks().handlers[e.Name])+len(s.ownHooks().handlers[e.Name]) > 0
	began := time.Now()
	err := errPanic // what it stays if a callback calls runtime.Goexit
	defer func() {
		r := EventResult{Name: e.Name, Took: time.Since(began), Outcome: outcome(known, err), Err: err}
		s.tellEvent(r)
		s.observeHandled(e.Reply.id, r)
	}()
	err = s.dispatch(ctx, e)
	return err
}

// dispatch hands an event to its callbacks in the reference's order: catch-all, middlewares, handlers. It reports
// all errors and returns the first.
func (s *Socket) dispatch(ctx context.Context, e *Event) (err error) {
	h, own := s.nsp.hooks(), s.ownHooks()
	for _, list := range [][]*slot[eventFunc]{h.any, own.any} {
		for _, f := range list {
			_ = s.protect(e.Name, func() error {
				f.value(ctx, s, e)
				return nil
			})
		}
	}
	for _, list := range [][]*slot[EventMiddleware]{h.events, own.events} {
		for _, m := range list {
			if err := s.protect(e.Name, func() error { return m.value(ctx, s, e) }); err != nil {
				s.fail(e, err)
				return err
			}
		}
	}
	for _, list := range [][]*slot[Handler]{s.nsp.hooks().handlers[e.Name], s.ownHooks().handlers[e.Name]} {
		for _, f := range list {
			if s.dismissed() {
				return err // the reference ignores what comes after its own disconnect
			}
			if failure := s.protect(e.Name, func() error { return f.value.HandleEvent(ctx, s, e) }); failure != nil {
				s.fail(e, failure)
				err = cmp.Or(err, failure)
			}
		}
	}
	return err
}

// dismissed reports whether this side has disconnected the socket.
func (s *Socket) dismissed() bool {
	if s.state.Load() != stateClosed {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason == ReasonServerDisconnect
}

// fail ends an event with an error.
func (s *Socket) fail(e *Event, err error) {
	// The client may be gone, or the handler may have replied before it failed: neither is worth a second report.
	_ = e.Reply.SendError(err)
	if !errors.Is(err, errPanic) {
		s.report(e.Name, err)
	}
}

// report hands an error to OnError or to the log.
func (s *Socket) report(event string, err error) {
	srv := s.nsp.server
	srv.failures.Add(1)
	misfit := errors.Is(err, ErrInvalidArguments)
	if misfit {
		srv.misfits.count.Add(1)
	}
	if failed := s.nsp.hooks().failed; len(failed) > 0 {
		for _, f := range failed {
			_ = s.protect("OnError", func() error {
				f.value(s.Context(), s, event, err)
				return nil
			})
		}
		return
	}
	if misfit {
		s.warnMisfit(event, err)
		return
	}
	level := slog.LevelWarn
	var ce *ClientError
	if errors.As(err, &ce) || errors.Is(err, ErrDisconnected) || event == "" {
		level = slog.LevelDebug // a client can cause these at will
	}
	if held, ok := srv.failed.Pass(level.String()+s.nsp.name+" "+event, failureInterval); ok {
		srv.opts.Logger.Log(context.Background(), level, "event failed",
			"namespace", s.nsp.name, "socket", s.id, "event", event, "error", err, "notLogged", held)
	}
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

// protect runs a callback and turns a panic into errPanic. With Options.CloseOnPanic the socket is disconnected.
func (s *Socket) protect(what string, f func() error) (err error) {
	if s.nsp.server.opts.CloseOnPanic {
		err = errPanic // what it stays if f calls runtime.Goexit
		defer func() {
			if err == errPanic {
				s.Disconnect()
			}
		}()
	}
	err = s.nsp.server.protect(what, s.nsp.name, s.id, f)
	return err
}
