package engine

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/internal/timerwheel"
)

// A connection on which net/http waits costs two goroutines and two buffers. So when nothing has happened on one for a moment, its
// socket is taken away from net/http and parked: one goroutine watches all of them. When something happens on a parked socket, net/http
// gets it as a new connection, from a listener of its own, and goes on as if nothing had been. A poll that waits is parked too: its
// request is kept as text, and net/http reads it once more when there is an answer, so that answers are net/http's in every byte.
//
// How a socket is taken away: net/http closes the pollConn, believing that it was answered or that the client has gone, and Close
// keeps the socket open.

// Nothing has happened on a connection for a park time when it is parked. To come back costs more than to wait: one on which something
// happens before it has been parked for parkLate has to be quiet for as long from then on, until it was parked for longer. What is
// idle from the beginning, as clients are that all come at once, is parked soon, before it has taken much memory.
const (
	parkSoon = 100 * time.Millisecond
	parkLate = 2 * time.Second
)

// maxParked bounds the text of a parked request.
const maxParked = 4 << 10

// lot has the parked sockets of a listener.
type lot struct {
	// Static after start.
	soon, late time.Duration // parkSoon, parkLate

	addr  net.Addr
	state func(net.Conn, http.ConnState) // what the HTTP server's owner wants to be told

	started atomic.Bool
	wheel   *timerwheel.Wheel
	running sync.WaitGroup // the goroutine that waits for events

	// change has a token when queue or closed has changed.
	change chan struct{}

	mu sync.Mutex
	// Guarded by mu.
	set       waiter // nil before the first socket was parked, and after close
	seats     map[int64]*seat
	last      int64 // the newest key of seats
	queue     []*pollConn
	closed    bool
	unsettled int           // polls to be answered whose request net/http has not read
	settled   chan struct{} // closed when unsettled falls to 0; nil unless somebody waits
}

// seat is the place of a socket that is parked, or about to be.
type seat struct {
	// Static after construction.
	lot   *lot
	conn  *pollConn // with which the socket comes back
	until time.Time // when net/http would close the connection; zero: never

	timer timerwheel.Entry

	// Guarded by lot.mu.
	state  seatState
	wanted bool  // to be resumed, whenever it is parked
	since  int64 // when it was parked, see monotonic
	key    int64
}

type seatState uint8

const (
	seatLeaving  seatState = iota // net/http has not let go of the socket
	seatOccupied                  // parked
	seatEmpty                     // it goes back to net/http, or has been closed
)

// parkable is a pollConn's part in this.
type parkable struct {
	// Static when net/http has it.
	lot    *lot
	own    *seat // where the socket was before; nil if it is new
	lively bool  // the socket has come back soon

	leaving atomic.Pointer[seat] // where the socket goes; nil: nowhere
	settles atomic.Bool          // counted in lot.unsettled

	// Owned by the goroutine of net/http that serves the connection.
	replay  []byte              // to be read before anything else
	request parkedRequest       // the one in replay, until it goes on; nil: none
	writer  http.ResponseWriter // net/http's own, while a request is served
	reading *http.Request
	waits   bool // between two requests, with nothing read since
	until   time.Time
	full    int  // the length of net/http's empty buffer
	whole   bool // the request that is served came in one read, and nothing behind it
}

func newLot(addr net.Addr) *lot {
	return &lot{
		soon: parkSoon, late: parkLate, addr: addr, wheel: timerwheel.New(wheelTick, nil), change: make(chan struct{}, 1), seats: make(map[int64]*seat),
	}
}

// Park lets web, which serves l, do without connections on which nothing happens; it changes its Handler, ConnContext and ConnState,
// and must be called before web serves. The caller has web serve the listener that it returns, too, which brings them back, and calls
// settle when everything that waits for an answer has got one, before web.Shutdown, which would not know of them.
func (l *pollListener) Park(web *http.Server) (back net.Listener, settle func(context.Context)) {
	if web.Handler == nil {
		web.Handler = http.DefaultServeMux
	}
	web.Handler = keepRequests(web.Handler)
	outer := web.ConnContext
	web.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		if outer != nil {
			ctx = outer(ctx, conn)
		}
		if c, ok := conn.(*pollConn); ok {
			ctx = context.WithValue(ctx, parkableKey{}, c)
		}
		return ctx
	}
	l.lot.state = web.ConnState
	if l.lot.state == nil {
		l.lot.state = func(net.Conn, http.ConnState) {}
	}
	web.ConnState = l.lot.connState
	l.lot.started.Store(true)
	return resumed{l.lot}, l.lot.settle
}

type parkableKey struct{}

// keepRequests is the outermost handler. It goes on with requests that were parked, and remembers what net/http has given of others.
func keepRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(parkableKey{}).(*pollConn)
		if c == nil {
			next.ServeHTTP(w, r)
			return
		}
		if parked := c.request; parked != nil {
			c.request = nil
			parked.resume(w, r)
			return
		}
		c.writer, c.reading = w, r
		defer func() { c.writer, c.reading = nil, nil }()
		next.ServeHTTP(w, r)
	})
}

// parkableConn returns the connection of a request that can be parked; nil for others: where something stands between net/http and
// the engine, it would not see the answer; a request with a body is not over when its head has been read; and what net/http has read
// of the next one would be lost.
func parkableConn(w http.ResponseWriter, r *http.Request) *pollConn {
	c, _ := r.Context().Value(parkableKey{}).(*pollConn)
	if c == nil || !c.whole || c.writer != w || c.reading != r || r.Body != http.NoBody {
		return nil
	}
	return c
}

// parkTime is for how long nothing must have happened on c.
func (c *pollConn) parkTime() time.Duration {
	if c.lively {
		return c.lot.late
	}
	return c.lot.soon
}

// park parks c when the handler has returned, which must not have written anything. The request goes on when the seat is resumed. It
// returns nil, having changed nothing, for a request that is too long.
func (c *pollConn) park(w http.ResponseWriter, r *http.Request, request parkedRequest) *seat {
	s := c.newSeat()
	s.conn.request, s.conn.replay = request, requestText(r)
	if len(s.conn.replay) > maxParked {
		return nil
	}
	w.Header().Set("Connection", "close") // read by net/http alone: what it writes now goes nowhere
	c.leaving.Store(s)
	return s
}

// newSeat makes a seat for the socket of c.
func (c *pollConn) newSeat() *seat {
	s := &seat{lot: c.lot}
	s.conn = &pollConn{Conn: c.Conn, raw: c.raw, peer: c.peer, parkable: parkable{lot: c.lot, own: s}}
	return s
}

// SetReadDeadline bounds reads. A connection that waits for its next request may be parked before.
func (c *pollConn) SetReadDeadline(t time.Time) error {
	if c.closed.Load() {
		return net.ErrClosed // the socket may have a new life
	}
	if c.waits && c.lot.started.Load() {
		c.until = t
		if soon := time.Now().Add(c.parkTime()); t.IsZero() || soon.Before(t) {
			t = soon
		}
	}
	return c.Conn.SetReadDeadline(t)
}

// Write writes, unless the socket has been taken away.
func (c *pollConn) Write(p []byte) (int, error) {
	if c.leaving.Load() != nil {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// readParkable is Read for net/http.
func (c *pollConn) readParkable(p []byte) (n int, err error) {
	first := c.full == 0
	if first {
		c.full = len(p)
	}
	if len(c.replay) > 0 {
		n = copy(p, c.replay)
		if c.replay = c.replay[n:]; len(c.replay) == 0 {
			c.replay = nil
		}
		return n, nil
	}
	n, err = c.readNoting(p)
	if n > 0 && len(p) > 1 { // a single byte is asked for only while a request is served
		c.whole = (first || c.waits) && endsHead(p[:n])
	}
	if !c.waits {
		return n, err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && n == 0 && !c.expired() {
		// A shorter buffer has something in it: the beginning of a request that came early.
		if len(p) == c.full {
			s := c.newSeat()
			s.until = c.until
			c.leaving.Store(s)
			return 0, io.EOF
		}
		err = nil
	}
	c.waits = false
	_ = c.Conn.SetReadDeadline(c.until)
	if n == 0 && err == nil {
		return c.readParkable(p)
	}
	return n, err
}

func (c *pollConn) expired() bool { return !c.until.IsZero() && !time.Now().Before(c.until) }

// handOver parks the socket of a connection that net/http closes. It reports false if the socket was not to be parked.
func (c *pollConn) handOver() bool {
	s := c.leaving.Load()
	if s == nil {
		return false
	}
	if !c.closed.Swap(true) {
		inFlight.end(c.arrival.Swap(nil))
		s.occupy(c)
	}
	return true
}

// occupy parks the socket of c.
func (s *seat) occupy(c *pollConn) {
	l := s.lot
	_ = c.Conn.SetDeadline(time.Time{})
	l.state(c, http.StateClosed) // first, so that the socket is not counted twice
	if s.conn.request == nil {
		l.state(s.conn, http.StateIdle)
	}
	l.mu.Lock()
	switch {
	case l.closed:
		l.mu.Unlock()
		_ = s.conn.Close()
		return
	case s.state != seatLeaving: // closed meanwhile
	case s.wanted:
		l.resumeLocked(s)
	case c.lead != 0:
		// net/http has read one byte of what follows.
		s.conn.replay = append(s.conn.replay, c.lead)
		l.resumeLocked(s)
	case !l.watchLocked(s):
		l.resumeLocked(s)
	default:
		s.state, s.since = seatOccupied, monotonic()
		if !s.until.IsZero() {
			l.wheel.Set(&s.timer, s, time.Until(s.until))
		}
	}
	l.mu.Unlock()
}

// parkEvents are those that bring a socket back, once: of level and not of edge, since net/http has read from it before.
const parkEvents = syscall.EPOLLIN | syscall.EPOLLRDHUP | syscall.EPOLLONESHOT

// watchLocked reports false, having changed nothing, when the socket cannot be watched.
func (l *lot) watchLocked(s *seat) bool {
	if l.set == nil && !l.openLocked() {
		return false
	}
	l.last++
	event := syscall.EpollEvent{Events: parkEvents, Fd: int32(l.last), Pad: int32(l.last >> 32)}
	added := syscall.EBADF
	err := s.conn.raw.Control(func(fd uintptr) {
		added, _ = syscall.EpollCtl(l.set.descriptor(), syscall.EPOLL_CTL_ADD, int(fd), &event).(syscall.Errno)
	})
	if err != nil || added != 0 {
		return false
	}
	s.key = l.last
	l.seats[s.key] = s
	return true
}

func (l *lot) openLocked() bool {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	set, err := newParkedWait(fd)
	if err != nil {
		_ = syscall.Close(fd)
		return false
	}
	l.set = set
	l.running.Go(func() { l.run(set) })
	return true
}

// run resumes what something happens on, until the lot is closed.
func (l *lot) run(set waiter) {
	defer set.close()
	events := make([]syscall.EpollEvent, pollBatchSize)
	for n := set.wait(events); n > 0; n = set.wait(events) {
		l.mu.Lock()
		for _, e := range events[:n] {
			if s := l.seats[int64(e.Pad)<<32|int64(uint32(e.Fd))]; s != nil {
				l.resumeLocked(s)
			}
		}
		l.mu.Unlock()
	}
}

// resume gives the socket back to net/http, now or when net/http lets go of it. It never blocks; locks may be held.
func (s *seat) resume() {
	s.lot.mu.Lock()
	defer s.lot.mu.Unlock()
	if s.lot.closed || s.state == seatEmpty || s.wanted {
		return
	}
	s.wanted = true
	if s.conn.request != nil {
		s.lot.unsettled++
		s.conn.settles.Store(true)
	}
	if s.state == seatOccupied {
		s.lot.resumeLocked(s)
	}
}

func (l *lot) resumeLocked(s *seat) {
	s.conn.lively = s.state != seatOccupied || monotonic()-s.since < int64(l.late)
	l.leaveLocked(s)
	l.queue = append(l.queue, s.conn)
	l.changedLocked()
}

// leaveLocked empties a seat.
func (l *lot) leaveLocked(s *seat) {
	if s.state == seatOccupied {
		delete(l.seats, s.key)
		l.wheel.Cancel(&s.timer)
		_ = s.conn.raw.Control(func(fd uintptr) {
			_ = syscall.EpollCtl(l.set.descriptor(), syscall.EPOLL_CTL_DEL, int(fd), nil)
		})
	}
	s.state = seatEmpty
}

func (l *lot) changedLocked() {
	select {
	case l.change <- struct{}{}:
	default:
	}
}

// Expired closes a connection on which no request has come in time. It runs on the wheel's goroutine.
func (s *seat) Expired(*timerwheel.Entry) { s.evict() }

// evict closes a socket that is parked, or about to be. It reports false if net/http has it.
func (s *seat) evict() bool {
	s.lot.mu.Lock()
	if s.state == seatEmpty {
		s.lot.mu.Unlock()
		return false
	}
	s.lot.leaveLocked(s)
	s.lot.mu.Unlock()
	s.lot.settledOne(s.conn)
	_ = s.conn.Conn.Close()
	s.lot.state(s.conn, http.StateClosed)
	if s.conn.request != nil {
		s.conn.request.lost()
	}
	return true
}

// evicted is Close for a connection that came from a seat, or is there.
func (c *pollConn) evicted() bool { return c.own != nil && c.own.evict() }

// connState is the HTTP server's ConnState. A connection that comes back is no new one: it is between two requests, or in one.
func (l *lot) connState(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*pollConn)
	if !ok {
		l.state(conn, state)
		return
	}
	if state == http.StateClosed && c.leaving.Load() != nil {
		l.settledOne(c)
		return // has been told
	}
	if c.waits && state == http.StateActive {
		// The request had come with the one before it, and nothing was read.
		_ = c.Conn.SetReadDeadline(c.until)
	}
	c.waits = state == http.StateIdle
	if state == http.StateNew && c.own != nil {
		if state = http.StateIdle; c.request != nil {
			state = http.StateActive
		}
	} else {
		l.settledOne(c)
	}
	l.state(conn, state)
}

// settledOne notes that net/http knows the request of c, or never will.
func (l *lot) settledOne(c *pollConn) {
	if !c.settles.Swap(false) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.unsettled--; l.unsettled == 0 && l.settled != nil {
		close(l.settled)
		l.settled = nil
	}
}

// settle waits until net/http knows every poll that has been resumed.
func (l *lot) settle(ctx context.Context) {
	l.mu.Lock()
	if l.unsettled == 0 {
		l.mu.Unlock()
		return
	}
	if l.settled == nil {
		l.settled = make(chan struct{})
	}
	settled := l.settled
	l.mu.Unlock()
	select {
	case <-settled:
	case <-ctx.Done():
	}
}

// resumed is the listener that brings parked connections back. One goroutine calls Accept.
type resumed struct{ *lot }

// Addr implements net.Listener.
func (l resumed) Addr() net.Addr { return l.addr }

// Accept waits for the next connection.
func (l resumed) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		if len(l.queue) > 0 {
			c := l.queue[0]
			if l.queue[0] = nil; len(l.queue) == 1 {
				l.queue = nil
			} else {
				l.queue = l.queue[1:]
			}
			l.mu.Unlock()
			return c, nil
		}
		closed := l.closed
		l.mu.Unlock()
		if closed {
			return nil, net.ErrClosed
		}
		<-l.change
	}
}

// Close closes what is parked, and what will be.
func (l resumed) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return net.ErrClosed
	}
	l.closed = true
	set, queue := l.set, l.queue
	l.queue = nil
	seats := maps.Clone(l.seats)
	l.changedLocked()
	l.mu.Unlock()
	for _, c := range queue {
		l.settledOne(c)
		_ = c.Close()
		l.state(c, http.StateClosed)
		if c.request != nil {
			c.request.lost()
		}
	}
	for _, s := range seats {
		s.evict()
	}
	if set != nil {
		set.end()
		l.running.Wait()
	}
	return nil
}
