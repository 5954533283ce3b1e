// Package seldom keeps a log readable where clients decide how often something happens.
package seldom

import (
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
