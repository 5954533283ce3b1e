package server

import (
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
