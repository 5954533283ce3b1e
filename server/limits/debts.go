package limits

import (
	"hash/maphash"
	"math/bits"
	"net/netip"
	"sync"
	"time"
)

// slotsPerSet is how many keys with the same place are told apart.
const slotsPerSet = 8

// debts remembers of many keys, which clients may choose, when their buckets are full again. Its size is fixed: a new key takes the
// place of the one that owes least among those with the same place, which the seed keeps anybody from choosing.
type debts struct {
	seed maphash.Seed
	sets []debtSet // a power of 2
}

type debtSet struct {
	mu    sync.Mutex
	slots [slotsPerSet]debt
}

type debt struct {
	key    uint64
	fullAt int64 // nanoseconds since Limits.start; in the past: free
}

func newDebts(entries int) *debts {
	sets := max(1, entries/slotsPerSet)
	return &debts{seed: maphash.MakeSeed(), sets: make([]debtSet, 1<<bits.Len(uint(sets-1)))}
}

// ofPrefix and ofUser make keys. 0 is none.
func (d *debts) ofPrefix(k kind, p netip.Prefix) uint64 {
	return 1 | maphash.Comparable(d.seed, struct {
		kind   kind
		prefix netip.Prefix
	}{k, p})
}

func (d *debts) ofUser(name string) uint64 { return 1 | maphash.String(d.seed, name) }

// slotLocked returns the place of a key, where another key may be as yet.
func (s *debtSet) slotLocked(key uint64) *debt {
	least := &s.slots[0]
	for i := range s.slots {
		d := &s.slots[i]
		if d.key == key {
			return d
		}
		if d.fullAt < least.fullAt {
			least = d
		}
	}
	return least
}

func (d *debts) set(key uint64) *debtSet { return &d.sets[key>>1&uint64(len(d.sets)-1)] }

// take takes one token of a key's bucket. It returns 0, or how long it takes until there is one; then none was taken.
func (d *debts) take(key uint64, r *rate, now int64) time.Duration {
	s := d.set(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := s.slotLocked(key)
	fullAt := now
	if slot.key == key {
		fullAt = max(now, slot.fullAt)
	}
	fullAt += int64(r.every)
	if wait := fullAt - now - int64(float64(r.burst)*r.every); wait > 0 {
		return time.Duration(wait)
	}
	*slot = debt{key, fullAt}
	return 0
}

// load returns when the bucket of a key is full.
func (d *debts) load(key uint64) (fullAt int64) {
	s := d.set(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if slot := s.slotLocked(key); slot.key == key {
		return slot.fullAt
	}
	return 0
}

// store keeps when the bucket of a key is full, unless that is now.
func (d *debts) store(key uint64, fullAt, now int64) {
	if fullAt <= now {
		return
	}
	s := d.set(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	*s.slotLocked(key) = debt{key, fullAt}
}
