package limits

import (
	"hash/maphash"
	"net/netip"
	"sync"
)

// origin is where a client comes from. Without an address both are the zero value.
type origin struct {
	address netip.Prefix // of full length for IPv4
	network netip.Prefix
}

// origin reads an address as engine.Peer has it.
func (l *Limits) origin(address string) origin {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return origin{} // a Unix socket
	}
	addr = addr.Unmap().WithZone("")
	host, network := 32, l.opts.NetworkBits4
	if addr.Is6() {
		host, network = 64, l.opts.NetworkBits6
	}
	var o origin
	o.address, _ = addr.Prefix(host) // the lengths have been checked
	o.network, _ = addr.Prefix(network)
	return o
}

// shards of the counts, so that clients do not wait for each other.
const shards = 16

// counts are the open connections by address and network, or by user.
type counts[K comparable] struct {
	seed   maphash.Seed
	shards [shards]countShard[K]
}

type countShard[K comparable] struct {
	mu sync.Mutex
	// Guarded by mu.
	open map[K]int
}

func newCounts[K comparable]() *counts[K] {
	c := &counts[K]{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].open = make(map[K]int)
	}
	return c
}

func (c *counts[K]) shard(key K) *countShard[K] {
	return &c.shards[maphash.Comparable(c.seed, key)%shards]
}

func (c *counts[K]) load(key K) int {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[key]
}

// add counts one more, or one less, and returns how many there are now. What has none is forgotten.
func (c *counts[K]) add(key K, n int) int {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.open[key] + n
	if now > 0 {
		s.open[key] = now
	} else {
		delete(s.open, key)
	}
	return now
}

// addWithin counts one more unless there are as many as there may be.
func (c *counts[K]) addWithin(key K, most int) bool {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[key] >= most {
		return false
	}
	s.open[key]++
	return true
}

// len returns how many keys are known.
func (c *counts[K]) len() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.open)
		s.mu.Unlock()
	}
	return n
}
