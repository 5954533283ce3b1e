package admin

import (
	"context"
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/server"
)

// watched is a socket of this node that pages have been told of. What they are told of it has an order in which each room is joined
// before it is left, whatever goroutines change them.
type watched struct {
	socket    *server.Socket
	namespace string

	mu sync.Mutex
	// Guarded by mu.
	conn  connection
	rooms []string // that pages know of
	gone  bool
}

// watchAll tells pages of everything that happens from now on.
func (a *Admin) watchAll() {
	var begun sync.Mutex
	first := make(map[*server.Namespace]bool) // guarded by begun
	begun.Lock()
	defer begun.Unlock()
	a.keep(a.srv.OnNewNamespace(func(n *server.Namespace) {
		begun.Lock()
		known := first[n]
		begun.Unlock()
		if !known {
			a.watch(n)
		}
	}))
	for _, n := range a.srv.Namespaces() {
		first[n] = true
		a.watch(n)
	}
}

// watch tells pages of everything that happens in a namespace. What it registers stays: namespaces may be discarded, and keeping the
// removals would keep them. After Close it does nothing.
func (a *Admin) watch(n *server.Namespace) {
	n.OnConnection(func(_ context.Context, s *server.Socket) { a.connected(n, s) })
	n.OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) { a.disconnected(s, reason) })
	n.OnRoomsChange(func(s *server.Socket, _ []string) { a.roomsChanged(s) })
	n.OnDataChange(a.dataChanged)
	if n == a.pages {
		return // what is said to pages is not said again
	}
	n.HandleAny(func(_ context.Context, s *server.Socket, e *server.Event) { a.happened("event_received", n, s, e) })
	n.HandleAnyOutgoing(func(_ context.Context, s *server.Socket, e *server.Event) { a.happened("event_sent", n, s, e) })
}

func (a *Admin) closed() bool { return a.ctx.Err() != nil }

func (a *Admin) connected(n *server.Namespace, s *server.Socket) {
	if a.closed() {
		return
	}
	w := &watched{socket: s, namespace: n.Name(), conn: connectionOf(s)}
	// A socket without room for it is shown all the same, but not by other nodes.
	_ = s.Data().Set(ownData, w.conn)
	if w.conn.Transport == server.TransportPolling {
		a.mu.Lock()
		a.polling[s] = w
		a.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	a.watched.Set(s, w)
	w.rooms = s.Rooms()
	for _, room := range w.rooms {
		a.tell("room_joined", w.namespace, room, s.ID(), timestamp())
	}
	a.tell("socket_connected", detailsOf(s, w.namespace, w.conn, slices.Clone(w.rooms)), timestamp())
}

func (a *Admin) disconnected(s *server.Socket, reason server.Reason) {
	a.mu.Lock()
	delete(a.polling, s)
	a.mu.Unlock()
	w, ok := a.watched.Load(s)
	if !ok || a.closed() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gone = true
	a.tell("socket_disconnected", w.namespace, s.ID(), reason, timestamp())
	for _, room := range w.rooms {
		a.tell("room_left", w.namespace, room, s.ID(), timestamp())
	}
}

// roomsChanged tells the difference to what pages know: changes of several goroutines may come in another order.
func (a *Admin) roomsChanged(s *server.Socket) {
	w, ok := a.watched.Load(s)
	if !ok || a.closed() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return
	}
	now := s.Rooms()
	for _, room := range missingFrom(w.rooms, now) {
		a.tell("room_joined", w.namespace, room, s.ID(), timestamp())
	}
	for _, room := range missingFrom(now, w.rooms) {
		a.tell("room_left", w.namespace, room, s.ID(), timestamp())
	}
	w.rooms = now
}

// missingFrom returns what of list is not among known.
func missingFrom(known, list []string) (missing []string) {
	set := make(map[string]struct{}, len(known))
	for _, room := range known {
		set[room] = struct{}{}
	}
	for _, room := range list {
		if _, ok := set[room]; !ok {
			missing = append(missing, room)
		}
	}
	return missing
}

// socketUpdate is what has changed of a socket.
type socketUpdate struct {
	ID        string `json:"id"`
	Namespace string `json:"nsp"`
	Transport string `json:"transport,omitempty"`
	Data      any    `json:"data,omitempty"`
}

func (a *Admin) dataChanged(s *server.Socket, key string) {
	w, ok := a.watched.Load(s)
	if key == ownData || !ok || a.closed() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.gone {
		a.tell("socket_updated", socketUpdate{ID: s.ID(), Namespace: w.namespace, Data: dataOf(s)})
	}
}

// followUpgrades looks for connections that have left polling. Nobody tells of that, but only those on polling need to be looked at.
func (a *Admin) followUpgrades() {
	a.mu.Lock()
	var upgraded []*watched
	for s, w := range a.polling {
		if s.Conn().Transport() != server.TransportPolling {
			upgraded = append(upgraded, w)
			delete(a.polling, s)
		}
	}
	a.mu.Unlock()
	for _, w := range upgraded {
		a.upgraded(w)
	}
}

func (a *Admin) upgraded(w *watched) {
	// As in connected, and with no lock held: the application may be told of it and set other data.
	_ = w.socket.Data().Set(ownData, connectionOf(w.socket))
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return
	}
	w.conn = connectionOf(w.socket)
	a.tell("socket_updated", socketUpdate{ID: w.socket.ID(), Namespace: w.namespace, Transport: w.conn.Transport})
}

// happened tells of an event that was received or sent.
func (a *Admin) happened(what string, n *server.Namespace, s *server.Socket, e *server.Event) {
	if a.closed() {
		return
	}
	size := len(e.Name)
	for i := range e.Args.Len() {
		size += len(e.Args.At(i).JSON)
	}
	for _, attachment := range e.Args.At(0).Attachments { // those of all arguments
		size += len(attachment)
	}
	args := append([]any{e.Name}, e.Args.Values()...)
	a.queue.put(notice{event: what, args: []any{n.Name(), s.ID(), args, timestamp()}, size: size})
}
