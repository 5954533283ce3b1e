package outflow

import (
	"maps"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/internal/seldom"
)

// Counters count what was sent and what was not, for all servers with one adapter. The zero value is ready.
type Counters struct {
	Sent       atomic.Uint64
	Reconnects atomic.Uint64

	// Guarded by mu.
	mu              sync.Mutex
	failed, dropped map[string]uint64
	told            map[string]*seldom.Counted
}

// Drop counts messages that were not sent, by reason.
func (c *Counters) Drop(reason string, n int) {
	if n == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dropped == nil {
		c.dropped = make(map[string]uint64)
	}
	c.dropped[reason] += uint64(n)
}

// Fail counts messages that were refused, or of which it is not known whether the broker has them, by kind of trouble.
func (c *Counters) Fail(kind string, n int) {
	if n == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed == nil {
		c.failed = make(map[string]uint64)
	}
	c.failed[kind] += uint64(n)
}

// WorthTelling reports whether something of a kind should be logged, and how many of its kind were not.
func (c *Counters) WorthTelling(kind string) (held uint64, ok bool) {
	c.mu.Lock()
	gate := c.told[kind]
	if gate == nil {
		if c.told == nil {
			c.told = make(map[string]*seldom.Counted)
		}
		gate = new(seldom.Counted)
		c.told[kind] = gate
	}
	c.mu.Unlock()
	return gate.Pass(inflow.TellEvery)
}

// Failed returns what Fail has counted, and 0 for each of the usual kinds that has not happened: so the first time can be seen.
func (c *Counters) Failed(usual ...string) map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return withZeros(c.failed, usual)
}

// Dropped returns what Drop has counted, as Failed does.
func (c *Counters) Dropped(usual ...string) map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return withZeros(c.dropped, usual)
}

func withZeros(counts map[string]uint64, keys []string) map[string]uint64 {
	all := make(map[string]uint64, len(counts)+len(keys))
	for _, key := range keys {
		all[key] = 0
	}
	maps.Copy(all, counts)
	return all
}
