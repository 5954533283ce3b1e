package soak

import (
	"fmt"
	"math/bits"
	"time"
)

// Latencies is a distribution with a resolution of an eighth, small enough for one per client.
type Latencies struct {
	Buckets [8 * 64]uint32
	Longest time.Duration
}

// bucketOf gives each power of two of nanoseconds eight buckets.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, 8))
	exp := bits.Len64(n) - 4
	return exp*8 + int(n>>exp)&7
}

func (l *Latencies) add(d time.Duration) {
	l.Buckets[bucketOf(d)]++
	l.Longest = max(l.Longest, d)
}

func (l *Latencies) merge(other *Latencies) {
	for i, n := range other.Buckets {
		l.Buckets[i] += n
	}
	l.Longest = max(l.Longest, other.Longest)
}

// Len returns how many there are.
func (l *Latencies) Len() int {
	total := 0
	for _, n := range l.Buckets {
		total += int(n)
	}
	return total
}

// Quantile returns the latency that the share q does not exceed.
func (l *Latencies) Quantile(q float64) time.Duration {
	left := int(q * float64(l.Len()))
	for i, n := range l.Buckets {
		if left -= int(n); left < 0 {
			exp := i / 8
			return min(time.Duration(uint64(i%8+9)<<exp), l.Longest)
		}
	}
	return l.Longest
}

func (l *Latencies) String() string {
	return fmt.Sprintf("p50 %v, p99 %v, p99.9 %v, longest %v, of %d", l.Quantile(0.5).Round(10*time.Microsecond),
		l.Quantile(0.99).Round(10*time.Microsecond), l.Quantile(0.999).Round(10*time.Microsecond),
		l.Longest.Round(10*time.Microsecond), l.Len())
}
