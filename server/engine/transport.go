package engine

import (
	"net/http"
	"strings"
)

// transport is the connection of a session at the moment: its way to the client and back. It knows packets and how they
// are framed, and nothing of what is in them. The methods that end in Locked are called with the session's lock held.
//
// A transport hands what arrives to Session.receive, one packet at a time, and tells the end of the connection with
// Session.finish. It takes what is queued with Session.takeLocked, and says with Session.settle when that is written.
type transport interface {
	// kind says which of the transports it is.
	kind() *transportKind
	// readyLocked reports whether a packet that is queued now leaves at once: nothing is being written and, where the
	// client asks for its packets, it is asking.
	readyLocked() bool
	// wakeLocked follows whatever there is to do: packets are queued, or the session is closing. It reports whether flush
	// must be called, soon; otherwise a writer that is at work, or the client's next request, goes on with it.
	wakeLocked() (flush bool)
	// flush writes what is queued, unless a writer is at work, and never waits for the peer. The batch is lent to it; it
	// returns nil if it keeps it.
	flush(b *batch) *batch
	// inFlightLocked is what has been handed on and has, as far as can be told, not reached the peer, in bytes; 0 if nothing can
	// be told. It never waits.
	inFlightLocked() int
	// closeLocked ends the transport, because the session has ended or has moved on, and returns the packets that it does
	// not send. It reports whether the caller must call closed when it has let go of the lock.
	closeLocked(e *ending, pending messages) (rest messages, more bool)
	closed(e *ending)
	// continueWith is Session.Continue for a message that this transport is delivering. It reports false when it cannot.
	continueWith(continuation) bool
	// arrival is Session.Arrival for a message that this transport is delivering.
	arrival() uint32
}

// continuation is what a handler left to do.
type continuation struct {
	f     func()
	quick bool // it returns soon, see Session.ContinueQuick
}

// candidate is a transport to which a session may move. It hands what arrives to Session.probed until that says that the
// session has moved, and then to Session.receive.
type candidate interface {
	transport
	// confirm sends a packet while the session is still elsewhere.
	confirm(m *Message)
}

// transportKind is what the server knows of a kind of transport.
type transportKind struct {
	// name is that of the query parameter.
	name string
	// fetched says that the client asks for its packets: those that stay queued tell that it has gone.
	fetched bool
	// upgrades says that a session that starts here is told of the transports that are targets.
	upgrades, target bool
	// claims reports whether a request is one of those that only this transport answers, whatever its query says. Nil: it
	// answers ordinary requests.
	claims func(*http.Request) bool
	// serve answers a verified request, of a session or, with nil, one that opens a session.
	serve func(srv *Server, w http.ResponseWriter, r *http.Request, q engineQuery, s *Session)
}

// transportKinds are all there are, in the order in which clients are told of them. A new transport is a line here and
// files of its own.
var transportKinds = [...]*transportKind{&pollingKind, &websocketKind}

// kindNamed returns the enabled transport of a name, or nil.
func (cfg *settings) kindNamed(name string) *transportKind {
	for _, k := range cfg.kinds {
		if k.name == name {
			return k
		}
	}
	return nil
}

// claimant returns the transport that claims a request, nil for an ordinary one. One that is not enabled claims nothing:
// without websocket Node has no listener for upgrades and takes the request for an ordinary one.
func (srv *Server) claimant(r *http.Request) *transportKind {
	for _, k := range srv.cfg.kinds {
		if k.claims != nil && k.claims(r) {
			return k
		}
	}
	return nil
}

// upgradesOf lists, in JSON, what a session that starts on a transport may move to.
func (cfg *settings) upgradesOf(from *transportKind) string {
	var names []string
	for _, k := range cfg.kinds {
		if from.upgrades && k.target && !cfg.DisableUpgrades {
			names = append(names, `"`+k.name+`"`)
		}
	}
	return "[" + strings.Join(names, ",") + "]"
}

// takeLocked moves what is queued to t, which writes it, if t is still the session's transport. The packets stay charged
// to the session until settle.
func (s *Session) takeLocked(t transport) messages {
	if s.transport != t || s.state == stateClosed {
		return messages{}
	}
	return s.out.take()
}

// takeSomeLocked is takeLocked for at most so many packets, but one message at least; 0 means all.
func (s *Session) takeSomeLocked(t transport, packets int) messages {
	if s.transport != t || s.state == stateClosed {
		return messages{}
	}
	return s.out.pending.cut(packets)
}

// settle ends the charge for packets that have been written, and returns how many they were.
func (s *Session) settle(list *messages, cost int64) (packets int) {
	if list.empty() {
		return 0
	}
	s.mu.Lock()
	if s.state != stateClosed {
		s.out.settle(cost, s.srv.cfg.OutboxLimit)
	}
	s.mu.Unlock()
	return list.release(s.srv.queued)
}
