package redisadapter

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/freshrooms"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/adapter/membership"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

// SubscriptionMode says which rooms have a channel of their own in the sharded adapter.
type SubscriptionMode string

const (
	// Static: none. A node hears all that is said in its namespaces.
	Static SubscriptionMode = "static"
	// Dynamic: the public rooms, all but those that are sockets' ids. A node hears what is said in its own.
	Dynamic SubscriptionMode = "dynamic"
	// DynamicPrivate: all rooms, and so each socket too.
	DynamicPrivate SubscriptionMode = "dynamic-private"
)

func (m SubscriptionMode) check() error {
	if m != Static && m != Dynamic && m != DynamicPrivate {
		return fmt.Errorf("unknown subscription mode %q", string(m))
	}
	return nil
}

// ShardedOptions configure NewSharded. The zero value means the defaults of @socket.io/redis-adapter 8.3.
type ShardedOptions struct {
	Options

	// ChannelPrefix begins the names of all channels. All nodes of a cluster have the same. Default: "socket.io".
	ChannelPrefix string

	// SubscriptionMode is the same on all nodes of a cluster. Default: Dynamic.
	SubscriptionMode SubscriptionMode

	// RecoveryMaxLen is how many broadcasts of a namespace are kept, approximately, for clients that come back, see
	// server.RecoveryOptions. All nodes hear all that is kept, whatever the SubscriptionMode. Default: 10,000.
	RecoveryMaxLen int
}

// Sharded is the builder of sharded adapters, see NewSharded.
type Sharded struct {
	builder builder
	opts    ShardedOptions
}

// NewSharded connects nodes through the sharded pub/sub of Redis 7, in the way of createShardedAdapter of
// @socket.io/redis-adapter 8.3. opts may be nil.
//
// In the dynamic modes a broadcast to one room reaches only nodes with somebody in it, and Socket.Join returns when the
// broadcasts of other nodes arrive. SocketsJoin does not wait: for five seconds what is sent to its rooms goes to all nodes. On a Redis Cluster each channel belongs to one of the masters, and messages on
// different channels may overtake each other: a broadcast to one room and the next one to another, or to everybody. With
// a hash tag in the prefix, such as "{app}", all channels belong to one master and every sender's messages keep their order.
//
// What Node publishes for a socket of protocol version 2 in a namespace other than "/", by its id, arrives here; Node nodes in
// dynamic mode lose it.
func NewSharded(rdb redis.UniversalClient, opts *ShardedOptions) *Sharded {
	s := &Sharded{}
	if opts != nil {
		s.opts = *opts
	}
	s.opts.ChannelPrefix = cmp.Or(s.opts.ChannelPrefix, defaultKey)
	s.opts.SubscriptionMode = cmp.Or(s.opts.SubscriptionMode, Dynamic)
	s.opts.RecoveryMaxLen = cmp.Or(s.opts.RecoveryMaxLen, defaultMaxLen)
	s.builder.init(rdb, s.opts.Options)
	return s
}

// Ready waits until the servers with this adapter hear in all their namespaces what others say, for the first one if there is none
// yet, and returns why not when ctx ends first. Without it a server starts at once and reaches other nodes as soon as it can.
func (s *Sharded) Ready(ctx context.Context) error { return s.builder.servers.Ready(ctx, "redis") }

// Stats returns the current figures. With several servers they are sums, and the state is that of the one that is worst off.
func (s *Sharded) Stats() Stats { return s.builder.figures() }

// Open makes a server a node of the cluster. It does not wait for Redis, see Ready.
func (s *Sharded) Open(self adapter.Node, changed func(adapter.Node)) (adapter.Cluster, error) {
	mode := s.opts.SubscriptionMode
	if err := mode.check(); err != nil {
		return nil, err
	}
	self.Adapter = "sharded"
	h := s.builder.newHub()
	br := &broker{hub: h, prefix: s.opts.ChannelPrefix, space: shard, id: self.ID, flags: []membership.Setting{
		{Flag: "adapter", Value: "sharded"}, {Flag: "key", Value: s.opts.ChannelPrefix}, {Flag: "subscription-mode", Value: string(mode)},
	}}
	br.bus = func(local adapter.Local) (adapter.Bus, error) { return s.newBus(h, self.ID, local) }
	return s.builder.open(self, changed, br, adapter.ClusterOptions{})
}

func (s *Sharded) newBus(h *hub, uid adapter.NodeID, local adapter.Local) (adapter.Bus, error) {
	codec, err := envelope.New(uid, local.Name(), inflow.Expects(local))
	if err != nil {
		return nil, err
	}
	b := &shardedBus{
		hub: h, local: local, uid: uid, codec: codec,
		channels: channelsOf(s.opts.ChannelPrefix, local.Name(), s.opts.SubscriptionMode),
		rooms:    newRoomChannels(h, shard, local),
		sessions: s.opts.ChannelPrefix + "-session:",
	}
	b.forNode, b.company = codec.ForNode(), newCompany(h, local, shard, b.channels.main)
	if b.log, err = shardedLog(h, local.Name(), uid, b.channels.main, s.opts.RecoveryMaxLen); err != nil {
		return nil, err
	}
	if s.opts.SubscriptionMode == Static {
		return staticBus{b, b, b, b}, nil
	}
	return b, nil
}

// staticBus is the bus of a namespace in the mode Static. It does not observe the rooms.
type staticBus struct {
	adapter.Bus
	adapter.LossCounter
	parted // not adapter.Parted, a field that would hide the method of that name
	adapter.Recorder
}

type parted = adapter.Parted

var _ adapter.Parted = staticBus{}

// shardedBus is the bus of a namespace. In a dynamic mode it observes the rooms.
type shardedBus struct {
	// Static after construction.
	hub      *hub
	local    adapter.Local
	uid      adapter.NodeID
	codec    *envelope.Codec
	forNode  *envelope.Codec // of what all nodes may hear, while there may be Node.js nodes
	company  *company
	channels shardedChannels
	rooms    *roomChannels
	fresh    freshrooms.Rooms
	log      *pubLog // for clients that come back; of use once it is recording
	sessions string  // begins the keys of sessions

	recording atomic.Bool // broadcasts are kept in log

	mailbox *inflow.Mailbox[delivery] // static after Start
}

// Losses counts how often the connection to Redis went down.
func (b *shardedBus) Losses() uint64 { return b.hub.status.Downs() }

func (b *shardedBus) Start(receive func(m *adapter.Message)) error {
	b.mailbox = b.hub.newMailbox(b.local.Name(), b.open, receive)
	b.log.receive = b.mailbox.Deliver
	// First the channel that makes a node known by its name, then the one that makes it count.
	b.hub.subscribe(b.local.Name(), shard, b.channels.response(b.uid), b.take)
	b.hub.subscribe(b.local.Name(), shard, b.channels.main, b.take)
	b.hub.common(shard, b.channels.main)
	return nil
}

// take is the sink of all channels.
func (b *shardedBus) take(channel, body string) {
	if b.recording.Load() {
		b.takeKept(channel, body)
	} else if !b.codec.Own(body) {
		b.mailbox.Push(delivery{channel, body})
	}
}

// open decodes and hands on what has been published on a channel.
func (b *shardedBus) open(channel, body string) {
	recording := b.recording.Load()
	if recording && b.openKept(channel, body) {
		return
	}
	m, err := b.codec.Open(body)
	if m != nil {
		b.fresh.Note(m, freshrooms.For) // this node may send there before the others can have subscribed
	}
	if recording && err == nil && channel != b.channels.response(b.uid) {
		b.log.heard(m, body)
	}
	b.mailbox.Deliver(m, err, channel)
	if q, answer := envelope.Unanswered(err); q != nil {
		b.Respond(q, answer)
	}
}

// Listening waits for both channels, which may be on different servers.
func (b *shardedBus) Listening(ctx context.Context) error {
	return b.hub.wait(ctx, shard, b.channels.response(b.uid), b.channels.main)
}

// Parted reports whether the channels have masters of their own: on a Redis Cluster, unless a hash tag binds them together.
func (b *shardedBus) Parted() bool {
	if b.recording.Load() { // this node's own messages are told by their numbers
		return true
	}
	_, cluster := b.hub.rdb.(*redis.ClusterClient)
	return cluster && slotOf(b.channels.main) != slotOf(b.channels.response(b.uid))
}

// ToAll reports whether a message goes through the main channel.
func (b *shardedBus) ToAll(m *adapter.Message) bool { return b.channelOf(m) == b.channels.main }

// channelOf is where a message is published: what is kept is heard by all, and so is what is for a fresh room.
func (b *shardedBus) channelOf(m *adapter.Message) string {
	if b.recording.Load() && m.Logged() {
		return b.channels.main
	}
	channel := b.channels.of(m)
	if channel != b.channels.main && b.fresh.ToAll(m) {
		return b.channels.main
	}
	return channel
}

func (b *shardedBus) Publish(m *adapter.Message) error {
	b.fresh.Note(m, b.hub.freshFor())
	codec := b.codec
	if b.company.needsBoth(m) {
		codec = b.forNode
	}
	return b.send(codec, b.channelOf(m), m, postOf(b.local.Name(), m))
}

func (b *shardedBus) Send(to adapter.NodeID, m *adapter.Message) error {
	b.fresh.Note(m, b.hub.freshFor())
	return b.send(b.codec, b.channels.response(to), m, postOf(b.local.Name(), m))
}

func (b *shardedBus) Respond(question, answer *adapter.Message) {
	if question.From == "" {
		return
	}
	a := *answer
	a.Request = question.Request
	b.mailbox.Unsent(b.send(b.codec, b.channels.response(question.From), &a, answerOf(b.local.Name())))
}

func (b *shardedBus) send(codec *envelope.Codec, channel string, m *adapter.Message, how post) error {
	body, err := codec.Sharded(m)
	if err != nil {
		return err
	}
	if b.recording.Load() && channel == b.channels.main && m.Logged() {
		return b.log.publish(channel, body, m, how)
	}
	return b.hub.publish(shard, channel, body, how)
}

func (b *shardedBus) Count(ctx context.Context) (int, error) {
	return b.hub.numSub(ctx, shard, b.channels.main)
}

// Nodes lists the response channels. In a dynamic mode the channel of a room called like a node cannot be told from
// one unless the room is known here.
func (b *shardedBus) Nodes(ctx context.Context) ([]adapter.NodeID, error) {
	nodes, err := nodesOf(ctx, b.hub, shard, b.channels.main)
	return slices.DeleteFunc(nodes, func(id adapter.NodeID) bool {
		return b.channels.mode != Static && id != b.uid && b.local.HasRoom(string(id))
	}), err
}

// nodesOf names the nodes whose channels for answers, prefix+uid+"#", are subscribed.
func nodesOf(ctx context.Context, h *hub, s space, prefix string) ([]adapter.NodeID, error) {
	names, err := h.channels(ctx, s, escapeGlob(prefix)+strings.Repeat("[0-9a-f]", 16)+"#")
	if err != nil {
		return nil, err
	}
	nodes := make([]adapter.NodeID, 0, len(names))
	for _, name := range names {
		nodes = append(nodes, adapter.NodeID(strings.TrimSuffix(strings.TrimPrefix(name, prefix), "#")))
	}
	return nodes, nil
}

func (b *shardedBus) Close() error {
	b.log.close()
	b.rooms.close()
	b.hub.unsubscribe(b.local.Name(), shard, b.channels.main)
	b.hub.unsubscribe(b.local.Name(), shard, b.channels.response(b.uid))
	b.mailbox.Close()
	return nil
}

// RoomCreated subscribes to the channel of a room.
func (b *shardedBus) RoomCreated(room string) {
	if b.channels.has(room) {
		b.rooms.created(room, b.channels.room(room), b.take)
	}
}

// RoomDeleted unsubscribes from it.
func (b *shardedBus) RoomDeleted(room string) { b.rooms.deleted(room) }

// WaitJoined waits until Redis has confirmed the subscriptions to rooms that have just been joined.
func (b *shardedBus) WaitJoined(ctx context.Context, rooms []string) error {
	return b.rooms.wait(ctx, slices.DeleteFunc(slices.Clone(rooms), func(room string) bool { return !b.channels.has(room) }))
}
