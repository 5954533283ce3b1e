package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestTwoVersions upgrades a cluster of former nodes node by node, with users who talk to each other all the time. Nodes of both
// kinds are killed and ask each other, and one upgrade is taken back. Then an operator works on nodes of both kinds.
func TestTwoVersions(t *testing.T) {
	if *minutes == 0 {
		t.Skip("the former nodes are built with -minutes only: make chaos")
	}
	formerNode := buildFormer(t)
	chosen := *seed
	if chosen == 0 {
		chosen = rand.Uint64()
	}
	t.Logf("-seed %d", chosen)
	t.Run("upgrade", func(t *testing.T) {
		inAll(t, func(t *testing.T, flavour string) {
			c := newCluster(t, flavour, setup{kinds: [3]kind{former, former, former}, formerNode: formerNode})
			c.everything()
			c.replace(2, current, false)
			c.everything()
			c.killDuringCalls(0, 2, true) // a former node asks, a current one dies
			c.revive(2)
			c.killDuringCalls(2, 0, true) // and the other way round
			c.revive(0)
			for range 3 {
				c.replaceDuringCalls(0, 2)
				c.replaceDuringCalls(2, 0)
			}
			c.everything()
			c.replace(2, former, true) // the upgrade is taken back
			c.everything()
			c.replace(2, current, true)
			c.replace(1, current, true)
			c.everything()
			c.killDuringCalls(1, 0, false)
			c.revive(0)
			c.replace(0, current, false)
			c.everything()
			c.sameLives(c.lives())
			c.finish()
		})
	})
	for i, flavour := range flavours {
		t.Run(flavour, func(t *testing.T) {
			c := newCluster(t, flavour, setup{kinds: [3]kind{former, current, current}, formerNode: formerNode})
			operate(c, rand.New(rand.NewPCG(chosen, uint64(i))))
		})
	}
}

// replace ends a node and starts one of another kind with its name. Its users come again there; all others notice nothing. In good
// order means that the node is told to end, else it is killed.
func (c *cluster) replace(i int, k kind, inGoodOrder bool) {
	c.t.Helper()
	begun, old := time.Now(), c.nodes[i]
	users := c.usersOf(old)
	over := c.traffic.begin(trouble{what: "node replaced", node: old.name})
	for _, u := range users {
		u.expectEnd()
	}
	if inGoodOrder {
		old.stop()
	} else {
		old.kill()
	}
	c.kinds[i] = k
	c.start(i)
	for _, u := range users {
		u.leave()
		c.connect(u, c.nodes[i])
	}
	c.whole()
	c.t.Logf("node %s is now %q; messages cross after %v", old.name, k, c.crossed(time.Now()).Round(time.Millisecond))
	over()
	c.check(begun, time.Now())
}

// everything has each node do everything that a cluster does, and looks at what comes of it on all.
func (c *cluster) everything() {
	c.t.Helper()
	begun := time.Now()
	for i, n := range c.nodes {
		c.asks(n)
		c.notes(n)
		c.moves(n, c.nodes[(i+1)%3])
	}
	c.crossed(time.Now())
	c.check(begun, time.Now()) // now: later on something has an excuse
	for _, n := range c.nodes {
		c.disconnects(n)
	}
	c.whole()
	c.check(begun, time.Now())
}

// asks has a node ask all others: they answer completely and promptly.
func (c *cluster) asks(n *node) {
	c.t.Helper()
	for _, path := range calls {
		want := names(c.users)
		if path == "/ask" {
			want = nil
			for _, other := range c.nodes {
				if other != n {
					want = append(want, other.name)
				}
			}
		}
		for range 5 {
			a, took := n.ask(path)
			slices.Sort(a.Values)
			if !slices.Equal(a.Values, want) || a.Error != "" || a.Unanswered != 0 || a.Failed != 0 || took > promptly {
				c.t.Errorf("%s of node %s, which is %q, took %v: %+v", path, n.name, n.kind, took, a)
			}
		}
	}
}

// notes has a node emit server-side events: all others handle them once and in order.
func (c *cluster) notes(n *node) {
	c.t.Helper()
	var want []string
	before := make(map[*node]int)
	for _, other := range c.nodes {
		a, _ := other.ask("/notes")
		before[other] = len(a.Values)
	}
	for i := range 5 {
		text := fmt.Sprintf("%s%d", n.name, i)
		want = append(want, text)
		if a, _ := n.ask("/note?text=" + text); a.Error != "" {
			c.t.Errorf("/note of node %s: %+v", n.name, a)
		}
	}
	for _, other := range c.nodes {
		if other == n {
			continue
		}
		var got []string
		redistest.Eventually(c.t, fmt.Sprintf("node %s gets the events of node %s", other.name, n.name), func() bool {
			a, _ := other.ask("/notes")
			got = a.Values[before[other]:]
			return len(got) >= len(want)
		})
		if !slices.Equal(got, want) {
			c.t.Errorf("node %s got %v from node %s, want %v", other.name, got, n.name, want)
		}
	}
}

// moves has a node put all users into a room, another one ask and broadcast there, and the first one empty the room.
func (c *cluster) moves(n, other *node) {
	c.t.Helper()
	if a, _ := n.ask("/join?room=all"); a.Error != "" {
		c.t.Errorf("/join of node %s: %+v", n.name, a)
	}
	in := func(by *node, want []string) {
		c.t.Helper()
		redistest.Eventually(c.t, fmt.Sprintf("node %s finds %v in the room that node %s made", by.name, want, n.name), func() bool {
			a, _ := by.ask("/fetch?in=all")
			slices.Sort(a.Values)
			return a.Error == "" && slices.Equal(a.Values, want)
		})
	}
	in(other, names(c.users))
	a, took := other.ask("/acks?in=all")
	slices.Sort(a.Values)
	if !slices.Equal(a.Values, names(c.users)) || a.Error != "" || took > promptly {
		c.t.Errorf("/acks of node %s in a room that node %s made took %v: %+v", other.name, n.name, took, a)
	}
	if a, _ := n.ask("/leave?room=all&in=all"); a.Error != "" {
		c.t.Errorf("/leave of node %s: %+v", n.name, a)
	}
	in(other, nil)
}

// disconnects has a node disconnect a user of each other node; they come again where they were.
func (c *cluster) disconnects(n *node) {
	c.t.Helper()
	for _, other := range c.nodes {
		if other == n {
			continue
		}
		u := c.usersOf(other)[0]
		over := c.traffic.begin(trouble{what: "user disconnected", user: u.name})
		u.expectEnd()
		if a, _ := n.ask("/disconnect?in=" + u.name); a.Error != "" {
			c.t.Errorf("/disconnect of node %s: %+v", n.name, a)
		}
		redistest.Eventually(c.t, fmt.Sprintf("node %s disconnects %s from node %s", n.name, u.name, other.name), func() bool {
			on, _ := u.on()
			return on == nil
		})
		u.leave()
		c.connect(u, other)
		over()
	}
}
