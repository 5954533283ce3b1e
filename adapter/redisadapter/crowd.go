package redisadapter

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// gatherWithin is how long the other nodes are waited for that listened before the connection ended. Those of npm try again after
// up to two seconds.
const gatherWithin = 2500 * time.Millisecond

// gatherEvery is the time between two looks.
const gatherEvery = 10 * time.Millisecond

// crowd is how many listen to the channels that every node subscribes to. When Redis is back, what waited for it is worth nothing
// until those who are to hear it are back, too.
type crowd struct {
	mu sync.Mutex
	// Guarded by mu.
	counts map[string]int64 // by channel, while all was well
}

// saw notes counts.
func (c *crowd) saw(counts map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts == nil {
		c.counts = make(map[string]int64)
	}
	maps.Copy(c.counts, counts)
}

// last returns the counts.
func (c *crowd) last() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}

// gather waits until as many listen at a server as did before, for gatherWithin at most.
func (m *monitor) gather(ctx context.Context, to *node, before map[string]int64) {
	if len(before) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, gatherWithin)
	defer cancel()
	for !m.gathered(ctx, to, before) && pause(ctx, gatherEvery) == nil {
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
