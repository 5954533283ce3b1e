package engine

// ending says how a session ends.
type ending struct {
	reason string
	err    error
	// quiet says nothing to the client that many take for a wish of the server that they stay away: a parked poll gets a noop in
	// place of a close packet, and a websocket ends without a close frame.
	quiet bool
	// at is when that arrived which is the cause, 0 if nobody knows: a poll that arrived later is refused.
	at int64
	// code and text of the close frame; 0 means none.
	code int
	text string
	// moved hands what waits of the session to Options.Elsewhere.
	moved bool
	// abrupt closes the connection without a closing handshake.
	abrupt bool
	// drop names why queued packets are dropped.
	drop dropReason
}

// leaving is the ending of a transport from which its session moves on, or to which it did not move.
var leaving = &ending{}

// Close ends the session in an orderly way: what is queued is sent first, no further message is accepted or delivered.
// Over polling a close packet goes out with the parked or the next poll; if none comes within 30 s the session ends
// without. The reason is "forced close". It reports whether the session has ended by now; otherwise something has still
// to be sent.
func (s *Session) Close() (ended bool) { return s.close(false) }

// SendAway is Close for a client that should come back, because the server ends or has too much to do: many clients take a close
// packet or a close frame for the server's wish that they stay away, or wait for more. Here the connection just ends when what is
// queued has been sent: a websocket without a close frame; over polling a parked poll is answered with a noop, and the next is
// refused as one of an unknown session. The reason is "forced close". After SendAway, Discard is as quiet.
func (s *Session) SendAway() (ended bool) { return s.close(true) }

func (s *Session) close(away bool) (ended bool) {
	s.mu.Lock()
	if s.state != stateOpen {
		defer s.mu.Unlock()
		return s.state == stateClosed
	}
	s.state, s.away = stateClosing, away
	ready := s.out.empty() && (away && s.transport.kind().fetched || s.transport.readyLocked())
	if !ready {
		s.transport.wakeLocked()
	}
	s.mu.Unlock()
	if ready {
		s.finishClosing()
	}
	return ready
}

// finishClosing follows Close or SendAway, when what was queued has been handed to the transport.
func (s *Session) finishClosing() {
	s.mu.Lock()
	quiet := s.away
	s.mu.Unlock()
	s.finish(&ending{reason: ReasonForcedClose, quiet: quiet})
}

// Discard ends the session at once: what is queued is dropped. A parked poll gets a close packet, a websocket a close
// frame. The reason is "forced close".
func (s *Session) Discard() { s.finishClosing() }

// Fail ends the session at once, as Discard does, for a reason of the layer above, such as ReasonParseError.
func (s *Session) Fail(reason string, err error) { s.finish(&ending{reason: reason, err: err}) }

// fail ends the session for a violation or a broken connection.
func (s *Session) fail(err error) { s.finish(&ending{reason: ReasonTransportError, err: err}) }

// finish ends the session once; later calls do nothing. OnClose runs after the callback that is running, or else on a
// goroutine of its own: the caller may hold locks that OnClose needs.
func (s *Session) finish(e *ending) {
	s.mu.Lock()
	if s.state == stateClosed {
		s.mu.Unlock()
		return
	}
	s.state = stateClosed
	// Close waits for what follows, on whose goroutine ever it runs.
	s.srv.tasks.hold()
	defer s.srv.tasks.done()
	s.ending = e
	s.stopHeartbeatLocked()
	s.releaseReaderLocked()
	t := s.transport
	dropped, more := t.closeLocked(e, s.out.takeAll())
	var tried candidate
	left := &ending{quiet: s.away}
	if up := s.upgrade; up != nil && s.endUpgradeLocked(up, left) {
		tried = up.to
	}
	s.srv.count.gauge(t.kind()).Add(-1)
	report := !s.calling
	s.reported = report
	if !report {
		s.srv.tasks.hold() // until called has reported
	}
	s.mu.Unlock()

	s.srv.count.drops[e.drop].Add(uint64(dropped.release(s.srv.queued)))
	s.srv.forget(s)
	if tried != nil {
		tried.closed(left)
	}
	if more {
		t.closed(e)
	}
	if report {
		s.srv.tasks.start(s.report)
	}
}

func (s *Session) report() {
	s.handler.OnClose(s.ending.reason, s.ending.err)
	if s.observer() != nil {
		s.observer().Closed(s.ending.reason, s.ending.err)
	}
}
