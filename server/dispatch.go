package server

import (
	"cmp"
	"context"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

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
	if s.phase.Load() != phaseClosed {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reason == ReasonServerDisconnect
}
