package server

import (
	"errors"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// local is a namespace as its adapter sees it.
type local struct{ nsp *Namespace }

var _ adapter.Local = local{}

func (l local) Name() string { return l.nsp.name }

func (l local) each(sel adapter.Selection, use func([]member)) {
	l.nsp.server.selector.Select(l.nsp.index, sel.Rooms, sel.Except, use)
}

// Deliver encodes the packet once for each codec and queues it for each recipient.
func (l local) Deliver(p *parser.Packet, sel adapter.Selection, flags adapter.Flags) {
	l.each(sel, func(members []member) {
		p = l.own(p)
		if flags.Offset == "" {
			p = l.nsp.unoffset(p)
		}
		l.notifyOutgoing(members, p)
		m := l.encode(members, p, flags.NoCompress)
		unlock := l.nsp.order.lock(sel.Rooms)
		for _, s := range members {
			s.sendShared(m[s.client.codec], payloadSize(&p.Payload), place{flags.Offset, flags.Place}, flags.Volatile)
		}
		unlock()
	})
}

// own returns the packet under this namespace's name; other nodes leave it out.
func (l local) own(p *parser.Packet) *parser.Packet {
	if p.Namespace == l.nsp.name {
		return p
	}
	q := *p
	q.Namespace = l.nsp.name
	return &q
}

func (l local) notifyOutgoing(members []member, p *parser.Packet) {
	for _, s := range members {
		s.notifyOutgoing(p)
	}
}

func (l local) DeliverWithAck(p *parser.Packet, sel adapter.Selection, flags adapter.Flags,
	onAck func(string, parser.Payload), onGone func(string)) (count int, cancel func() []string) {
	w := &broadcastAck{onAck: onAck, onGone: onGone}
	q := *p
	q.Namespace, q.ID = l.nsp.name, l.nsp.nextAckID()
	var waiting []*Socket
	l.each(sel, func(members []member) {
		l.notifyOutgoing(members, &q)
		m := l.encode(members, &q, flags.NoCompress)
		waiting = make([]*Socket, 0, len(members))
		for _, s := range members {
			// A socket that cannot be asked, or cannot answer any more, counts as one that was asked and has gone.
			if m[s.client.codec] == nil || s.expectAck(q.ID, w) != nil {
				onGone(s.id)
			} else {
				waiting = append(waiting, s.Socket)
			}
			count++
		}
		unlock := l.nsp.order.lock(sel.Rooms)
		for _, s := range waiting {
			s.sendShared(m[s.client.codec], payloadSize(&q.Payload), place{}, flags.Volatile)
		}
		unlock()
	})
	return count, func() (silent []string) {
		for _, s := range waiting {
			if s.takeAck(q.ID) != nil {
				silent = append(silent, s.id)
			}
		}
		return silent
	}
}

// broadcastAck waits for the acknowledgements of all recipients of one packet.
type broadcastAck struct {
	onAck  func(sid string, value parser.Payload)
	onGone func(sid string)
}

func (b *broadcastAck) acked(s *Socket, args Args) { b.onAck(s.id, firstArg(args)) }
func (b *broadcastAck) failed(s *Socket, _ error)  { b.onGone(s.id) }

func (l local) HasRoom(room string) bool { return l.nsp.index.Has(room) }
func (l local) Rooms() []string          { return l.nsp.index.AllRooms() }

func (l local) FetchSockets(sel adapter.Selection) []adapter.SocketDetails {
	var list []adapter.SocketDetails
	for _, s := range l.sockets(sel) {
		handshake, err := encodeJSON(s.Handshake())
		if err != nil {
			handshake = []byte("{}")
		}
		rooms := s.Rooms()
		if rooms == nil {
			rooms = []string{}
		}
		list = append(list, adapter.SocketDetails{ID: s.id, Handshake: handshake, Rooms: rooms, Data: s.dataJSON()})
	}
	return list
}

func (l local) SocketIDs(sel adapter.Selection) []string {
	var list []string
	l.each(sel, func(members []member) {
		list = make([]string, len(members))
		for i, m := range members {
			list[i] = m.id
		}
	})
	return list
}

func (l local) CountSockets(sel adapter.Selection) (n int) {
	if len(sel.Rooms) == 0 && len(sel.Except) == 0 {
		return l.nsp.index.Len()
	}
	l.each(sel, func(members []member) { n = len(members) })
	return n
}

// sockets returns a selection for work that takes longer than a pooled slice should be kept.
func (l local) sockets(sel adapter.Selection) []*Socket {
	var list []*Socket
	l.each(sel, func(members []member) {
		list = make([]*Socket, len(members))
		for i, m := range members {
			list[i] = m.Socket
		}
	})
	return list
}

func (l local) SocketsJoin(sel adapter.Selection, rooms []string) {
	l.each(sel, func(members []member) {
		for _, m := range members {
			_ = m.join(rooms) // a socket that must not join, or has gone, is left out
		}
	})
}

func (l local) SocketsLeave(sel adapter.Selection, rooms []string) {
	l.each(sel, func(members []member) {
		for _, m := range members {
			m.leave(rooms)
		}
	})
}

func (l local) DisconnectSockets(sel adapter.Selection, closeConn bool) {
	for _, s := range l.sockets(sel) {
		if closeConn {
			s.DisconnectClient()
		} else {
			s.Disconnect()
		}
	}
}

// OnServerSideEmit queues an event of another node for the handlers.
func (l local) OnServerSideEmit(args parser.Payload, reply func(parser.Payload)) <-chan struct{} {
	n := l.nsp
	if len(n.hooks().serverSide) == 0 && reply == nil {
		return nil
	}
	e := remoteEvent{args: args, reply: reply, handled: make(chan struct{})}
	switch n.remote.put(e, func() { n.server.spawn(n.runRemote) }) {
	case queueFull:
		n.server.serverSideDrops.Add(1)
		return nil
	case queueClosed:
		return nil
	}
	return e.handled
}

// serverQueueLimit bounds the events of other nodes that wait for their handlers.
const serverQueueLimit = 16 << 20

// serverQueue holds events of other nodes in order. A worker exists only while there are some.
type serverQueue struct {
	mu sync.Mutex
	// Guarded by mu.
	items   []remoteEvent
	bytes   int
	running bool
	closed  bool
}

// What becomes of an event of another node.
const (
	queued = iota
	queueFull
	queueClosed
)

type remoteEvent struct {
	args    parser.Payload
	reply   func(parser.Payload)
	handled chan struct{} // closed when the handlers have returned
}

func (e *remoteEvent) size() int { return taskOverhead + payloadSize(&e.args) }

// put queues an event. start starts the worker, with mu held: nobody who waits for workers sees that there is none between the two.
func (q *serverQueue) put(e remoteEvent, start func()) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return queueClosed
	case q.bytes > serverQueueLimit:
		return queueFull
	}
	q.items = append(q.items, e)
	q.bytes += e.size()
	if !q.running {
		q.running = true
		start()
	}
	return queued
}

// close refuses what the adapter, which has closed, may still be handing on: whoever waits for the workers after it has waited for all.
func (q *serverQueue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
}

func (q *serverQueue) take() []remoteEvent {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items, q.bytes = nil, 0
	q.running = len(items) > 0
	return items
}

// runRemote is the server-side worker. If a handler ends its goroutine by runtime.Goexit another one takes its place.
func (n *Namespace) runRemote() {
	finished := false
	defer func() {
		if !finished {
			n.server.spawn(n.runRemote)
		}
	}()
	for batch := n.remote.take(); len(batch) > 0; batch = n.remote.take() {
		each(batch, n.handleRemote)
	}
	finished = true
}

func (n *Namespace) handleRemote(r remoteEvent) {
	defer close(r.handled)
	p := parser.Packet{Type: parser.Event, ID: parser.NoID, Payload: r.args}
	name, args, err := p.Event()
	if err != nil {
		if held, ok := n.server.failed.Pass(n.name, failureInterval); ok {
			n.server.opts.Logger.Warn("server-side event is malformed", "namespace", n.name, "error", err, "notLogged", held)
		}
		return
	}
	e := &Event{Name: name, Args: args, Reply: &Reply{id: parser.NoID, remote: r.reply}}
	each(n.hooks().serverSide[name], func(h *slot[ServerSideHandler]) {
		err := n.server.protect(name, n.name, "", func() error {
			return h.value.HandleServerSide(n.server.ctx, e)
		})
		if err != nil && !errors.Is(err, errPanic) {
			n.server.failures.Add(1)
			if held, ok := n.server.failed.Pass(n.name+" server-side "+name, failureInterval); ok {
				n.server.opts.Logger.Warn("server-side event failed", "namespace", n.name, "event", name, "error", err, "notLogged", held)
			}
		}
	})
}
