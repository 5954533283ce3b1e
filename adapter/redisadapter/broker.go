package redisadapter

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
	"github.com/sockeye-io/sockeye/adapter/membership"
)

// commonChannel is where every node says hello, whatever its adapter and prefix. It is a plain channel of its Redis.
const commonChannel = "sockeye#hello"

// broker is an adapter.Broker: what one server has of Redis. Its membership speaks on two channels under the prefix, which no
// pattern of Node's adapters matches: names of namespaces begin with a slash.
type broker struct {
	// Static after construction.
	hub     *hub
	prefix  string // of all channels
	space   space  // of the channels of the membership
	id      adapter.NodeID
	flags   []membership.Setting // those of the flavour that all nodes have in common
	bus     func(local adapter.Local) (adapter.Bus, error)
	streams *streams // nil without streams
	closed  func()   // called by Close; may be nil

	feed     *inflow.Feed[delivery] // one body at a time for the membership; static after Start
	watching sync.WaitGroup
	once     sync.Once
}

func (b *broker) settings() []membership.Setting {
	all := append([]membership.Setting{}, b.flags...)
	if c, ok := b.hub.rdb.(*redis.Client); ok && c.Options().DB != 0 {
		all = append(all, membership.Setting{Flag: "redis-database", Value: strconv.Itoa(c.Options().DB)})
	}
	return all
}

// Status implements brokerstate.Server, as does Ready.
func (b *broker) Status() *brokerstate.Status { return b.hub.status }

// Ready waits until everything that is wanted is heard.
func (b *broker) Ready(ctx context.Context) error {
	if b.streams != nil {
		if err := b.streams.ready(ctx); err != nil {
			return err
		}
	}
	return b.hub.ready(ctx)
}

// Bus makes the bus of a namespace.
func (b *broker) Bus(local adapter.Local) (adapter.Bus, error) { return b.bus(local) }

// members is the channel of all nodes, inbox that of one alone.
func (b *broker) members() string                { return b.prefix + "-members#" }
func (b *broker) inbox(id adapter.NodeID) string { return b.members() + string(id) + "#" }

// Start implements membership.Transport, as do the methods below.
func (b *broker) Start(receive func(from membership.Channel, body []byte), up, down func()) error {
	inbox, r := b.inbox(b.id), b.hub.running()
	b.feed = b.hub.newFeed(func(channel, body string) {
		if r != nil && channel != b.members() {
			r.pub.mon.poke() // one of the nodes is new, so that more listen than a moment ago
		}
		switch channel {
		case inbox:
			receive(membership.Inbox, []byte(body))
		case commonChannel:
			receive(membership.Common, []byte(body))
		default:
			receive(membership.All, []byte(body))
		}
	})
	take := func(channel, body string) { b.feed.Push(delivery{channel, body}) }
	b.hub.subscribe("", b.space, inbox, take)
	b.hub.subscribe("", b.space, b.members(), take)
	b.hub.common(b.space, b.members())
	b.hub.subscribe("", plain, commonChannel, take)
	if r != nil {
		b.watching.Go(func() { b.watch(r.ctx, up, down) })
	}
	return nil
}

// watch tells when the channels of the membership are heard, and when Redis is lost.
func (b *broker) watch(ctx context.Context, up, down func()) {
	for ctx.Err() == nil {
		if !b.hub.status.Await(ctx, Up) || b.hub.wait(ctx, b.space, b.inbox(b.id), b.members()) != nil {
			return
		}
		up()
		if b.hub.status.AwaitNot(ctx, Up) {
			down()
		}
	}
}

func (b *broker) Tell(to membership.Channel, body []byte) error {
	if to == membership.Common {
		return b.hub.publish(plain, commonChannel, body, post{passing: true})
	}
	return b.hub.publish(b.space, b.members(), body, post{passing: true})
}

func (b *broker) Send(to adapter.NodeID, body []byte) error {
	return b.hub.publish(b.space, b.inbox(to), body, post{passing: true})
}

// Absent asks Redis which inboxes nobody has subscribed to.
func (b *broker) Absent(ctx context.Context, ids []adapter.NodeID) ([]adapter.NodeID, error) {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = b.inbox(id)
	}
	unheard, err := b.hub.unheard(ctx, b.space, names)
	absent := make([]adapter.NodeID, len(unheard))
	for i, name := range unheard {
		absent[i] = adapter.NodeID(strings.TrimSuffix(strings.TrimPrefix(name, b.members()), "#"))
	}
	return absent, err
}

// Close closes the hub. It waits until what is queued has been sent, of which the last is the node's good-bye: the process may end
// right afterwards.
func (b *broker) Close() error {
	b.once.Do(func() {
		if b.feed != nil {
			b.feed.Close()
		}
		r := b.hub.running()
		b.hub.close()
		if r != nil {
			select {
			case <-r.sent:
			case <-time.After(outflow.CloseWithin):
			}
		}
		if b.closed != nil {
			b.closed()
		}
		b.watching.Wait()
	})
	return nil
}
