package load

import (
	"math"
	"net"
	"testing"
	"time"
)

func TestPercentiles(t *testing.T) {
	var l latencies
	for i := range 1000 {
		l.add(i, time.Duration(i+1)*time.Millisecond)
	}
	packed, err := packHistogram(l.take())
	if err != nil {
		t.Fatal(err)
	}
	sum := newHistogram()
	for range 2 {
		if err := mergePacked(sum, packed); err != nil {
			t.Fatal(err)
		}
	}
	p := percentiles(sum)
	if p.Count != 2000 || !near(p.P50, 500) || !near(p.P90, 900) || !near(p.P99, 990) || !near(p.P999, 999) || !near(p.Max, 1000) || !near(p.Mean, 500.5) {
		t.Errorf("%+v", p)
	}
	if rest := l.take(); rest.TotalCount() != 0 || percentiles(rest) != nil {
		t.Errorf("%d values are left", rest.TotalCount())
	}
	l.add(0, -time.Hour)
	l.add(1, time.Hour)
	if p := percentiles(l.take()); p.Count != 2 || !near(p.Max, 600_000) {
		t.Errorf("%+v, want extreme values brought into range", p)
	}
}

// near allows for the two significant digits of the histogram.
func near(got, want float64) bool { return math.Abs(got-want) <= want/100 }

func TestShare(t *testing.T) {
	for _, n := range []int{0, 1, 7, 1000} {
		for workers := 1; workers < 5; workers++ {
			sum := 0
			for i := range workers {
				part := share(n, i, workers)
				if part < n/workers || part > n/workers+1 {
					t.Errorf("worker %d of %d gets %d of %d", i, workers, part, n)
				}
				sum += part
			}
			if sum != n {
				t.Errorf("%d workers get %d of %d", workers, sum, n)
			}
		}
	}
}

// TestSources holds that many clients of a server on this machine come from several addresses.
func TestSources(t *testing.T) {
	start := func(int) (*Link, error) { return nil, nil }
	for _, tc := range []struct {
		cfg  Config
		want int
	}{
		{Config{Clients: 10_000, Target: Target{Address: "127.0.0.1:1"}}, 0},
		{Config{Clients: 60_000, Target: Target{Address: "127.0.0.1:1"}}, 3},
		{Config{Clients: 30_000, Target: Target{Address: "localhost:1", Transport: Polling}}, 3},
		{Config{Clients: 60_000, Target: Target{Address: "192.0.2.1:1"}}, 0},
		{Config{Clients: 60_000, Target: Target{Address: "127.0.0.1:1"}, Sources: []net.IP{net.IPv4(127, 0, 0, 9)}}, 1},
	} {
		tc.cfg.Scenario, tc.cfg.Start = Idle, start
		c, err := tc.cfg.normal()
		if err != nil || len(c.Sources) != tc.want {
			t.Errorf("%+v: %v, %v, want %d sources", tc.cfg, c.Sources, err, tc.want)
		}
	}
}

func TestSlope(t *testing.T) {
	points := []MemoryPoint{{Clients: 2000, Resident: 20_000_000}, {Clients: 10_000, Resident: 52_000_000}}
	if got := slope(points, func(p MemoryPoint) int64 { return p.Resident }); !near(got, 4000) {
		t.Errorf("slope %v, want 4000", got)
	}
	if got := slope(points[:1], func(p MemoryPoint) int64 { return p.Resident }); got != 0 {
		t.Errorf("slope %v of one point", got)
	}
}
