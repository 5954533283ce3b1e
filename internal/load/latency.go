package load

import (
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	latencyShards = 8
	// From 1 us to 10 minutes with two significant digits: about 20 KB.
	maxLatency = 10 * time.Minute
	precision  = 2
)

// latencies collects durations from many goroutines.
type latencies [latencyShards]struct {
	mu   sync.Mutex
	hist *hdrhistogram.Histogram // guarded by mu; nil while empty
}

// add records a duration; shard is any number that differs between goroutines.
func (l *latencies) add(shard int, d time.Duration) {
	s := &l[uint(shard)%latencyShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hist == nil {
		s.hist = newHistogram()
	}
	_ = s.hist.RecordValue(int64(min(max(d, time.Microsecond), maxLatency) / time.Microsecond)) // within its range
}

// take returns what was recorded since the last call.
func (l *latencies) take() *hdrhistogram.Histogram {
	sum := newHistogram()
	for i := range l {
		s := &l[i]
		s.mu.Lock()
		if s.hist != nil {
			sum.Merge(s.hist)
			s.hist = nil
		}
		s.mu.Unlock()
	}
	return sum
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(maxLatency/time.Microsecond), precision)
}

// packHistogram makes a histogram text (base64) for the way from a worker to the coordinator.
func packHistogram(h *hdrhistogram.Histogram) (string, error) {
	if h.TotalCount() == 0 {
		return "", nil
	}
	data, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return "", fmt.Errorf("encode histogram: %w", err)
	}
	return string(data), nil
}

func mergePacked(sum *hdrhistogram.Histogram, packed string) error {
	if packed == "" {
		return nil
	}
	h, err := hdrhistogram.Decode([]byte(packed))
	if err != nil {
		return fmt.Errorf("decode histogram: %w", err)
	}
	sum.Merge(h)
	return nil
}

// Percentiles of a set of durations, in milliseconds.
type Percentiles struct {
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p999_ms"`
	Max   float64 `json:"max_ms"`
}

func percentiles(h *hdrhistogram.Histogram) *Percentiles {
	if h.TotalCount() == 0 {
		return nil
	}
	ms := func(us int64) float64 { return float64(us) / 1000 }
	return &Percentiles{
		Count: h.TotalCount(), Mean: h.Mean() / 1000, Max: ms(h.Max()),
		P50: ms(h.ValueAtQuantile(50)), P90: ms(h.ValueAtQuantile(90)),
		P99: ms(h.ValueAtQuantile(99)), P999: ms(h.ValueAtQuantile(99.9)),
	}
}
