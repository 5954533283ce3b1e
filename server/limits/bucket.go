package limits

import (
	"sync/atomic"
	"time"
)

// rate is a Rate that is ready for use.
type rate struct {
	on     bool
	kind   kind
	action Action
	every  float64 // nanoseconds for one token
	burst  int64
}

func newRate(k kind, r Rate, usual Action) rate {
	if r.PerSecond <= 0 {
		return rate{}
	}
	if r.Action != 0 {
		usual = r.Action
	}
	burst := int64(r.Burst)
	if burst == 0 {
		burst = max(1, int64(r.PerSecond))
	}
	return rate{on: true, kind: k, action: usual, every: float64(time.Second) / r.PerSecond, burst: burst}
}

// bucket holds the tokens of one client for one rate. Taking one reads no clock while there are any. All methods may be called
// concurrently; two that find it empty at the same time may disagree by a few tokens.
type bucket struct {
	tokens atomic.Int64 // negative: owed
	filled atomic.Int64 // when tokens were last added, in nanoseconds since Limits.start
}

func (b *bucket) init(r *rate, now int64) {
	b.tokens.Store(r.burst)
	b.filled.Store(now)
}

// take takes n tokens, which are one thing and at most as much as the burst in the end. It returns 0, or how long it takes until they
// are there; they are owed then if the action is SlowDown, and else have not been taken.
func (b *bucket) take(l *Limits, r *rate, n int64) time.Duration {
	if !r.on || b.tokens.Add(-n) >= 0 {
		return 0
	}
	return b.refill(l.now(), r, r.every, r.burst, n)
}

// refill adds what has come in since the last time and settles for n tokens that have been taken.
func (b *bucket) refill(now int64, r *rate, every float64, burst, n int64) time.Duration {
	last, left := b.filled.Load(), b.tokens.Load()+n
	gained := int64(min(float64(now-last)/every, float64(burst-left)))
	at := last + int64(float64(gained)*every)
	if gained >= burst-left {
		at = now
	}
	if gained > 0 && b.filled.CompareAndSwap(last, at) {
		b.tokens.Add(gained)
	}
	balance := b.tokens.Load()
	if balance >= 0 {
		return 0
	}
	if r.action != SlowDown {
		b.tokens.Add(n)
	}
	return max(time.Millisecond, time.Duration(float64(-balance)*every)-time.Duration(now-b.filled.Load()))
}

// fullAt is when the bucket is full again, as a table of debts keeps it.
func (b *bucket) fullAt(r *rate) int64 {
	return b.filled.Load() + int64(float64(r.burst-b.tokens.Load())*r.every)
}

// initDebt begins with what a table of debts has kept.
func (b *bucket) initDebt(r *rate, fullAt, now int64) {
	b.init(r, now)
	if fullAt > now {
		b.tokens.Store(r.burst - int64(float64(fullAt-now)/r.every))
	}
}
