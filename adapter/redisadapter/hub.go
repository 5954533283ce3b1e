package redisadapter

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// space is one of the three spaces of channels that Redis keeps apart.
type space uint8

const (
	plain   space = iota // SUBSCRIBE
	pattern              // PSUBSCRIBE
	shard                // SSUBSCRIBE
)

// sink takes the messages of subscribed channels. It is called by the goroutine that reads the connection and must be
// quick: look at the channel, then push to a feed. For a pattern, channel is the one that matched.
type sink func(channel, body string)

// hub is everything that one node has open to Redis. All methods may be called concurrently; none blocks but those that
// take a context.
type hub struct {
	rdb redis.UniversalClient
}

// open adds a user and starts the hub for the first one; close takes one away and stops it with the last one.
func (h *hub) open() error { panic("hub") }
func (h *hub) close()      { panic("hub") }

// send queues a command. Commands are sent in order, none twice. Its outcome is counted and logged, not returned:
// the error is adapter.ErrClusterUnavailable when Redis is down or the queue is full, and the command is not sent then.
func (h *hub) send(cmd redis.Cmder) error { panic("hub") }

// subscribe wants a channel from now on, unsubscribe not any more. A name has one sink.
func (h *hub) subscribe(s space, name string, to sink) { panic("hub") }
func (h *hub) unsubscribe(s space, name string)        { panic("hub") }

// wait returns when Redis has confirmed the subscriptions, or adapter.ErrClusterUnavailable when ctx ends first.
func (h *hub) wait(ctx context.Context, s space, names ...string) error { panic("hub") }

// numSub counts the subscribers of a channel over all masters. channels lists the active channels that match glob.
// Both return adapter.ErrClusterUnavailable at once while Redis is down or our own subscriptions are not in place.
func (h *hub) numSub(ctx context.Context, s space, name string) (int, error)        { panic("hub") }
func (h *hub) channels(ctx context.Context, s space, glob string) ([]string, error) { panic("hub") }
