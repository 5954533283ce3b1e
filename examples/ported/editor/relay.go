package main

import (
	"bytes"
	"context"
	"errors"
	"log"
	"sync"

	"github.com/sockeye-io/sockeye/server"
)

const (
	maxDocument = 4 << 20 // bytes of updates that are kept for a document
	settleAfter = 500     // updates after which one client is asked for the whole
)

// What Yjs has for nothing, in its binary form.
var (
	noVector = []byte{0}    // the state vector of who has nothing
	noUpdate = []byte{0, 0} // an update without changes
)

// relay has the open documents. One that nobody has open is forgotten, as y-socket.io does without a database.
type relay struct {
	members server.State[*member]

	mu   sync.Mutex
	open map[string]*document // by namespace
}

// member is a socket at its document. Only the socket's callbacks use it, one after the other.
type member struct {
	doc    *document
	synced bool     // has been sent all that is kept
	self   presence // the newest of its own
}

// document is what its clients have said. Whatever is kept is sent under mu, so that who has been sent what is kept gets each
// later update behind it.
type document struct {
	sockets int // guarded by relay.mu

	mu       sync.Mutex
	updates  [][]byte
	size     int // bytes of the updates
	settled  int // how often the updates were replaced by the whole
	presence map[string][]byte
}

func (r *relay) enter(_ context.Context, s *server.Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := s.Namespace().Name()
	doc := r.open[name]
	if doc == nil {
		doc = &document{presence: make(map[string][]byte)}
		r.open[name] = doc
	}
	doc.sockets++
	r.members.Set(s, &member{doc: doc})
}

func (r *relay) leave(_ context.Context, s *server.Socket, _ server.Reason) {
	m, _ := r.members.Load(s)
	if err := m.doc.forget(s, m.self); err != nil && !errors.Is(err, server.ErrClosed) {
		log.Print(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	m.doc.sockets--
	if m.doc.sockets == 0 {
		delete(r.open, s.Namespace().Name())
	}
}

// synchronize is sync-step-1(vector, ack): the client says how far its document goes and waits for what it lacks. It gets
// the updates as such, an empty answer, and the same question.
func (r *relay) synchronize(ctx context.Context, s *server.Socket, vector []byte, reply *server.Reply) error {
	m, _ := r.members.Load(s)
	if err := m.doc.tell(s); err != nil {
		return err
	}
	m.synced = true
	if err := reply.Send(noUpdate); err != nil {
		return err
	}
	news := !bytes.Equal(vector, noVector) // a client that had nothing has nothing new
	return m.doc.settle(ctx, s, news)
}

// update is sync-update(update): a change, for everybody else.
func (r *relay) update(ctx context.Context, s *server.Socket, change []byte) error {
	m, _ := r.members.Load(s)
	count, fits, err := m.doc.add(s, change)
	if err != nil {
		return err
	}
	if !fits {
		s.Disconnect() // its text would go on without the others
		return &server.ClientError{Message: "the document is too large"}
	}
	if m.synced && count >= settleAfter {
		err = m.doc.settle(ctx, s, false) // the others have been sent each change of it
	}
	return err
}

// awareness is awareness-update(update): names and cursors, for everybody else. Clients also repeat what they hear of others;
// what is kept for newcomers is what each says of itself, which it does first.
func (r *relay) awareness(_ context.Context, s *server.Socket, word []byte) error {
	m, _ := r.members.Load(s)
	if p, ok := parsePresence(word); ok && (m.self == presence{} || m.self.client == p.client) {
		m.self = p
		m.doc.note(s, word)
	}
	return s.Broadcast().Emit("awareness-update", word)
}

// tell sends a socket all that is kept.
func (d *document) tell(s *server.Socket) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range d.updates {
		if err := s.Emit("sync-update", u); err != nil {
			return err
		}
	}
	for id, word := range d.presence {
		if id == s.ID() {
			continue
		}
		if err := s.Emit("awareness-update", word); err != nil {
			return err
		}
	}
	return nil
}

// add keeps a change, sends it to everybody else, and returns how many are kept.
func (d *document) add(s *server.Socket, change []byte) (count int, fits bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.size+len(change) > maxDocument {
		return len(d.updates), false, nil
	}
	d.updates = append(d.updates, change)
	d.size += len(change)
	return len(d.updates), true, s.Broadcast().Emit("sync-update", change)
}

// settle asks a client that has been sent all updates for its whole document, which takes their place, and sends it to
// everybody else if there may be news in it. That trusts the client no more than anybody is trusted who may write: it could
// as well delete the text.
func (d *document) settle(ctx context.Context, s *server.Socket, news bool) error {
	d.mu.Lock()
	count, settled := len(d.updates), d.settled
	d.mu.Unlock()
	whole, err := server.EmitWithAck[[]byte](ctx, s, "sync-step-1", noVector)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.settled != settled {
		// Another client's whole came in between; what this one has beyond it is added.
		d.updates = append(d.updates, whole)
	} else {
		d.updates = append([][]byte{whole}, d.updates[count:]...)
	}
	d.settled++
	d.size = 0
	for _, u := range d.updates {
		d.size += len(u)
	}
	if !news {
		return nil
	}
	return s.Broadcast().Emit("sync-update", whole)
}

func (d *document) note(s *server.Socket, word []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.presence[s.ID()] = word
}

// forget tells the others that a client is gone, in its own name.
func (d *document) forget(s *server.Socket, self presence) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.presence[s.ID()] == nil {
		return nil
	}
	delete(d.presence, s.ID())
	return s.Namespace().Emit("awareness-update", self.gone())
}
