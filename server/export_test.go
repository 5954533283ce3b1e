package server

import (
	"context"
	"encoding/json"
	"runtime"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
)

// Restoration is what a test lets a socket go on with.
type Restoration struct {
	ID, PID string
	Rooms   []string
	Data    map[string]json.RawMessage
	Missed  func(ctx context.Context) (adapter.Missed, error)
}

// SetResume sets what clients of the namespace go on with, before the first of them connects.
func (n *Namespace) SetResume(f func(auth []byte) *Restoration) {
	n.resume = func(_ context.Context, _ *client, auth []byte) *restoration {
		r := f(auth)
		if r == nil {
			return nil
		}
		return &restoration{id: r.ID, pid: r.PID, rooms: r.Rooms, data: r.Data, missed: r.Missed}
	}
}

// Observed is what every event pays for traces: a look whether there is one.
func (s *Socket) Observed() bool { return s.observed() }

// BeginConnect is what the CONNECT of a client pays for who watches operations.
func (s *Socket) BeginConnect() { s.client.beginConnect(s.nsp.name)(nil) }

// ProveQuick makes the callbacks of an event quick, as many quick calls would.
func (n *Namespace) ProveQuick(event string) { n.hooks().tempos[event].prove() }

func (t *tempo) prove() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls, t.usual = quickCalls, 0
}

// ProveOwnQuick does that for an event that sockets handle themselves.
func (n *Namespace) ProveOwnQuick(event string) { n.ownTempos.get(event).prove() }

// OwnTempos is how many of them have a tempo.
func (n *Namespace) OwnTempos() int { return len(n.ownTempos.of) }

// ProveHooksQuick does that for the hooks on the reading side.
func (srv *Server) ProveHooksQuick() { srv.asking.prove() }

// QuickEvent reports whether an event of this socket is quick.
func (s *Socket) QuickEvent(event string) bool {
	t := s.tempoOf(event)
	return t != nil && t.quick()
}

// Quick reports whether they are.
func (n *Namespace) Quick(event string) bool { return n.hooks().tempos[event].quick() }

// EndBesideQuickWork has a goroutine look for quick work while the end of the socket is to be told, which it is once.
func (s *Socket) EndBesideQuickWork() {
	for idle := false; !idle; runtime.Gosched() { // the worker of the time before may not have ended
		s.mu.Lock()
		if idle = s.inbox == nil; idle {
			s.inbox = &inbox{workers: 1}
		}
		s.mu.Unlock()
	}
	var ready atomic.Bool
	s.nsp.server.spawn(func() {
		ready.Store(true)
		s.workQuickly()
	})
	for !ready.Load() {
		runtime.Gosched()
	}
	s.enqueue(task{step: stepDisconnect})
}
