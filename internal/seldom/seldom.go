// Package seldom keeps a log readable where clients decide how often something happens.
package seldom

import (
	"sync"
	"sync/atomic"
	"time"
)

// start is where times are counted from, so that corrections of the wall clock do not matter.
var start = time.Now()

// Gate lets one of many callers pass. The zero value is ready; it may be used by any number of goroutines and never
// blocks.
type Gate struct {
	next atomic.Int64 // nanoseconds since start; 0 before the first
}

// Pass reports true when it has not done so within the time given.
func (g *Gate) Pass(every time.Duration) bool {
	now, next := int64(time.Since(start)), g.next.Load()
	return (next == 0 || now >= next) && g.next.CompareAndSwap(next, now+int64(every))
}

// Counted is a Gate that counts whom it holds back. The zero value is ready; it may be used by any number of goroutines and
// never blocks.
type Counted struct {
	gate Gate
	held atomic.Uint64
}

// Pass is Gate.Pass. When it reports true it tells how many were held back since it last did.
func (c *Counted) Pass(every time.Duration) (held uint64, ok bool) {
	if !c.gate.Pass(every) {
		c.held.Add(1)
		return 0, false
	}
	return c.held.Swap(0), true
}

// maxKeys is how many keys a Keyed tells apart.
const maxKeys = 256

// Keyed is a Counted for each key, of which clients may choose as many as they like: all beyond the first 256 are one. The zero value
// is ready; it may be used by any number of goroutines.
type Keyed struct {
	mu sync.Mutex
	// Guarded by mu.
	gates map[string]*Counted

	others Counted
}

// Pass is Counted.Pass of a key.
func (k *Keyed) Pass(key string, every time.Duration) (held uint64, ok bool) {
	return k.gate(key).Pass(every)
}

func (k *Keyed) gate(key string) *Counted {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.gates[key]
	switch {
	case g != nil:
	case len(k.gates) >= maxKeys:
		g = &k.others
	default:
		if k.gates == nil {
			k.gates = make(map[string]*Counted)
		}
		g = new(Counted)
		k.gates[key] = g
	}
	return g
}
