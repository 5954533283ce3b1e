package redisadapter

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/freshrooms"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/internal/classic"
)

// classicBus is the classic adapter's bus of one namespace.
type classicBus struct {
	// Static after construction.
	hub      *hub
	local    adapter.Local
	codec    *classic.Codec
	forNode  *classic.Codec // of what all nodes hear, while there may be Node.js nodes
	company  *company
	encoding classic.Encoding
	specific bool // answers go to the node that asked alone
	expects  func(room string) bool
	log      *pubLog // for clients that come back; of use once it is recording
	sessions string  // begins the keys of sessions

	exact     bool        // no pattern is subscribed; static after InOrder
	recording atomic.Bool // broadcasts are kept in log

	mailbox *inflow.Mailbox[delivery] // static after Start

	fresh freshrooms.Rooms // of use if the bus is exact

	requests atomic.Int64 // requests of others that wait to be decoded: who is in which room may change with each
}

// Losses counts how often the connection to Redis went down.
func (b *classicBus) Losses() uint64 { return b.hub.status.Downs() }

// Start subscribes. The channel of the requests is the last: who is counted hears everything.
func (b *classicBus) Start(receive func(m *adapter.Message)) error {
	b.mailbox = b.hub.newMailbox(b.local.Name(), b.open, receive)
	b.log.receive = b.mailbox.Deliver
	if b.exact {
		b.hub.subscribe(b.local.Name(), plain, b.codec.Broadcasts(), b.takeBroadcast)
	} else {
		b.hub.subscribe(b.local.Name(), pattern, b.pattern(), b.takeBroadcast)
	}
	b.hub.subscribe(b.local.Name(), plain, b.codec.Private(b.codec.UID()), b.takeDirected)
	b.hub.subscribe(b.local.Name(), plain, b.codec.Responses(), b.takeAnswer)
	b.hub.subscribe(b.local.Name(), plain, b.codec.Requests(), b.takeRequest)
	b.hub.common(plain, b.codec.Requests())
	return nil
}

// pattern covers the channels of all broadcasts. Node does not escape what it makes it of, and so hears other namespaces too
// if the name of one has a * in it.
func (b *classicBus) pattern() string { return escapeGlob(b.codec.Broadcasts()) + "*" }

// takeBroadcast drops what nobody on this node needs by the channel alone: there it names the room, for this purpose. Not
// so while requests wait, one of which may bring somebody into the room: then open decides.
func (b *classicBus) takeBroadcast(channel, body string) {
	if b.recording.Load() {
		b.takeKept(channel, body)
		return
	}
	switch {
	case b.codec.OwnBroadcast(body):
	case b.requests.Load() == 0 && !b.needs(channel):
		b.hub.stats.inflow.Foreign.Add(1)
	default:
		b.mailbox.Push(delivery{channel, body})
	}
}

// needs reports whether somebody on this node may be meant by what is published on a channel of broadcasts.
func (b *classicBus) needs(channel string) bool {
	room, ok := b.codec.Room(channel)
	return ok && (room == "" || b.expects(room))
}

func (b *classicBus) takeRequest(channel, body string) {
	if b.codec.OwnRequest(body) {
		return
	}
	b.requests.Add(1)
	if !b.mailbox.Push(delivery{channel, body}) {
		b.requests.Add(-1)
	}
}

// takeAnswer drops the answers to questions of other nodes, which all nodes hear.
func (b *classicBus) takeAnswer(channel, body string) {
	switch {
	case b.codec.OwnAnswer(body):
	case !b.codec.MayAnswer(body):
		b.hub.stats.inflow.Foreign.Add(1)
	default:
		b.mailbox.Push(delivery{channel, body})
	}
}

// takeDirected takes answers, and what another node has said to this one alone.
func (b *classicBus) takeDirected(channel, body string) {
	if b.codec.Shape(body) == classic.ShapeAnswer {
		b.takeAnswer(channel, body)
		return
	}
	b.requests.Add(1)
	if !b.mailbox.Push(delivery{channel, body}) {
		b.requests.Add(-1)
	}
}

// open decodes and hands on what has been published on a channel.
func (b *classicBus) open(channel, body string) {
	switch channel {
	case b.log.names.notes:
		b.log.note(body)
	case b.codec.Requests():
		b.openRequest(channel, []byte(body))
		b.requests.Add(-1)
	case b.codec.Private(b.codec.UID()):
		m, err := b.codec.DecodeDirected([]byte(body))
		b.mailbox.Deliver(m, err, channel)
		if b.codec.Shape(body) != classic.ShapeAnswer {
			b.requests.Add(-1)
		}
	case b.codec.Responses():
		m, err := b.codec.DecodeAnswer([]byte(body))
		b.mailbox.Deliver(m, err, channel)
	default:
		b.openBroadcast(channel, body)
	}
}

func (b *classicBus) openBroadcast(channel, body string) {
	open := func() (*adapter.Message, error) {
		if !b.needs(channel) {
			return nil, nil
		}
		return b.codec.DecodeBroadcast([]byte(body))
	}
	recording := b.recording.Load()
	if n, noted := noteOf(body); recording && noted {
		b.log.take(n, body, open)
		return
	}
	m, err := open()
	if recording && (m != nil || !b.log.writers[senderOf(body)]) {
		b.log.heard(m, body)
	}
	b.mailbox.Deliver(m, err, channel)
}

func (b *classicBus) openRequest(channel string, body []byte) {
	q, err := b.codec.DecodeRequest(body)
	if q == nil || err != nil {
		b.mailbox.Deliver(nil, err, channel)
		if q != nil { // who asks would wait for nothing
			b.Respond(&q.Message, q.Empty())
		}
		return
	}
	if q.Socket != "" && !b.has(q.Socket) {
		b.mailbox.Deliver(nil, nil, channel)
		return
	}
	b.fresh.Note(&q.Message, freshrooms.For) // this node may send there before the others can have subscribed
	b.mailbox.Deliver(&q.Message, nil, channel)
	if q.Socket != "" {
		answer, err := classic.Confirm(q)
		if err == nil {
			err = b.hub.publish(plain, b.answerChannel(&q.Message, nil), answer, answerOf(b.local.Name()))
		}
		b.mailbox.Unsent(err)
	}
}

// has reports whether a socket is connected to this node.
func (b *classicBus) has(sid string) bool {
	inRoom := b.local.FetchSockets(adapter.Selection{Rooms: []string{sid}})
	return slices.ContainsFunc(inRoom, func(d adapter.SocketDetails) bool { return d.ID == sid })
}

// Listening waits for the last of the channels, which all are on one connection.
func (b *classicBus) Listening(ctx context.Context) error {
	return b.hub.wait(ctx, plain, b.codec.Requests())
}

func (b *classicBus) Publish(m *adapter.Message) error {
	codec := b.codec
	if b.company.needsBoth(m) {
		codec = b.forNode
	}
	channel, body, err := codec.Encode(m)
	if err != nil {
		return err
	}
	b.fresh.Note(m, b.hub.freshFor())
	if b.exact && m.Kind == adapter.KindBroadcast && m.Request == "" && channel != b.codec.Broadcasts() && b.fresh.ToAll(m) {
		channel = b.codec.Broadcasts()
	}
	how := postOf(b.local.Name(), m)
	if b.recording.Load() && m.Logged() {
		return b.log.publish(channel, body, m, how)
	}
	return b.hub.publish(plain, channel, body, how)
}

// Send publishes on the node's private channel what all nodes would get on theirs.
func (b *classicBus) Send(to adapter.NodeID, m *adapter.Message) error {
	_, body, err := b.codec.Encode(m)
	if err != nil {
		return err
	}
	b.fresh.Note(m, b.hub.freshFor())
	return b.hub.publish(plain, b.codec.Private(string(to)), body, postOf(b.local.Name(), m))
}

func (b *classicBus) Respond(question, answer *adapter.Message) {
	body, err := b.codec.EncodeAnswer(question, answer)
	if err != nil && answer.Kind == adapter.KindAck {
		// A client's acknowledgement that no frame can hold. Node is left to its timeout: any value would be a wrong one.
		b.mailbox.Unsent(err)
		body, err = b.codec.EncodeAnswer(question, &adapter.Message{Kind: adapter.KindGone, SocketIDs: []string{answer.SocketID}})
	}
	if err == nil && body != nil {
		err = b.hub.publish(plain, b.answerChannel(question, answer), body, answerOf(b.local.Name()))
	}
	b.mailbox.Unsent(err)
}

// answerChannel is where the node that asked hears answers: ours where nobody else does. Node replies to server-side events in
// public even with the option. Old nodes do not say who they are.
func (b *classicBus) answerChannel(question, answer *adapter.Message) string {
	reply := answer != nil && answer.Kind == adapter.KindServerReply
	if classic.Ours(question) || b.specific && question.From != "" && !reply {
		return b.codec.Private(string(question.From))
	}
	return b.codec.Responses()
}

func (b *classicBus) Count(ctx context.Context) (int, error) {
	return b.hub.numSub(ctx, plain, b.codec.Requests())
}

// Nodes lists the private channels, which every node subscribes to whether or not it is answered there.
func (b *classicBus) Nodes(ctx context.Context) ([]adapter.NodeID, error) {
	channels, err := b.hub.channels(ctx, plain, escapeGlob(b.codec.Responses())+"*#")
	if err != nil {
		return nil, err
	}
	nodes := make([]adapter.NodeID, 0, len(channels))
	for _, c := range channels {
		if uid, ok := b.codec.Node(c); ok {
			nodes = append(nodes, adapter.NodeID(uid))
		}
	}
	return nodes, nil
}

func (b *classicBus) Close() error {
	b.log.close()
	b.hub.unsubscribe(b.local.Name(), plain, b.codec.Requests())
	b.hub.unsubscribe(b.local.Name(), plain, b.codec.Responses())
	b.hub.unsubscribe(b.local.Name(), plain, b.codec.Private(b.codec.UID()))
	if b.exact {
		b.hub.unsubscribe(b.local.Name(), plain, b.codec.Broadcasts())
	} else {
		b.hub.unsubscribe(b.local.Name(), pattern, b.pattern())
	}
	b.mailbox.Close()
	return nil
}
