package kafkaadapter

import (
	"testing"
	"time"
)

// TestPace: nothing waits as long as it is not done too often, and in the long run there is a gap between two.
func TestPace(t *testing.T) {
	for name, tt := range map[string]struct {
		every time.Duration
		took  time.Duration // for a thousand
	}{
		"seldom": {4 * time.Millisecond, 4 * time.Second}, "just so": {2 * time.Millisecond, 2 * time.Second},
		"often": {time.Millisecond, 2*time.Second - atOnce*2*time.Millisecond}, "at once": {0, 2*time.Second - atOnce*2*time.Millisecond},
	} {
		p := pace{gap: 2 * time.Millisecond}
		began := time.Now()
		now := began
		for i := range 1000 {
			if due := began.Add(time.Duration(i) * tt.every); due.After(now) {
				now = due
			}
			if wait := p.wait(now); wait > 0 {
				if tt.every >= p.gap {
					t.Fatalf("%s: it waits for %v", name, wait)
				}
				now = now.Add(wait)
			}
			p.spend(now)
		}
		if took := now.Sub(began); took < tt.took-5*time.Millisecond || took > tt.took+5*time.Millisecond {
			t.Errorf("%s: took %v", name, took)
		}
	}
}
