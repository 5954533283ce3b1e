package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/internal/timerwheel"
)

type sessionState uint8

const (
	stateOpen    sessionState = iota
	stateClosing              // Close was called; what is queued is still sent
	stateClosed
)

// Session is the connection of one client, over whatever transport it uses at the moment. All methods may be called
// from any goroutine and none blocks.
type Session struct {
	// Static after construction.
	srv       *Server
	shard     *shard
	id        string
	handshake Handshake
	extras    *extras // nil without any
	protocol  uint8   // the number of its revision

	paused  atomic.Bool   // written under mu
	input   account       // see HoldInput
	kept    account       // see KeepState
	holding atomic.Uint32 // since when input is held, in tenths of seconds; 0 when that was before it mattered

	mu sync.Mutex
	// Guarded by mu.
	state      sessionState
	calling    bool // accept or a method of handler is running
	delivering bool // the transport hands over several packets, which belong together
	away       bool // SendAway was called
	reported   bool // OnClose was or is being called
	spoken     bool // a packet has come
	onDirty    bool // on the shard's dirty list
	phase      heartbeatPhase
	extended   bool  // the pong deadline has been extended once since the ping
	upgraded   bool  // the transport is the result of an upgrade
	pauseAsked bool  // Pause was called
	awaited    uint8 // pings that have not been answered; of a session that was paused there may be several
	breaks     int8  // calls of PauseFor whose time is not over
	handler    Handler
	ending     *ending
	out        outbox
	timer      timerwheel.Entry
	resumed    chan struct{} // not nil while paused, by Pause or PauseFor
	upgrade    *upgrade      // under way

	// transport is guarded by mu too, but the goroutine that runs a Handler may read it: it does not change meanwhile.
	transport transport
}

// extras is what most sessions do without. It is static once the session is registered.
type extras struct {
	observer Observer        // nil: nobody observes
	values   context.Context // what SessionContext keeps; nil: nothing
}

func (s *Session) extend() *extras {
	if s.extras == nil {
		s.extras = new(extras)
	}
	return s.extras
}

// ID returns the session id: 20 characters, the server's tag (see Server.SetTag) and 16 that carry 96 random bits.
func (s *Session) ID() string { return s.id }

// Handler returns who receives the session's messages; nil while the session is being accepted.
func (s *Session) Handler() Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handler
}

// quick reports whether the handler may run on a goroutine for which others wait.
func (s *Session) quick() bool {
	h, asked := s.Handler().(QuickHandler)
	return !asked || h.Quick()
}

// Protocol returns the Engine.IO revision that the client speaks, 4.
func (s *Session) Protocol() int { return int(s.protocol) }

func (s *Session) heartbeat() heartbeat { return revisions[s.protocol].heartbeat }

// Server returns the server that accepted the session.
func (s *Session) Server() *Server { return s.srv }

// Handshake returns what is kept of the request that opened the session.
func (s *Session) Handshake() *Handshake { return &s.handshake }

// Transport returns the current transport, "polling" or "websocket".
func (s *Session) Transport() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transport.kind().name
}

// Load is what a session takes of its server at the moment, in bytes.
type Load struct {
	State  int64 // what is kept for it as long as it lives: sockets, rooms, data
	Input  int64 // incomplete, or not handled yet
	Queued int64 // not sent yet
}

// Load returns what the session takes at the moment; nothing when it has ended.
func (s *Session) Load() Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.kept.held() - sessionCost - int64(len(s.handshake.raw))
	return Load{State: max(0, state), Input: s.input.held(), Queued: s.out.bytes}
}

// Ended reports whether the session has ended. One that was closed has not, while something is left to send.
func (s *Session) Ended() bool { return s.isClosed() }

// Absent reports whether nothing can be sent to the client at the moment: it is on polling, and has no poll open.
func (s *Session) Absent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pollingLocked()
	return p != nil && p.get == nil && s.out.bytes == s.out.pending.cost() // else an answer is being written
}

// setHandler ends the introduction of the session to the application.
func (s *Session) setHandler(h Handler) {
	s.mu.Lock()
	s.handler = h
	s.mu.Unlock()
	s.called()
}

// called ends a callback, and calls OnClose if the session has ended meanwhile.
func (s *Session) called() {
	s.mu.Lock()
	s.calling = false
	s.upgrade.noteDeliveredLocked()
	report := s.state == stateClosed && !s.reported
	s.reported = s.reported || report
	s.mu.Unlock()
	if report {
		defer s.srv.tasks.done()
		s.report()
	}
}

// receive handles one packet; one from a former transport is ignored. Packets of one session come one at a time. The kind
// packetInvalid stands for a packet that could not be decoded, packetBase64 for a binary message, whatever it was on the
// wire.
func (s *Session) receive(from transport, kind byte, data []byte) {
	s.shard.traffic.in(1, len(data)+1)
	if s.observer() != nil && !s.mayReceive(from, len(data)+1) {
		return
	}
	s.mu.Lock()
	if s.state != stateOpen || s.transport != from {
		s.mu.Unlock()
		return
	}
	if s.overdueLocked() {
		s.mu.Unlock()
		s.timedOut()
		return
	}
	s.spoken = true
	switch kind {
	case packetMessage, packetBase64:
		s.heartbeat().otherLocked(s)
		s.calling = true
		h := s.handler
		s.mu.Unlock()
		s.deliver(h, kind == packetBase64, data)
	case packetPing, packetPong:
		s.beatLocked(kind)
	default:
		s.heartbeat().otherLocked(s)
		s.mu.Unlock()
		if kind == packetInvalid {
			s.finish(&ending{reason: ReasonParseError})
		}
	}
}

// deliver calls the handler. A session whose handler panics or calls runtime.Goexit ends.
func (s *Session) deliver(h Handler, binary bool, data []byte) {
	returned := false
	defer func() { s.left(returned) }()
	if binary {
		h.OnBinary(data)
	} else {
		h.OnText(data)
	}
	returned = true
}

// deliverPong is deliver.
func (s *Session) deliverPong(h PongHandler) {
	returned := false
	defer func() { s.left(returned) }()
	h.OnPong()
	returned = true
}

// left follows a call of the handler, which has returned or not.
func (s *Session) left(returned bool) {
	if !returned {
		s.fail(errHandlerLeft)
	}
	s.called()
}

// Continue runs f on a goroutine of its own, which may block. It is for Handler.OnText and OnBinary, to be called on
// their goroutine: that goroutine then runs f when it has let go of the connection, which saves a hand-off. Only the end
// of f, not Server.Close, ends the goroutine.
func (s *Session) Continue(f func()) {
	s.continueWith(continuation{f: f})
}

// ContinueQuick is Continue for an f that returns soon, as a rule within a millisecond. Where one goroutine waits for all connections
// (see ReadHot) it runs f too: the other connections wait meanwhile, 2 to 4 ms if f does not return. Each such f costs them that:
// while one has not returned, others of its kind are for Continue.
func (s *Session) ContinueQuick(f func()) {
	s.continueWith(continuation{f: f, quick: true})
}

func (s *Session) continueWith(rest continuation) {
	if !s.transport.continueWith(rest) {
		go rest.f()
	}
}

// Arrival numbers what has arrived together: the messages of one read of a websocket connection, or of one POST, have the
// same number. It is for Handler.OnText and OnBinary, to be called on their goroutine.
func (s *Session) Arrival() uint32 { return s.transport.arrival() }

// Pause asks for no more messages: the one being delivered is the last, apart from those that have already been read
// of the same polling request or frame batch, which wait. The pong deadline is suspended meanwhile. It is for a layer
// above whose queue is full.
func (s *Session) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pauseAsked = true
	s.pauseLocked()
}

// maxBreaks bounds the calls of PauseFor that are under way; those beyond it do nothing.
const maxBreaks = 100

// PauseFor is a Pause that ends by itself, whatever Pause and Resume do meanwhile; of several the one that ends last counts. It
// is for limits: a client that sends too fast is read more slowly, and loses nothing. Where a poller watches the connection (see
// ReadPoller), a client that goes meanwhile is not waited for: the session ends, and what has not been read of it is lost.
func (s *Session) PauseFor(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d <= 0 || s.state == stateClosed || s.breaks >= maxBreaks {
		return
	}
	s.breaks++
	s.pauseLocked()
	time.AfterFunc(d, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.breaks--
		s.resumeLocked()
	})
}

// onBreak reports whether PauseFor holds the session up.
func (s *Session) onBreak() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.breaks > 0 && s.state != stateClosed
}

// endBreak ends a session that PauseFor holds up and whose peer has gone.
func (s *Session) endBreak() {
	if s.onBreak() {
		s.finish(&ending{reason: ReasonTransportClose})
	}
}

func (s *Session) pauseLocked() {
	if s.state == stateClosed || s.resumed != nil {
		return
	}
	s.resumed = make(chan struct{})
	s.paused.Store(true)
}

// Resume ends a Pause. The client gets the full PingTimeout for an outstanding pong.
func (s *Session) Resume() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pauseAsked = false
	s.resumeLocked()
}

// resumeLocked lets reading go on if nothing else pauses it.
func (s *Session) resumeLocked() {
	if s.state == stateClosed || s.resumed == nil || s.pauseAsked || s.breaks > 0 {
		return
	}
	s.releaseReaderLocked()
	s.heartbeat().renewLocked(s)
}

func (s *Session) releaseReaderLocked() {
	s.paused.Store(false)
	if s.resumed != nil {
		close(s.resumed)
		s.resumed = nil
	}
}

// awaitResume returns when the session is not paused any more.
func (s *Session) awaitResume() {
	for {
		s.mu.Lock()
		resumed := s.resumed
		s.mu.Unlock()
		if resumed == nil {
			return
		}
		<-resumed
	}
}

func (s *Session) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == stateClosed
}
