package adaptertest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/rooms"
	"github.com/sockeye-io/sockeye/server/parser"
)

// patience is how long a cluster may take until something is seen; it is only used up by a failing test.
const patience = 20 * time.Second

// Node is a namespace without connections: an adapter.Local whose sockets record what reaches them.
type Node struct {
	name     string
	index    *rooms.Index[*Socket]
	selector rooms.Selector[*Socket]

	fanout sync.Mutex // keeps broadcasts in one order at all sockets

	mu sync.Mutex
	// Guarded by mu.
	changed chan struct{} // closed and replaced when anything is recorded
	events  []string      // server-side events, as JSON
	answer  func(args parser.Payload) parser.Payload
	acks    int64

	redirected []*adapter.Message // broadcasts to this node alone
}

// Socket is a socket of a Node.
type Socket struct {
	id   string
	node *Node
	set  rooms.Set

	// Guarded by node.mu.
	got     []Delivery
	answer  func(p *parser.Packet) (parser.Payload, bool)
	waiting map[int64]func() // what to call when the socket goes
	closing []bool           // the closeConn arguments of its disconnects
}

// Delivery is a packet that reached a socket.
type Delivery struct {
	Text        string // the packet's wire form without its id
	Attachments [][]byte
	Flags       adapter.Flags
}

var _ adapter.Local = (*Node)(nil)

// NewNode returns a node for the namespace name.
func NewNode(name string) *Node {
	return &Node{name: name, index: rooms.New[*Socket](), changed: make(chan struct{})}
}

// Observe tells an adapter that is an adapter.RoomObserver which rooms there are. It must come before the first Connect.
func (n *Node) Observe(o adapter.RoomObserver) { n.index.Observe(o) }

// Connect adds a socket that is in rooms.
func (n *Node) Connect(id string, rooms ...string) *Socket {
	s := &Socket{id: id, node: n, waiting: make(map[int64]func())}
	n.index.Add(s, rooms...)
	n.index.Connect(s)
	n.index.Flush()
	return s
}

// RoomID and RoomSet make a Socket a member of the room index.
func (s *Socket) RoomID() string { return s.id }

// RoomSet returns the socket's part of the index.
func (s *Socket) RoomSet() *rooms.Set { return &s.set }

// Rooms returns the rooms that the socket is in.
func (s *Socket) Rooms() []string { return s.node.index.Rooms(s) }

// Answer sets what the socket does with packets that want an acknowledgement: answer at once, or stay silent.
func (s *Socket) Answer(f func(p *parser.Packet) (parser.Payload, bool)) {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	s.answer = f
}

// Disconnect ends the socket.
func (s *Socket) Disconnect() {
	s.node.index.RemoveAll(s)
	s.node.index.Flush()
	s.node.mu.Lock()
	waiting := s.waiting
	s.waiting = make(map[int64]func())
	s.node.mu.Unlock()
	for _, gone := range waiting {
		gone()
	}
}

// record runs f with mu held and wakes those who wait.
func (n *Node) record(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	close(n.changed)
	n.changed = make(chan struct{})
}

// await blocks until ok, which is called with mu held, is true.
func (n *Node) await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		n.mu.Lock()
		done, changed := ok(), n.changed
		n.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("node never saw %s", what)
		}
	}
}

// take returns and forgets what a socket has received.
func (s *Socket) take() []Delivery {
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	got := s.got
	s.got = nil
	return got
}

// Name returns the namespace's name.
func (n *Node) Name() string { return n.name }

func (n *Node) sockets(sel adapter.Selection) []*Socket {
	var list []*Socket
	n.selector.Select(n.index, sel.Rooms, sel.Except, func(s []*Socket) { list = slices.Clone(s) })
	return list
}

func delivery(p *parser.Packet, flags adapter.Flags) Delivery {
	q := *p
	q.ID = parser.NoID
	return Delivery{Text: string(q.AppendText(nil)), Attachments: p.Attachments, Flags: flags}
}

// Deliver records the packet.
func (n *Node) Deliver(p *parser.Packet, sel adapter.Selection, flags adapter.Flags) {
	n.fanout.Lock()
	defer n.fanout.Unlock()
	d := delivery(p, flags)
	list := n.sockets(sel)
	n.record(func() {
		for _, s := range list {
			s.got = append(s.got, d)
		}
	})
}

// DeliverWithAck records the packet and lets each socket answer.
func (n *Node) DeliverWithAck(p *parser.Packet, sel adapter.Selection, flags adapter.Flags,
	onAck func(string, parser.Payload), onGone func(string)) (int, func() []string) {
	n.Deliver(p, sel, flags)
	list := n.sockets(sel)
	n.mu.Lock()
	id := n.acks
	n.acks++
	n.mu.Unlock()
	for _, s := range list {
		n.mu.Lock()
		answer := s.answer
		n.mu.Unlock()
		if answer != nil {
			if value, ok := answer(p); ok {
				onAck(s.id, value)
				continue
			}
		}
		n.record(func() { s.waiting[id] = func() { onGone(s.id) } })
	}
	return len(list), func() (silent []string) {
		n.mu.Lock()
		defer n.mu.Unlock()
		for _, s := range list {
			if _, ok := s.waiting[id]; ok {
				delete(s.waiting, id)
				silent = append(silent, s.id)
			}
		}
		return silent
	}
}

// HasRoom reports whether a socket is in the room.
func (n *Node) HasRoom(room string) bool { return n.index.Has(room) }

// Rooms lists the rooms.
func (n *Node) Rooms() []string { return n.index.AllRooms() }

// FetchSockets describes sockets; the handshake and the data name the socket.
func (n *Node) FetchSockets(sel adapter.Selection) []adapter.SocketDetails {
	var list []adapter.SocketDetails
	for _, s := range n.sockets(sel) {
		list = append(list, adapter.SocketDetails{
			ID:        s.id,
			Handshake: []byte(`{"url":"/` + s.id + `"}`),
			Rooms:     s.Rooms(),
			Data:      []byte(`{"name":"` + s.id + `"}`),
		})
	}
	return list
}

// SocketIDs names sockets.
func (n *Node) SocketIDs(sel adapter.Selection) []string {
	var list []string
	for _, s := range n.sockets(sel) {
		list = append(list, s.id)
	}
	return list
}

// CountSockets counts sockets.
func (n *Node) CountSockets(sel adapter.Selection) int { return len(n.sockets(sel)) }

// SocketsJoin makes sockets join rooms.
func (n *Node) SocketsJoin(sel adapter.Selection, rooms []string) {
	list := n.sockets(sel)
	n.record(func() {
		for _, s := range list {
			n.index.Add(s, rooms...)
		}
	})
}

// SocketsLeave makes sockets leave rooms.
func (n *Node) SocketsLeave(sel adapter.Selection, rooms []string) {
	list := n.sockets(sel)
	n.record(func() {
		for _, s := range list {
			n.index.Remove(s, rooms...)
		}
	})
}

// DisconnectSockets ends sockets and records how.
func (n *Node) DisconnectSockets(sel adapter.Selection, closeConn bool) {
	list := n.sockets(sel)
	for _, s := range list {
		s.Disconnect()
	}
	n.record(func() {
		for _, s := range list {
			s.closing = append(s.closing, closeConn)
		}
	})
}

// OnServerSideEmit records the event and answers it.
func (n *Node) OnServerSideEmit(args parser.Payload, reply func(parser.Payload)) <-chan struct{} {
	var answer func(parser.Payload) parser.Payload
	n.record(func() {
		n.events = append(n.events, string(args.JSON))
		answer = n.answer
	})
	if reply != nil && answer != nil {
		go reply(answer(args))
	}
	return nil
}
