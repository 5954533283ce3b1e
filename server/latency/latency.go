// Package latency counts how long things take, cheaply enough to do so all the time. It stands alone, so that every other package may
// use it.
package latency

import (
	"math"
	"sync/atomic"
	"time"
)

// bounds of the buckets; what takes longer than the last has one more.
var bounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second,
}

// buckets is the number of counts: those of the bounds, and one for what takes longer than all of them.
const buckets = len(bounds) + 1

// Histogram counts durations, in buckets from 0.1 ms to 10 s. The zero value is ready; it must not be copied. All methods may be
// called from any goroutine, and none blocks.
type Histogram struct {
	counts [buckets]atomic.Uint64
	sum    atomic.Int64 // nanoseconds
}

// Observe counts one duration; a negative one counts as 0.
func (h *Histogram) Observe(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	h.counts[i].Add(1)
	if d > 0 {
		h.sum.Add(int64(d))
	}
}

// Snapshot returns the counts. They are read one after the other, not at one instant.
func (h *Histogram) Snapshot() Snapshot {
	s := Snapshot{Sum: time.Duration(h.sum.Load())}
	for i := range h.counts {
		s.counts[i] = h.counts[i].Load()
		s.Count += s.counts[i]
	}
	return s
}

// Snapshot is what a Histogram has counted, since it was made. The zero value has counted nothing.
type Snapshot struct {
	Count uint64
	Sum   time.Duration

	counts [buckets]uint64
}

// Bucket is how many durations were not longer than Most, those of the buckets before included.
type Bucket struct {
	Most  time.Duration
	Count uint64
}

// Buckets returns the counts by increasing bounds. The bounds never change. What took longer than the last one is in Count alone.
func (s Snapshot) Buckets() []Bucket {
	list := make([]Bucket, len(bounds))
	var sum uint64
	for i, most := range bounds {
		sum += s.counts[i]
		list[i] = Bucket{most, sum}
	}
	return list
}

// Quantile returns a bound that a part q of the durations, 0 to 1, did not exceed: that of a bucket, so that it is up to two and a
// half times too much. It is 0 if nothing was counted, and the largest duration if the buckets do not reach.
func (s Snapshot) Quantile(q float64) time.Duration {
	if s.Count == 0 {
		return 0
	}
	want := uint64(math.Ceil(q * float64(s.Count)))
	for _, b := range s.Buckets() {
		if b.Count >= want {
			return b.Most
		}
	}
	return math.MaxInt64
}

// Plus returns the sums.
func (s Snapshot) Plus(t Snapshot) Snapshot {
	s.Count += t.Count
	s.Sum += t.Sum
	for i := range s.counts {
		s.counts[i] += t.counts[i]
	}
	return s
}
