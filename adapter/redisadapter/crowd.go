package redisadapter

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
)

// gatherWithin is how long this node waits for the others that listened before the connection ended. Those of npm try again after
// up to two seconds.
const gatherWithin = 2500 * time.Millisecond

// gatherEvery is the time between two looks.
const gatherEvery = 10 * time.Millisecond

// crowdMemory is how many looks in a row must have found fewer until that is believed: when Redis is back and goes away again, not
// all have been back.
const crowdMemory = 20

// crowd is how many listen to the channels that every node subscribes to. When Redis is back, what waited for it is worth nothing
// until those who are to hear it are back, too.
type crowd struct {
	mu sync.Mutex
	// Guarded by mu.
	channels map[string]listeners // by name, while all was well
}

// listeners are those of a channel.
type listeners struct {
	count int64
	fewer int // looks since then that have found fewer
}

// saw notes what a look has found.
func (c *crowd) saw(counts map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.channels == nil {
		c.channels = make(map[string]listeners)
	}
	for name, n := range counts {
		l := c.channels[name]
		if l.fewer++; n >= l.count || l.fewer > crowdMemory {
			l = listeners{count: n}
		}
		c.channels[name] = l
	}
}

// count returns how many listened to a channel at the last look that counted it.
func (c *crowd) count(name string) (n int64, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, known := c.channels[name]
	return l.count, known
}

// last returns how many are expected, by channel.
func (c *crowd) last() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := make(map[string]int64, len(c.channels))
	for name, l := range c.channels {
		counts[name] = l.count
	}
	return counts
}

// gather waits until as many listen at a server as did before, for gatherWithin at most.
func (m *monitor) gather(ctx context.Context, to *node, before map[string]int64) {
	if len(before) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, gatherWithin)
	defer cancel()
	for !m.gathered(ctx, to, before) && brokerstate.Pause(ctx, gatherEvery) == nil {
	}
}

func (m *monitor) gathered(ctx context.Context, to *node, before map[string]int64) bool {
	if m.sub.inPlace() != nil {
		return false
	}
	sp, names := m.sub.commons(to)
	if len(names) == 0 {
		return true
	}
	counts, err := countListeners(ctx, to.rdb, sp, names).Result()
	if err != nil {
		return isReply(err) // it will not tell
	}
	for name, n := range counts {
		if n < before[name] {
			return false
		}
	}
	return true
}

// countListeners asks a server how many listen to channels there.
func countListeners(ctx context.Context, rdb redis.Cmdable, sp space, names []string) *redis.MapStringIntCmd {
	if sp == shard {
		return rdb.PubSubShardNumSub(ctx, names...)
	}
	return rdb.PubSubNumSub(ctx, names...)
}
