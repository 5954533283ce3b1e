package redisadapter

import (
	"cmp"
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/adapter/membership"
	"github.com/sockeye-io/sockeye/internal/classic"
)

// PubSubOptions configure NewPubSub. The zero value means the defaults of @socket.io/redis-adapter 8.3.
type PubSubOptions struct {
	Options

	// Key begins the names of all channels. All nodes and emitters of a cluster have the same. Default: "socket.io".
	Key string

	// RequestsTimeout is how long a question waits for the other nodes when its context has no deadline. Default: 5 s.
	RequestsTimeout time.Duration

	// PublishOnSpecificResponseChannel sends answers to Node.js nodes to the one that asked alone, instead of to all, which they
	// must be able to hear: from version 7 of the adapter on. Sockeye nodes are answered so in any case.
	PublishOnSpecificResponseChannel bool

	// ExactChannels subscribes to the channels of the rooms that exist on this node, instead of to the pattern that covers
	// all rooms of a namespace. The node then receives no broadcast to a single room that nobody here is in, and publishers
	// do not notice a difference. In return Redis keeps a subscription for each room and for each socket, and a join takes
	// effect in the cluster one round trip to Redis later: Socket.Join waits for it. It has no effect with connection state recovery.
	ExactChannels bool

	// Parser is the one that all nodes and emitters have in common, npm's option of that name. With another one than the default nothing
	// is kept for clients that come back. Default: MessagePack, as in Node.
	Parser Parser

	// RecoveryMaxLen is how many broadcasts of a namespace are kept, approximately, for clients that come back, see
	// server.RecoveryOptions. Default: 10,000.
	RecoveryMaxLen int
}

// PubSub is the builder of classic adapters, see NewPubSub.
type PubSub struct {
	builder builder
	opts    PubSubOptions
}

// NewPubSub connects nodes through the pub/sub that every Redis has, in the way of createAdapter of
// @socket.io/redis-adapter 8.3. opts may be nil.
//
// A broadcast to one room is published on a channel that names the room, so that a node without anybody in it drops the
// message unread. Everything else reaches all nodes. Binary data in server-side events and in the data of sockets is
// JSON on its way and arrives as {"type":"Buffer","data":[...]}, as in Node.
//
// Three things differ from Node. SocketsJoin, SocketsLeave and DisconnectSockets act on this node at once and not when
// their message comes back from Redis. What goes missing while nodes are asked is told in the result and no error. And a
// broadcast with acknowledgements keeps its flags on other nodes.
func NewPubSub(rdb redis.UniversalClient, opts *PubSubOptions) *PubSub {
	p := &PubSub{}
	if opts != nil {
		p.opts = *opts
	}
	p.opts.Key = cmp.Or(p.opts.Key, defaultKey)
	p.opts.RecoveryMaxLen = cmp.Or(p.opts.RecoveryMaxLen, defaultMaxLen)
	p.builder.init(rdb, p.opts.Options)
	return p
}

const defaultKey = "socket.io"

// Ready waits until the servers with this adapter hear in all their namespaces what others say, for the first one if there is none
// yet, and returns why not when ctx ends first. Without it a server starts at once and reaches other nodes as soon as it can.
func (p *PubSub) Ready(ctx context.Context) error { return p.builder.servers.Ready(ctx, "redis") }

// Stats returns the current figures. With several servers they are sums, and the state is that of the one that is worst off.
func (p *PubSub) Stats() Stats { return p.builder.figures() }

// Open makes a server a node of the cluster. It does not wait for Redis, see Ready.
func (p *PubSub) Open(self adapter.Node, changed func(adapter.Node)) (adapter.Cluster, error) {
	self.Adapter = "pubsub"
	h := p.builder.newHub()
	encoding := encodingOf(p.opts.Parser)
	br := &broker{hub: h, prefix: p.opts.Key, id: self.ID, flags: []membership.Setting{{Flag: "adapter", Value: "pubsub"}, {Flag: "key", Value: p.opts.Key}}}
	if p.opts.Parser != nil { // former nodes do not tell
		br.flags = append(br.flags, membership.Setting{Flag: "redis-parser", Value: encoding.Name()})
	}
	br.bus = func(local adapter.Local) (adapter.Bus, error) {
		codec := classic.New(p.opts.Key, local.Name(), string(self.ID), encoding)
		b := &classicBus{
			hub: h, local: local, codec: codec, forNode: codec.ForNode(), company: newCompany(h, local, plain, codec.Requests()),
			specific: p.opts.PublishOnSpecificResponseChannel, exact: p.opts.ExactChannels, expects: inflow.Expects(local),
			encoding: encoding, log: classicLog(h, local.Name(), self.ID, &p.opts), sessions: p.opts.Key + "-session:",
		}
		if p.opts.ExactChannels {
			return &exactBus{classicBus: b, rooms: newRoomChannels(h, plain, local)}, nil
		}
		return b, nil
	}
	return p.builder.open(self, changed, br, adapter.ClusterOptions{Timeout: p.opts.RequestsTimeout})
}
