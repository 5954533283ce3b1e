package server

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

const (
	// keepEvery is the least time between two writes of sessions, and keepBatch how many go out at once.
	keepEvery = 50 * time.Millisecond
	keepBatch = 500
	// keepAgain is how long a store is left alone that has failed.
	keepAgain = time.Second
)

// keeper writes the sessions of a namespace's sockets into a store that outlives the node: soon after they have connected and after each
// change of rooms and data, again and again while they are connected, and when they end. Its goroutine exists while there is something
// to do, and a timer between renewals.
type keeper struct {
	// Static after construction.
	r      *recovery
	store  adapter.SessionKeeper
	holder adapter.NodeID

	mu sync.Mutex
	// Guarded by mu.
	queue    []*Socket         // to be written, each once
	queued   map[*Socket]bool  // what is in queue
	renewals []*Socket         // to be written when queue is empty: nothing of them has changed
	running  chan struct{}     // closed when the goroutine has ended; nil without one
	renewal  *time.Timer       // nil before the first socket, and after close
	closed   bool              // nothing is begun any more
	ended    map[*Socket]ended // sockets that have ended and whose sessions are not written
}

func newKeeper(r *recovery, store adapter.SessionKeeper) *keeper {
	return &keeper{
		r: r, store: store, holder: r.nsp.server.cluster.Self().ID,
		queued: make(map[*Socket]bool), ended: make(map[*Socket]ended),
	}
}

// take takes a session over. Its node may be about to write it: a client that has just come there may be here a moment later.
func (k *keeper) take(ctx context.Context, pid string) (*adapter.Session, error) {
	for _, pause := range [...]time.Duration{keepEvery, 2 * keepEvery, 4 * keepEvery, 0} {
		session, err := k.store.Take(ctx, pid, k.holder)
		if session != nil || err != nil || pause == 0 {
			return session, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
	}
	return nil, nil
}

// renewEvery is how often the session of a connected socket is written; it is kept for twice that longer than clients may be away.
func (k *keeper) renewEvery() time.Duration {
	return max(k.r.opts.MaxDisconnectionDuration/2, time.Second)
}

// put has a socket's session written.
func (k *keeper) put(s *Socket) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.putLocked(s)
	if k.renewal == nil && !k.closed {
		k.renewal = time.AfterFunc(k.renewEvery(), k.renew)
	}
}

func (k *keeper) putLocked(s *Socket) {
	if !k.queued[s] {
		k.queued[s] = true
		k.queue = append(k.queue, s)
	}
	k.beginLocked()
}

// beginLocked sees to it that somebody writes.
func (k *keeper) beginLocked() {
	if k.running == nil && !k.closed {
		k.running = make(chan struct{})
		go k.work(k.running)
	}
}

// end has the session of a socket written for the last time.
func (k *keeper) end(s *Socket, reason Reason) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ended[s] = ended{reason, time.Now()}
	k.putLocked(s)
}

// renew has all sessions written.
func (k *keeper) renew() {
	k.r.mu.Lock()
	live := make([]*Socket, 0, len(k.r.live))
	for _, s := range k.r.live {
		live = append(live, s)
	}
	k.r.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	if len(k.renewals) == 0 { // else the store is slow, and those have waited longest
		k.renewals = live
	}
	k.beginLocked()
	k.renewal.Reset(k.renewEvery())
}

// work writes until nothing is left.
func (k *keeper) work(done chan struct{}) {
	defer close(done)
	pause := time.NewTimer(0)
	defer pause.Stop()
	<-pause.C
	for {
		batch := k.next()
		if batch == nil {
			return
		}
		wait := keepEvery
		if !k.write(batch) {
			wait = keepAgain
		}
		if k.isClosed() {
			continue
		}
		pause.Reset(wait)
		<-pause.C
	}
}

// ended is the end of a socket.
type ended struct {
	reason Reason
	at     time.Time
}

// keeping is a socket whose session is to be written.
type keeping struct {
	s     *Socket
	ended bool
	end   ended
}

// next takes some sockets off the queue; nil ends the work.
func (k *keeper) next() []keeping {
	k.mu.Lock()
	defer k.mu.Unlock()
	var batch []keeping
	n := min(len(k.queue), keepBatch)
	for _, s := range k.queue[:n] {
		end, ended := k.ended[s]
		batch = append(batch, keeping{s, ended, end})
		delete(k.queued, s)
	}
	k.queue = slices.Delete(k.queue, 0, n)
	for len(k.renewals) > 0 && len(batch) < keepBatch {
		s := k.renewals[0]
		if k.renewals = k.renewals[1:]; s.Connected() { // the end of one that is not is written by itself
			batch = append(batch, keeping{s: s})
		}
	}
	if len(batch) == 0 {
		k.running, k.renewals = nil, nil
	}
	return batch
}

func (k *keeper) isClosed() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.closed
}

// write writes some sessions and reports whether the store has taken them; what it has not taken is tried again.
func (k *keeper) write(batch []keeping) bool {
	writes := make([]adapter.SessionWrite, len(batch))
	for i, b := range batch {
		ttl := k.r.opts.MaxDisconnectionDuration
		if !b.ended {
			ttl += 2 * k.renewEvery()
		}
		writes[i] = adapter.SessionWrite{
			Session: k.r.session(b.s), Holder: k.holder, TTL: ttl, Remove: b.ended && !recoverable(b.end.reason),
			Told: k.r.opts.Expired != nil,
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), saveTimeout)
	defer cancel()
	held, err := k.store.Write(ctx, writes)
	if err != nil {
		k.r.complain(err)
		k.again(batch)
		return false
	}
	for i, b := range batch {
		switch {
		case b.ended:
			k.forget(b.s)
		case !held[i]: // the client goes on elsewhere
			b.s.ticket.taken.Store(true)
			b.s.client.end(ReasonTransportClose)
			b.s.client.session.Discard()
		}
	}
	return true
}

// again puts what could not be written back, in front of what has come since. Sessions that are over by now are given up, and all by a
// server that ends.
func (k *keeper) again(batch []keeping) {
	var lost, back []*Socket
	k.mu.Lock()
	for _, b := range batch {
		switch {
		case k.closed || b.ended && time.Since(b.end.at) > k.r.opts.MaxDisconnectionDuration:
			lost = append(lost, b.s)
		case !k.queued[b.s]:
			k.queued[b.s] = true
			back = append(back, b.s)
		}
	}
	k.queue = append(back, k.queue...)
	if k.closed { // the store is not asked again
		lost = append(lost, k.queue...)
		k.queue = nil
		clear(k.queued)
	}
	k.mu.Unlock()
	for _, s := range lost {
		k.forget(s)
	}
}

// forget lets go of a socket that has ended.
func (k *keeper) forget(s *Socket) {
	k.mu.Lock()
	delete(k.ended, s)
	k.mu.Unlock()
	k.r.gone(s)
}

// close returns when everything is written, or cannot be.
func (k *keeper) close() {
	k.mu.Lock()
	k.closed, k.renewals = true, nil
	if k.renewal != nil {
		k.renewal.Stop()
	}
	running := k.running
	k.mu.Unlock()
	if running != nil {
		<-running
	}
}

// session is what is kept of a socket.
func (r *recovery) session(s *Socket) *adapter.Session {
	session := &adapter.Session{
		SocketID: s.id, PID: s.ticket.pid, Namespace: r.nsp.name, Rooms: s.Rooms(), Data: parser.Payload{JSON: s.dataJSON()}, Offset: s.ticket.position.Load(),
		Owner: s.ticket.ownedBy(),
	}
	if s.ticket.since != session.Offset {
		session.Since = s.ticket.since
	}
	return session
}
