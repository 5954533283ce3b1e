package chaos

import (
	"testing"
	"time"
)

// TestNodeFrozen stops a node without closing anything, as a machine that swaps does. Only the first question waits for it.
func TestNodeFrozen(t *testing.T) {
	inAll(t, func(t *testing.T, flavour string) {
		c := newCluster(t, flavour, -1)
		frozen, asking := c.nodes[2], c.nodes[0]
		live := append(c.usersOf(c.nodes[0]), c.usersOf(c.nodes[1])...)
		begun := time.Now()
		over := c.traffic.begin(trouble{what: "node c frozen", node: "c"})
		frozen.freeze()
		// The reference's timeout is 5 s; what is asked afterwards knows better.
		for i, path := range append([]string{"/fetch"}, calls...) {
			a, took := asking.ask(path)
			t.Logf("%s took %v", path, took.Round(time.Millisecond))
			want := names(live)
			if path == "/ask" {
				want = []string{"b"}
			}
			if !includes(a.Values, want) || a.Unanswered != 1 || len(a.Missing) != 1 {
				t.Errorf("%s with a frozen node: %+v", path, a)
			}
			if first := i == 0; first && took < 4*time.Second || first && took > 9*time.Second || !first && took > 4*time.Second {
				t.Errorf("%s took %v", path, took)
			}
		}
		frozen.thaw()
		thawed := time.Now()
		t.Logf("messages cross again after %v", c.crossed(thawed).Round(time.Millisecond))
		over()
		c.whole()
		t.Logf("the node takes part again after %v", time.Since(thawed).Round(time.Millisecond))
		c.check(begun, time.Now())
		c.finish()
	})
}
