package users

import (
	"hash/maphash"
	"slices"
	"sync"

	"github.com/sockeye-io/sockeye/adapter"
)

// cache remembers which nodes hold users that have no socket here. It is a hint: who gets a message that is not for it sends it on
// and tells. What has no place left takes that of anybody.
type cache struct {
	shards [cacheShards]cacheShard // static
	limit  int                     // of one shard; static
	seed   maphash.Seed            // static
}

const cacheShards = 32

type cacheShard struct {
	mu sync.Mutex
	// Guarded by mu.
	users map[string][]adapter.NodeID // the lists are never changed
}

func newCache(size int) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	if size > 0 {
		c.limit = (size + cacheShards - 1) / cacheShards
	}
	for i := range c.shards {
		c.shards[i].users = make(map[string][]adapter.NodeID)
	}
	return c
}

func (c *cache) shard(id string) *cacheShard {
	return &c.shards[maphash.String(c.seed, id)%cacheShards]
}

// lookup returns the nodes, which the caller must not change; nil if they are not known.
func (c *cache) lookup(id string) []adapter.NodeID {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.users[id]
}

// put remembers where a user is, nothing if it is nowhere.
func (c *cache) put(id string, nodes []adapter.NodeID) {
	if c.limit == 0 || len(nodes) == 0 {
		c.remove(id)
		return
	}
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.users[id]; !ok && len(s.users) >= c.limit {
		for any := range s.users {
			delete(s.users, any)
			break
		}
	}
	s.users[id] = nodes
}

func (c *cache) remove(id string) {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.users, id)
}

// correct replaces what is remembered of a user, if it is.
func (c *cache) correct(id string, nodes []adapter.NodeID) {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.users[id]; !ok {
		return
	}
	if len(nodes) == 0 {
		delete(s.users, id)
	} else {
		s.users[id] = slices.Clone(nodes)
	}
}

func (c *cache) len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.users)
		s.mu.Unlock()
	}
	return n
}
