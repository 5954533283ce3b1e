package users

import (
	"context"
	"errors"

	"github.com/sockeye-io/sockeye/server"
)

// With connection state recovery a message to a user goes to all nodes: then it has its place in the history, and comes also to a client
// that is away, whose connection is dead without anybody knowing, or whose node was killed. What is known of the holders says
// whether there is such a client. They are named in the message: one that the user has left tells the sender.

// replays reports whether clients of users that come back get an event.
func (d *Directory) replays(e parcel) bool { return d.window > 0 && !e.volatile }

// sendReplayed sends an event that clients that come back get, too.
func (d *Directory) sendReplayed(id string, e parcel, p place) error {
	away := len(p.nodes) == 0
	if away && !p.away && !d.mixed.on() {
		return ErrOffline
	}
	d.counts.everywhere.Add(1)
	to := d.nsp.To(d.room(id))
	if !away && (len(p.nodes) > 1 || p.nodes[0] != d.members.self) {
		to = to.Holders(p.nodes...)
	}
	if err := e.emit(to); err != nil {
		return err
	}
	if away && !d.mixed.on() {
		return ErrKept
	}
	return nil
}

// replayed looks at a message of another node that has gone to all. One that named this node first, where the user is not, says that its
// sender remembers what is not true any more.
func (d *Directory) replayed(id string, m *server.Directed) {
	if !d.has(id) {
		d.tellHolders(m.From(), id, nil)
	}
}

// recovered binds the socket of a client that goes on to the user that it had, unless a middleware has. The other nodes find the user
// here a moment later; what they send meanwhile reaches the room.
func (d *Directory) recovered(_ context.Context, s *server.Socket) error {
	if b, ok := d.bindingOf(s.ID()); ok && b.socket == s {
		return nil
	}
	var had bound
	if found, err := s.Data().Load(DataKey, &had); err != nil || !found {
		return err
	}
	err := d.checkID(had.ID)
	if err == nil {
		err = d.binds.ask(s, had.ID)
	}
	if err == nil {
		_, err = d.enter(s, had.ID)
	}
	if errors.Is(err, server.ErrDisconnected) {
		return nil // the server notices by itself
	}
	return failed("bind", err)
}
