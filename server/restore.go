package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/parser"
)

// A socket can go on after its connection was lost: with its id, its rooms, its data and the packets that it has missed.
// It is made in these steps:
//
//  1. The middlewares run, if they are to. What they emit is held back.
//  2. The socket is put into its rooms and can be selected. What is sent to it from here on is held back.
//  3. The missed packets are fetched. No lock is held, so that this may take its time.
//  4. The missed packets, the CONNECT packet and what was held back are queued, in this order and in one step.
//
// A broadcast that is in the log before step 3 is among the missed packets; it is not sent again if it selected the socket
// too. Every other one selected the socket after step 2, because it was in the log before it selected anybody. So nothing is
// lost and nothing comes twice. One that is delivered before it is in the log, because that is slow, is known by the place that it gets
// there: step 3 ends when all that this node has broadcast until then has got its place.

// restoration is what a socket goes on with.
type restoration struct {
	id    string
	pid   string // the secret by which the client finds its session again
	rooms []string
	data  map[string]json.RawMessage

	owner string // whose the session is, see Socket.SetOwner

	// position is an offset before all that the client has not got.
	position string

	// missed returns the events that the client has not got, in their order. It may block; ctx ends when the client goes away. Had is
	// called with locks held, for a minute after the CONNECT packet.
	missed func(ctx context.Context) (adapter.Missed, error)
}

// restored is the part of a socket that has only one that goes on. Guarded by Socket.mu, but for what is static.
type restored struct {
	from *restoration // static

	had    func(offset string) bool
	missed []*engine.Message
	held   []heldMessage
	bytes  int
	opened time.Time // when the CONNECT packet was queued; nothing is held back any more
	full   bool      // more came than may be held back
	ends   Reason    // why the socket is to be closed as soon as it has connected; "" if it is not
}

// heldMessage is a message that waits for the CONNECT packet of its socket.
type heldMessage struct {
	at      place
	message *engine.Message
}

// place is where the history has a broadcast; the zero value is that of what it does not keep.
type place struct {
	offset string
	later  *adapter.Place // of what was delivered before the history had it
}

// known returns the offset, "" if there is none yet.
func (p place) known() string { return cmp.Or(p.offset, p.later.Offset()) }

// maxHeld bounds what is held back for one socket, in bytes. It is the default of EngineOptions.OutboxLimit, behind which the
// messages come to stand.
const maxHeld = 1 << 20

// suspicion is how long after the CONNECT packet a broadcast may still come that the socket has missed, because it selected
// the socket before. What lasts longer than that is a function of HandleAnyOutgoing that does not return.
const suspicion = time.Minute

var errIDTaken = errors.New("the socket id is in use")

func newRestoredSocket(nsp *Namespace, c *client, auth []byte, from *restoration) *Socket {
	s := newSocket(nsp, c, auth)
	s.id, s.ticket = from.id, &ticket{pid: from.pid, since: from.position}
	s.ticket.position.Store(from.position)
	s.restored = &restored{from: from}
	s.data.Store(restoredData(s, from.data))
	return s
}

// catchUp does steps 2 and 3. After an error the socket cannot go on and must be abandoned.
func (s *Socket) catchUp(ctx context.Context) error {
	from := s.restored.from
	if err := s.restoreRooms(from.rooms); err != nil {
		return err
	}
	connected := s.nsp.index.Connect(member{s})
	s.nsp.index.Flush()
	if !connected {
		return errIDTaken
	}
	if w, ok := s.nsp.cluster().(adapter.JoinWaiter); ok {
		if err := w.WaitJoined(ctx, append([]string{s.id}, from.rooms...)); err != nil {
			return err
		}
	}
	all, err := from.missed(ctx)
	if err != nil {
		return err
	}
	missed := make([]*engine.Message, len(all.Events))
	for i, payload := range all.Events {
		missed[i], err = s.client.encode(&parser.Packet{Type: parser.Event, Namespace: s.nsp.name, ID: parser.NoID, Payload: payload}, false)
		if err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.restored.missed, s.restored.had = missed, all.Had
	return nil
}

// openLocked does step 4 and makes the socket connected. It reports false if too much was held back. client.mu is held too.
func (s *Socket) openLocked(connect *engine.Message) bool {
	r := s.restored
	if r.full {
		return false
	}
	// SendQueued does no I/O. A session that has closed takes nothing; its OnClose waits for client.mu.
	for _, m := range r.missed {
		_ = s.client.session.SendQueued(m)
	}
	_ = s.client.session.SendQueued(connect)
	for _, h := range r.held {
		if !r.hadLocked(h.at) {
			_ = s.client.session.SendQueued(h.message)
		}
	}
	r.missed, r.held, r.opened = nil, nil, time.Now()
	s.phase.Store(phaseConnected)
	return true
}

// hadLocked reports whether a broadcast is among the missed events. What has no offset yet came into the history after they were read.
func (r *restored) hadLocked(at place) bool {
	offset := at.known()
	return offset != "" && r.had(offset)
}

// holdLocked keeps a message back until the socket has connected and reports whether it did; if not, the message is to be
// sent. A volatile one is dropped, since the client is not ready for it.
func (r *restored) holdLocked(h heldMessage, size int, volatile bool) bool {
	switch {
	case !r.opened.IsZero():
		return false
	case volatile || r.full:
		return true
	}
	r.bytes += taskOverhead + size
	r.held = append(r.held, h)
	if r.bytes > maxHeld {
		r.full, r.held = true, nil
	}
	return true
}

// hold keeps a message for this socket alone back and reports whether it did.
func (s *Socket) hold(m *engine.Message, size int, volatile bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restored.holdLocked(heldMessage{message: m}, size, volatile)
}

// passes reports whether a message for many is to be sent to a restored socket now. If not it is held back, or is one that
// the client has.
func (s *Socket) passes(m *engine.Message, size int, at place, volatile bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.restored
	if r.holdLocked(heldMessage{at, m}, size, volatile) {
		return false
	}
	if time.Since(r.opened) > suspicion {
		s.announced.Store(true)
	}
	return !r.hadLocked(at)
}

// restoring reports whether the socket is between steps 2 and 4: it can be selected and has not connected.
func (s *Socket) restoring() bool {
	return s.restored != nil && s.phase.Load() == phaseConnecting && s.set.Live()
}

// endLaterLocked notes that a socket that is being restored is to be closed when it has connected.
func (s *Socket) endLaterLocked(reason Reason) {
	if s.restoring() && s.restored.ends == "" {
		s.restored.ends = reason
	}
}

// endEarly closes a restored socket that somebody disconnected before it was connected.
func (s *Socket) endEarly() {
	if s.restored == nil {
		return
	}
	s.mu.Lock()
	reason := s.restored.ends
	s.mu.Unlock()
	if reason != "" {
		s.close(reason)
	}
}
