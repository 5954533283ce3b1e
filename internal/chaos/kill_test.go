package chaos

import (
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// slack is how long a call may take longer because a node was killed. The goal is a second; a call that waited for the node
// would take its whole timeout.
const slack = 4500 * time.Millisecond

// TestNodeKilled kills a node with others asking it: once as it is, once frozen before, so that all questions to it are
// open when it goes.
func TestNodeKilled(t *testing.T) {
	inAll(t, func(t *testing.T, flavour string) {
		c := newCluster(t, flavour, setup{})
		c.killDuringCalls(0, 2, false)
		c.revive(2)
		c.killDuringCalls(0, 1, true)
		c.finish()
	})
}

// TestNodeReplaced kills a node to which all questions are open, and has another one in its place at once: it was not asked, but
// makes the number of nodes right. No call waits for it.
func TestNodeReplaced(t *testing.T) {
	inAll(t, func(t *testing.T, flavour string) {
		c := newCluster(t, flavour, setup{})
		c.replaceDuringCalls(0, 2)
		c.finish()
	})
}

// replaceDuringCalls kills a node while another one makes calls, and starts it again at once.
func (c *cluster) replaceDuringCalls(caller, victim int) {
	c.t.Helper()
	dead, begun := c.nodes[victim], time.Now()
	homeless := c.usersOf(dead)
	loop := newCaller(c, c.nodes[caller])
	redistest.Eventually(c.t, "calls are made", func() bool { return loop.each(3, begun) })
	over := c.traffic.begin(trouble{what: "node " + dead.name + " replaced", node: dead.name})
	for _, u := range homeless {
		u.expectEnd()
	}
	dead.freeze()
	redistest.Eventually(c.t, "all questions are open", func() bool { return loop.waits(10 * time.Millisecond) })
	killed := time.Now()
	dead.kill()
	c.start(victim)
	c.t.Logf("replaced after %v", time.Since(killed).Round(time.Millisecond))
	for _, u := range homeless {
		u.leave()
		c.connect(u, c.nodes[victim])
	}
	redistest.Eventually(c.t, "calls are made afterwards", func() bool { return loop.each(3, killed) })
	var slowest time.Duration
	for _, m := range loop.end() {
		if slowest = max(slowest, m.took); m.took > slack || m.Error != "" && !m.AckMissing {
			c.t.Errorf("%s, begun %v after the kill, took %v: %+v", m.path, m.begun.Sub(killed), m.took, m.answer)
		}
	}
	c.t.Logf("slowest call %v", slowest.Round(time.Millisecond))
	c.whole()
	c.crossed(time.Now())
	over()
	c.check(begun, time.Now())
}

// killDuringCalls kills a node while another one makes calls. Its users go to the other nodes.
func (c *cluster) killDuringCalls(caller, victim int, frozen bool) {
	c.t.Helper()
	dead, asking := c.nodes[victim], c.nodes[caller]
	homeless := c.usersOf(dead)
	live := names(slices.DeleteFunc(slices.Clone(c.users), func(u *user) bool { return slices.Contains(homeless, u) }))

	begun := time.Now()
	loop := newCaller(c, asking)
	redistest.Eventually(c.t, "calls are made", func() bool { return loop.each(3, begun) })
	held := c.hold(asking, homeless)
	id := ""
	if asking.kind == current && dead.kind == current {
		id = dead.self().ID
	}
	over := c.traffic.begin(trouble{what: "node " + dead.name + " killed", node: dead.name})
	for _, u := range homeless {
		u.expectEnd()
	}
	if frozen {
		dead.freeze()
		redistest.Eventually(c.t, "all questions are open", func() bool { return loop.waits(100 * time.Millisecond) })
	}
	killed := time.Now()
	dead.kill()
	c.nodes[victim] = nil

	c.checkHeld(<-held, killed, live, id)
	redistest.Eventually(c.t, "calls are made afterwards", func() bool { return loop.each(3, killed) })
	c.checkCalls(asking, loop.end(), killed, live, len(homeless))
	for _, u := range homeless {
		u.leave()
	}
	c.whole()
	for i, u := range homeless {
		c.connect(u, c.nodes[(victim+1+i%2)%3])
	}
	c.whole()
	c.t.Logf("messages to the users of node %s arrive %v after they are back", dead.name, c.crossed(time.Now()).Round(time.Millisecond))
	over()
	c.check(begun, time.Now())
}

// hold lets a node send a broadcast that these users get and do not acknowledge, until they connect anew or setDeaf(false).
func (c *cluster) hold(asking *node, by []*user) <-chan made {
	c.t.Helper()
	for _, u := range by {
		u.setDeaf(true)
	}
	held := make(chan made, 1)
	begun := time.Now()
	go func() {
		a, took, err := asking.call("/hold")
		if err != nil {
			a.Error = err.Error()
		}
		held <- made{"/hold", begun, took, a}
	}()
	redistest.Eventually(c.t, "the node waits for acknowledgements", func() bool {
		return !slices.ContainsFunc(by, func(u *user) bool { return u.holds() == 0 })
	})
	return held
}

// checkHeld looks at the broadcast that users of the dead node had got and not acknowledged. That is no success, unless the
// node has died before it told that it has sockets. It is known soon, what the others answered is there, and the dead node is
// named if its id is known.
func (c *cluster) checkHeld(m made, killed time.Time, live []string, id string) {
	c.t.Helper()
	took := time.Since(killed)
	c.t.Logf("a broadcast whose acknowledgements were open returned %v after the kill: %+v", took.Round(time.Millisecond), m.answer)
	missing := m.AckMissing && m.Failed > 0
	untold := m.Error == "" && m.Expected == len(live)
	if took > slack || !missing && !untold || !includes(m.Values, live) {
		c.t.Errorf("%v after the kill: %+v", took, m.answer)
	}
	if missing && id != "" && !slices.Equal(m.Missing, []string{id}) {
		c.t.Errorf("%v is missing instead of %s", m.Missing, id)
	}
}

// checkCalls looks at the calls made before and after a node was killed.
func (c *cluster) checkCalls(asking *node, all []made, killed time.Time, live []string, homeless int) {
	c.t.Helper()
	var slowest time.Duration
	during := 0
	for _, m := range all {
		end := m.begun.Add(m.took)
		if end.After(killed) {
			after := m.took
			if m.begun.Before(killed) {
				after = end.Sub(killed)
				during++
			}
			slowest = max(slowest, after)
		}
		want := live
		if m.path == "/ask" {
			want = nil
			for _, n := range c.nodes {
				if n != nil && n != asking {
					want = append(want, n.name)
				}
			}
		}
		// Who has got a broadcast and died before the acknowledgement is missing, and only then anything may be.
		inFlight := m.path == "/acks" && m.begun.Before(killed) && end.After(killed) && m.AckMissing && m.Failed <= homeless
		if !includes(m.Values, want) || (m.Error != "" || m.Unanswered > 0) && !inFlight {
			c.t.Errorf("%s, begun %v after the kill, took %v: %+v", m.path, m.begun.Sub(killed), m.took, m.answer)
		}
	}
	c.t.Logf("%d calls, %d under way at the kill; slowest after it %v", len(all), during, slowest.Round(time.Millisecond))
	if slowest > slack {
		c.t.Errorf("a call took %v after the kill", slowest)
	}
}

// revive starts a node again, and its share of the users goes there.
func (c *cluster) revive(i int) {
	c.t.Helper()
	c.start(i)
	for k, u := range c.users {
		if k%3 == i {
			c.move(u, c.nodes[i])
		}
	}
	c.whole()
	c.crossed(time.Now())
}

// move lets a user leave its node, as when the browser goes, and come again at another.
func (c *cluster) move(u *user, n *node) {
	c.t.Helper()
	over := c.traffic.begin(trouble{what: u.name + " moved", user: u.name})
	u.leave()
	c.connect(u, n)
	over()
}
