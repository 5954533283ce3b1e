package engine

import "github.com/sockeye-io/sockeye/internal/websocket"

// Observer follows one session, for metrics and for limits; see Options.Observe. Its methods run on the goroutines that
// move the packets, several at the same time, with no lock held; they must not block. The transport is a name as in
// Session.Transport. Bytes are those of packets, as Stats counts them.
type Observer interface {
	// Received is asked about each packet of the client, heartbeats included, before it is handled. An error ends the
	// session with ReasonTransportError and, over websocket, the close code 1008. What the client had sent before it
	// could know still comes here.
	Received(transport string, bytes int) error
	// Sent follows packets that have been written.
	Sent(transport string, packets, bytes int)
	// Hold is asked before the client makes the server keep bytes of unfinished or unhandled input, see
	// Session.HoldInput. An error ends the session with ReasonTransportError and, over websocket, the close code 1013.
	// Bytes that were agreed to come back with Release.
	Hold(bytes int64) error
	Release(bytes int64)
	// Closed comes once, after Handler.OnClose.
	Closed(reason string, err error)
}

// observe begins to observe a session that is not known to anybody yet.
func (s *Session) observe() {
	if f := s.srv.cfg.Observe; f != nil {
		if o := f(s); o != nil {
			s.extend().observer = o
		}
	}
}

// observer returns who observes the session, nil for nobody.
func (s *Session) observer() Observer {
	if s.extras == nil {
		return nil
	}
	return s.extras.observer
}

// Observer returns who observes the session, as Options.Observe said; nil for nobody. One that wraps another should have a method
// Unwrap() Observer, so that each can find its own.
func (s *Session) Observer() Observer { return s.observer() }

// mayReceive asks the observer about a packet. It ends the session if the answer is no.
func (s *Session) mayReceive(from transport, bytes int) bool {
	err := s.observer().Received(from.kind().name, bytes)
	if err != nil {
		s.finish(&ending{reason: ReasonTransportError, err: err, code: websocket.ClosePolicyViolation})
	}
	return err == nil
}

// sent counts packets that have been written.
func (s *Session) sent(over transport, packets, bytes int) {
	s.shard.traffic.out(packets, bytes)
	if s.observer() != nil {
		s.observer().Sent(over.kind().name, packets, bytes)
	}
}

// mayHold asks the observer about input. It ends the session if the answer is no.
func (s *Session) mayHold(n int64) bool {
	err := s.observer().Hold(n)
	if err != nil {
		s.finish(&ending{reason: ReasonTransportError, err: err, code: websocket.CloseTryAgainLater})
	}
	return err == nil
}
