package redisadapter

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
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
}

// Sharded is the builder of sharded adapters, see NewSharded.
type Sharded struct {
	*hub
	opts ShardedOptions
}

// NewSharded connects nodes through the sharded pub/sub of Redis 7, in the way of createShardedAdapter of
// @socket.io/redis-adapter 8.3. opts may be nil.
//
// In the dynamic modes a broadcast to one room reaches only nodes with somebody in it, and Socket.Join returns when the
// broadcasts of other nodes arrive. On a Redis Cluster each channel belongs to one of the masters, and messages on
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
	setDefault(&s.opts.ChannelPrefix, defaultKey)
	setDefault(&s.opts.SubscriptionMode, Dynamic)
	s.hub = newHub(rdb, s.opts.Options)
	return s
}

// New makes the adapter of a namespace. It does not wait for Redis, see Ready.
func (s *Sharded) New(local adapter.Local) (adapter.Adapter, error) {
	mode := s.opts.SubscriptionMode
	if err := mode.check(); err != nil {
		return nil, err
	}
	uid := envelope.NewUID()
	codec, err := envelope.New(uid, local.Name(), local.HasRoom)
	if err != nil {
		return nil, err
	}
	b := &shardedBus{
		hub: s.hub, local: local, uid: uid, codec: codec,
		channels: channelsOf(s.opts.ChannelPrefix, local.Name(), mode),
		rooms:    newRoomChannels(s.hub, shard, local),
	}
	if mode == Static {
		return s.newAdapter(local, struct { // which does not observe the rooms
			adapter.Bus
			adapter.LossCounter
		}{b, b}, 0)
	}
	return s.newAdapter(local, b, 0)
}

// shardedBus is the bus of a namespace. In a dynamic mode it observes the rooms.
type shardedBus struct {
	// Static after construction.
	hub      *hub
	local    adapter.Local
	uid      adapter.NodeID
	codec    *envelope.Codec
	channels shardedChannels
	rooms    *roomChannels

	mailbox *mailbox // static after Start
}

func (b *shardedBus) ID() adapter.NodeID { return b.uid }

// Losses counts how often the connection to Redis went down.
func (b *shardedBus) Losses() uint64 { return b.hub.status.downs() }

func (b *shardedBus) Start(receive func(m *adapter.Message)) error {
	b.mailbox = newMailbox(b.hub, b.local.Name(), b.open, receive)
	// First the channel that makes a node known by its name, then the one that makes it count.
	b.hub.subscribe(b.local.Name(), shard, b.channels.response(b.uid), b.take)
	b.hub.subscribe(b.local.Name(), shard, b.channels.main, b.take)
	return nil
}

// take is the sink of all channels.
func (b *shardedBus) take(channel, body string) {
	if !b.codec.Own(body) {
		b.mailbox.feed.push(channel, body)
	}
}

// open decodes and hands on what has been published on a channel.
func (b *shardedBus) open(channel, body string) {
	m, err := b.codec.Open(body)
	b.mailbox.deliver(m, err, channel)
}

// Listening waits for both channels, which may be on different servers.
func (b *shardedBus) Listening(ctx context.Context) {
	b.hub.listening(ctx, shard, b.channels.response(b.uid), b.channels.main)
}

func (b *shardedBus) Publish(m *adapter.Message) error { return b.send(b.channels.of(m), m) }

func (b *shardedBus) Respond(question, answer *adapter.Message) {
	if question.From == "" {
		return
	}
	a := *answer
	a.Request = question.Request
	b.mailbox.unsent(b.send(b.channels.response(question.From), &a))
}

func (b *shardedBus) send(channel string, m *adapter.Message) error {
	body, err := b.codec.Sharded(m)
	if err != nil {
		return err
	}
	return b.hub.publish(shard, channel, body, m.Sent)
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
	b.rooms.close()
	b.hub.unsubscribe(b.local.Name(), shard, b.channels.main)
	b.hub.unsubscribe(b.local.Name(), shard, b.channels.response(b.uid))
	b.mailbox.close()
	b.hub.close()
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
