package latency_test

import (
	"math"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server/latency"
)

func TestHistogram(t *testing.T) {
	var h latency.Histogram
	for _, d := range []time.Duration{-time.Second, 0, 100 * time.Microsecond, 100*time.Microsecond + 1, time.Second, time.Minute} {
		h.Observe(d)
	}
	s := h.Snapshot()
	if want := time.Minute + time.Second + 200*time.Microsecond + 1; s.Count != 6 || s.Sum != want {
		t.Errorf("%d durations, together %v; want 6, %v", s.Count, s.Sum, want)
	}
	want := map[time.Duration]uint64{100 * time.Microsecond: 3, 250 * time.Microsecond: 4, 500 * time.Millisecond: 4, time.Second: 5, 10 * time.Second: 5}
	var last latency.Bucket
	for _, b := range s.Buckets() {
		if b.Most <= last.Most || b.Count < last.Count {
			t.Errorf("%+v follows %+v", b, last)
		}
		if n, ok := want[b.Most]; ok && n != b.Count {
			t.Errorf("%d were not longer than %v, want %d", b.Count, b.Most, n)
		}
		delete(want, b.Most)
		last = b
	}
	if len(want) > 0 {
		t.Errorf("no buckets for %v", want)
	}
	if twice := s.Plus(s); twice.Count != 12 || twice.Sum != 2*s.Sum || twice.Buckets()[0].Count != 6 {
		t.Errorf("twice that is %+v", twice)
	}
}

func TestQuantile(t *testing.T) {
	var h latency.Histogram
	if q := h.Snapshot().Quantile(0.5); q != 0 {
		t.Errorf("of nothing: %v", q)
	}
	for range 99 {
		h.Observe(700 * time.Microsecond)
	}
	h.Observe(time.Hour)
	s := h.Snapshot()
	for q, want := range map[float64]time.Duration{0.01: time.Millisecond, 0.5: time.Millisecond, 0.99: time.Millisecond, 1: math.MaxInt64} {
		if got := s.Quantile(q); got != want {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
}

func TestConcurrently(t *testing.T) {
	var h latency.Histogram
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				h.Observe(time.Millisecond)
			}
		})
	}
	all.Wait()
	if s := h.Snapshot(); s.Count != 8000 || s.Sum != 8*time.Second {
		t.Errorf("%d durations, together %v", s.Count, s.Sum)
	}
}

func BenchmarkObserve(b *testing.B) {
	var h latency.Histogram
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h.Observe(80 * time.Microsecond)
		}
	})
}
