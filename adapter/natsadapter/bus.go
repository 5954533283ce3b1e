package natsadapter

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/freshrooms"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

// bus is the adapter.Bus of a namespace. It observes the rooms, since those have subjects of their own.
type bus struct {
	// Static after construction.
	hub      *hub
	local    adapter.Local
	id       adapter.NodeID
	codec    *envelope.Codec
	subjects namespaceSubjects
	rooms    *roomSubjects
	fresh    freshrooms.Rooms

	log atomic.Pointer[keptLog] // nil unless broadcasts are kept; set before the first one is published

	mailbox *inflow.Mailbox[delivery] // static after Start

	connections map[adapter.NodeID]int // the last ones on which others have said something; owned by the mailbox's worker
}

var (
	_ adapter.Bus          = (*bus)(nil)
	_ adapter.LossCounter  = (*bus)(nil)
	_ adapter.RoomObserver = (*bus)(nil)
	_ adapter.JoinWaiter   = (*bus)(nil)
	_ adapter.Recorder     = (*bus)(nil)
	_ adapter.Parted       = (*bus)(nil)
)

func newBus(h *hub, id adapter.NodeID, local adapter.Local) (*bus, error) {
	codec, err := envelope.New(id, local.Name(), inflow.Expects(local))
	if err != nil {
		return nil, err
	}
	return &bus{
		hub: h, local: local, id: id, codec: codec, subjects: h.subjects.namespace(local.Name()), rooms: newRoomSubjects(h, local),
		connections: make(map[adapter.NodeID]int),
	}, nil
}

// Losses counts how often the connection to NATS went down, or brought more than could be sorted.
func (b *bus) Losses() uint64 { return b.hub.losses() }

func (b *bus) Start(receive func(m *adapter.Message)) error {
	b.mailbox = b.hub.newMailbox(b.local.Name(), b.open, receive)
	b.hub.subs.want(b.subjects.node(b.id), false, b.take)
	b.hub.subs.want(b.subjects.all, false, b.take)
	return nil
}

// take is the sink of all subjects.
func (b *bus) take(m *nats.Msg) {
	body := string(m.Data)
	b.hub.stats.received.Add(1)
	b.hub.stats.receivedBytes.Add(uint64(len(body)))
	if !b.codec.Own(body) {
		d := deliveryOf(m, body)
		d.connection = b.hub.subjects.connectionOf(m.Reply)
		b.mailbox.Push(d)
	}
}

// open decodes and hands on what has been published on a subject.
func (b *bus) open(d delivery) {
	l := b.log.Load()
	if d.at != nil {
		l.open(&d)
		return
	}
	m, err := b.codec.Open(d.body)
	if l != nil {
		l.look(m, d.body)
	}
	if m != nil && m.Request == "" && b.overtaken(m.From, d.connection) {
		b.hub.stats.overtaken.Add(1)
		return
	}
	b.mailbox.Deliver(m, err, d.subject)
}

// overtaken reports whether a sender has written on a later connection what came before: a server that was frozen, or that ends a connection
// while it still reads it, can be that late. The sender takes such messages for lost.
func (b *bus) overtaken(from adapter.NodeID, connection int) bool {
	last, known := b.connections[from]
	if connection < last {
		return true
	}
	if connection > last {
		if !known && len(b.connections) >= maxPeers {
			clear(b.connections)
		}
		b.connections[from] = connection
	}
	return false
}

// Record implements adapter.Recorder: the log of the namespace is a subject of the stream of logs.
func (b *bus) Record(opts adapter.HistoryOptions) (adapter.Log, adapter.SessionStore, error) {
	l, err := newKeptLog(b, opts.Retain)
	if err != nil {
		return nil, nil, err
	}
	b.log.Store(l)
	return l, newSessionStore(l, b.local.Name(), opts.Retain), nil
}

// InOrder implements adapter.Sequencer.
func (b *bus) InOrder() { b.hub.jet.add(b.log.Load()) }

// Parted reports whether messages take several ways: broadcasts that are kept go through the log, all else does not.
func (b *bus) Parted() bool { return b.log.Load() != nil }

// ToAll reports whether a message is one that is kept: every node hears those.
func (b *bus) ToAll(m *adapter.Message) bool { return m.Logged() }

func (b *bus) Listening(ctx context.Context) error {
	return b.hub.subs.wait(ctx, nil, b.subjects.node(b.id), b.subjects.all)
}

func (b *bus) Publish(m *adapter.Message) error {
	if l := b.log.Load(); l != nil && m.Logged() {
		body, err := b.codec.Sharded(m)
		if err != nil {
			return err
		}
		return l.writer.put(body, m)
	}
	b.fresh.Note(m, b.freshFor())
	return b.send(b.subjectOf(m), m, postOf(b.local.Name(), m))
}

// subjectOf chooses the subject of a message that is not for one node.
func (b *bus) subjectOf(m *adapter.Message) string {
	subject := b.subjects.of(m)
	if subject != b.subjects.all && b.fresh.ToAll(m) {
		return b.subjects.all
	}
	return subject
}

func (b *bus) Send(to adapter.NodeID, m *adapter.Message) error {
	how := postOf(b.local.Name(), m)
	how.single = true
	b.fresh.Note(m, b.freshFor())
	return b.send(b.subjects.node(to), m, how)
}

func (b *bus) Respond(question, answer *adapter.Message) {
	if question.From == "" {
		return
	}
	a := *answer
	a.Request = question.Request
	b.mailbox.Unsent(b.send(b.subjects.node(question.From), &a, answerOf(b.local.Name())))
}

func (b *bus) send(subject string, m *adapter.Message, how post) error {
	body, err := b.codec.Sharded(m)
	if err != nil {
		return err
	}
	return b.hub.publish(subject, body, how)
}

// Count cannot be known: NATS does not tell how many listen.
func (b *bus) Count(context.Context) (int, error) {
	if !b.hub.status.Is(Up) {
		return 0, adapter.ErrClusterUnavailable
	}
	return 0, errors.ErrUnsupported
}

// Nodes fails like Count.
func (b *bus) Nodes(ctx context.Context) ([]adapter.NodeID, error) {
	_, err := b.Count(ctx)
	return nil, err
}

func (b *bus) Close() error {
	b.rooms.close()
	b.hub.subs.unwant(b.subjects.all)
	b.hub.subs.unwant(b.subjects.node(b.id))
	if l := b.log.Load(); l != nil {
		l.close()
	}
	b.mailbox.Close()
	return nil
}

// RoomCreated subscribes to the subject of a room.
func (b *bus) RoomCreated(room string) {
	if hasSubject(room) {
		b.rooms.created(room, b.subjects.room(room), b.take)
	}
}

// RoomDeleted ends that.
func (b *bus) RoomDeleted(room string) { b.rooms.deleted(room) }

// WaitJoined waits until NATS has the subscriptions to rooms that have just been joined, on all servers with nodes of the cluster.
func (b *bus) WaitJoined(ctx context.Context, rooms []string) error { return b.rooms.wait(ctx, rooms) }

// freshFor returns how long a room that others are made to join stays fresh: longer while that message may have to wait for NATS.
func (b *bus) freshFor() time.Duration {
	if b.hub.status.Is(Up) {
		return freshrooms.For
	}
	return freshrooms.For + b.hub.opts.QueueAge
}
