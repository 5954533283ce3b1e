package chaos

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// lives returns the life of each node by its name, as it tells it itself.
func (c *cluster) lives() map[string]nodeInfo {
	c.t.Helper()
	lives := make(map[string]nodeInfo)
	for _, n := range c.nodes {
		lives[n.name] = n.self()
	}
	return lives
}

// sameLives waits until every node knows all the others as alive, and with the lives that they had before. No life is over for
// anybody.
func (c *cluster) sameLives(before map[string]nodeInfo) {
	c.t.Helper()
	for _, n := range c.nodes {
		var last answer
		c.t.Cleanup(func() {
			if c.t.Failed() {
				c.t.Logf("node %s knows %v; changes %v", n.name, last.Nodes, last.Changes)
			}
		})
		redistest.Eventually(c.t, "node "+n.name+" knows all lives", func() bool {
			last, _ = n.ask("/nodes")
			for _, known := range last.Nodes {
				if known != before[known.Name] {
					return false
				}
			}
			return len(last.Nodes) == len(before)
		})
		if slices.ContainsFunc(last.Changes, func(change string) bool { return strings.HasSuffix(change, " over") }) {
			c.t.Errorf("node %s takes lives for over: %v", n.name, last.Changes)
		}
	}
}

// unheard waits until a node has stopped to wait for another one.
func (c *cluster) unheard(by, n *node) {
	c.t.Helper()
	redistest.Eventually(c.t, fmt.Sprintf("node %s is silent for node %s", n.name, by.name), func() bool {
		a, _ := by.ask("/nodes")
		return slices.ContainsFunc(a.Nodes, func(known nodeInfo) bool { return known.Name == n.name && known.State != "alive" })
	})
}

// lasting lets a trouble go on until it has lasted for some time.
func lasting(since time.Time, d time.Duration) { <-time.After(time.Until(since.Add(d))) }

// silence is how long others wait at most for a node of which nothing is heard: three heartbeats and a bit, and until they have
// looked. It has room for slow machines.
const silence = 10*time.Second + 2*time.Second

// TestLinkCut cuts the link of one node to Redis. Redis does not hear of it, and counts the node as before.
func TestLinkCut(t *testing.T) {
	lasts := 13 * time.Second
	if *minutes > 0 {
		lasts = time.Minute
	}
	inAll(t, func(t *testing.T, flavour string) {
		c := newLinkedCluster(t, flavour)
		before, begun, away := c.lives(), time.Now(), c.nodes[2]
		loops := []*caller{newCaller(c, c.nodes[0]), newCaller(c, c.nodes[1])}
		redistest.Eventually(t, "calls are made", func() bool { return loops[0].each(3, begun) && loops[1].each(3, begun) })
		over := c.traffic.begin(trouble{what: "link of node c cut", node: "c", link: true})
		cut := time.Now()
		c.link.Cut()
		redistest.Eventually(t, "node c is down", func() bool { a, _ := away.ask("/stats"); return !a.Up })
		c.callsWithoutRedis(away)
		c.unheard(c.nodes[0], away)
		c.unheard(c.nodes[1], away)
		t.Logf("the others do not wait any more after %v", time.Since(cut).Round(time.Millisecond))
		lasting(cut, lasts)
		c.link.Mend()
		mended := time.Now()
		crossed := c.crossed(mended)
		c.whole()
		t.Logf("messages cross again after %v, the cluster is whole after %v", crossed.Round(time.Millisecond), time.Since(mended).Round(time.Millisecond))
		over()
		redistest.Eventually(t, "calls are made afterwards", func() bool { return loops[0].each(3, mended) && loops[1].each(3, mended) })
		for i, loop := range loops {
			c.checkCallsWithout(away, c.nodes[i], loop.end(), cut, mended)
		}
		c.sameLives(before)
		c.check(begun, time.Now())
		c.finish()
	})
}

// checkCallsWithout looks at the calls that a node made while another one could not answer: none waited for longer than the
// silence, those that began afterwards hardly at all, and what the rest said is there.
func (c *cluster) checkCallsWithout(away, asking *node, all []made, gone, back time.Time) {
	c.t.Helper()
	live := names(slices.DeleteFunc(slices.Clone(c.users), func(u *user) bool { on, _ := u.on(); return on == away }))
	var slowest made
	var later time.Duration
	for _, m := range all {
		if m.took > slowest.took {
			slowest = m
		}
		quiet := m.begun.After(gone.Add(silence))
		if quiet {
			later = max(later, m.took)
		}
		want := live
		if m.path == "/ask" {
			want = nil
			for _, n := range c.nodes {
				if n != away && n != asking {
					want = append(want, n.name)
				}
			}
		}
		whole := m.begun.Add(m.took).Before(gone) || m.begun.After(back.Add(silence))
		refused := m.Error != "" && !m.AckMissing && !m.AckTimeout
		if m.took > silence || quiet && m.took > promptly || refused || whole && (m.Error != "" || m.Unanswered > 0) || !includes(m.Values, want) {
			c.t.Errorf("%s of node %s, begun %v after the node was gone, took %v: %+v", m.path, asking.name, m.begun.Sub(gone), m.took, m.answer)
		}
	}
	c.t.Logf("node %s: %d calls, the slowest %v (%s, begun after %v: %+v), after the silence %v", asking.name, len(all), slowest.took.Round(time.Millisecond),
		slowest.path, slowest.begun.Sub(gone).Round(time.Millisecond), slowest.answer, later.Round(time.Millisecond))
}
