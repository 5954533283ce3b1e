package chaos

import (
	"slices"
	"testing"
	"time"
)

// frozenFor is how long TestNodeFrozen stops a node: longer than the others need to see that it is silent.
const frozenFor = 15 * time.Second

// TestNodeFrozen stops a node without closing anything, as a machine that swaps does. Only the first question waits for it. When it
// wakes up it goes on with its life, and takes nobody for dead.
func TestNodeFrozen(t *testing.T) {
	inAll(t, func(t *testing.T, flavour string) {
		c := newCluster(t, flavour, setup{})
		frozen, asking := c.nodes[2], c.nodes[0]
		live := append(c.usersOf(c.nodes[0]), c.usersOf(c.nodes[1])...)
		begun, before := time.Now(), c.lives()
		changes, _ := frozen.ask("/nodes")
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
			if !includes(a.Values, want) || a.Unanswered != 1 || !slices.Equal(a.Missing, []string{before["c"].ID}) {
				t.Errorf("%s with a frozen node: %+v", path, a)
			}
			if first := i == 0; first && took < 4*time.Second || first && took > 9*time.Second || !first && took > 4*time.Second {
				t.Errorf("%s took %v", path, took)
			}
		}
		c.unheard(asking, frozen)
		c.unheard(c.nodes[1], frozen)
		if a, took := c.nodes[1].ask("/fetch"); !includes(a.Values, names(live)) || took > promptly {
			t.Errorf("/fetch of a node that knows that another one is silent took %v: %+v", took, a)
		}
		lasting(begun, frozenFor)
		frozen.thaw()
		thawed := time.Now()
		t.Logf("messages cross again after %v", c.crossed(thawed).Round(time.Millisecond))
		over()
		c.whole()
		t.Logf("the node takes part again after %v", time.Since(thawed).Round(time.Millisecond))
		c.sameLives(before)
		if a, _ := frozen.ask("/nodes"); !slices.Equal(a.Changes, changes.Changes) {
			t.Errorf("the frozen node saw changes of others: %v, before %v", a.Changes, changes.Changes)
		}
		c.check(begun, time.Now())
		c.finish()
	})
}
