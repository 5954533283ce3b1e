package auth

import (
	"container/heap"
	"math"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// Events of a token's life. Front ends know these names.
const (
	// EventExpiring asks a client for a new token, Options.Window before the one that it has expires. It carries an Expiring.
	EventExpiring = "auth:expiring"
	// EventRenew is the client's answer: a token, as a string or as {token}. It is acknowledged with a Renewed, or with
	// {error: {message, data: {code}}}.
	EventRenew = "auth:renew"
	// EventExpired tells that no new token has come, {code: "expired"}. The connection closes right after it, so that a client that gets a
	// new token for each attempt is back by itself.
	EventExpired = "auth:expired"
	// EventRevoked tells that the token was revoked, {code: "revoked"}. The socket is disconnected right after it, and does not
	// come back by itself.
	EventRevoked = "auth:revoked"
)

// Expiring is the argument of EventExpiring.
type Expiring struct {
	ExpiresAt   int64 `json:"expiresAt"`   // milliseconds since 1970
	GraceMillis int64 `json:"graceMillis"` // how long after that the socket stays
}

// live has the sockets that have joined, those first for which something is to be done first. However many there are, there is one
// timer.
type live struct {
	// Static after construction.
	opts    *Options
	expired func(*session) // is called when a session has ended

	running sync.WaitGroup // calls of fire

	mu sync.Mutex
	// Guarded by mu.
	heap   sessionHeap
	timer  *time.Timer // nil before the first session
	set    int64       // what the timer is set to
	closed bool
}

// never is the time of sessions for which nothing is to be done.
const never = math.MaxInt64

// sessionHeap is a container/heap by the time of sessions.
type sessionHeap []*session

func (h sessionHeap) Len() int           { return len(h) }
func (h sessionHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h sessionHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push adds a session at the end.
func (h *sessionHeap) Push(x any) {
	s := x.(*session)
	s.index = len(*h)
	*h = append(*h, s)
}

// Pop takes the last one off.
func (h *sessionHeap) Pop() any {
	last := len(*h) - 1
	s := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	s.index = -1
	return s
}

// add takes in a socket that has joined.
func (l *live) add(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	s.at, s.warned = l.warnAt(s.claims.Load()), false
	heap.Push(&l.heap, s)
	l.wakeLocked()
}

// remove forgets a socket that has gone.
func (l *live) remove(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.index >= 0 {
		heap.Remove(&l.heap, s.index)
	}
}

// renew gives a session new claims. It reports false if the session has ended.
func (l *live) renew(s *session, c *Claims) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.index < 0 {
		return false
	}
	s.claims.Store(c)
	s.at, s.warned = l.warnAt(c), false
	heap.Fix(&l.heap, s.index)
	l.wakeLocked()
	return true
}

// warnAt is when the client is asked for a new token. Of a short life it is half, so that a client which renews at once comes to rest.
func (l *live) warnAt(c *Claims) int64 {
	if c.ExpiresAt.IsZero() {
		return never
	}
	window := min(l.opts.Window, time.Until(c.ExpiresAt)/2)
	return c.ExpiresAt.Add(-max(0, window)).UnixMilli()
}

// wakeLocked sets the timer to the first session, if that has changed.
func (l *live) wakeLocked() {
	if len(l.heap) == 0 || l.heap[0].at == never || l.closed {
		return
	}
	at := l.heap[0].at
	wait := time.Until(time.UnixMilli(at))
	switch {
	case l.timer == nil:
		l.timer = time.AfterFunc(wait, l.fire)
	case at < l.set:
		l.timer.Reset(wait)
	default:
		return
	}
	l.set = at
}

// fireBatch bounds the sessions that are looked at while the lock is held.
const fireBatch = 256

// fire does what is due, and sets the timer anew.
func (l *live) fire() {
	if !l.begin() {
		return
	}
	defer l.running.Done()
	for {
		warn, end, more := l.due()
		for _, s := range warn {
			s.warn(l.opts.Grace)
		}
		for _, s := range end {
			l.expired(s)
		}
		if !more {
			return
		}
	}
}

func (l *live) begin() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.running.Add(1)
	}
	return !l.closed
}

// due takes some of what is due. Without more the timer is set.
func (l *live) due() (warn, end []*session, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now().UnixMilli()
	for len(l.heap) > 0 && l.heap[0].at <= now && !l.closed {
		if len(warn)+len(end) == fireBatch {
			return warn, end, true
		}
		s := l.heap[0]
		if s.warned {
			heap.Pop(&l.heap)
			end = append(end, s)
			continue
		}
		s.warned = true
		s.at = s.claims.Load().ExpiresAt.Add(l.opts.Grace).UnixMilli()
		heap.Fix(&l.heap, 0)
		warn = append(warn, s)
	}
	l.set = never
	l.wakeLocked()
	return warn, end, false
}

// warn asks a client for a new token.
func (s *session) warn(grace time.Duration) {
	// The socket may have gone; then nobody is asked.
	_ = s.socket.Emit(EventExpiring, Expiring{s.claims.Load().ExpiresAt.UnixMilli(), grace.Milliseconds()})
}

func (l *live) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.heap)
}

// close ends the timer and waits for what it has started.
func (l *live) close() {
	l.mu.Lock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	l.mu.Unlock()
	l.running.Wait()
}

// expire ends a session whose client has not brought a new token. The connection is closed, not the namespace left: a client that
// is sent away would not come back by itself.
func expire(s *server.Socket) {
	_ = s.Emit(EventExpired, RefusalData{Code: CodeExpired}) // it may have gone
	s.CloseConn()
}
