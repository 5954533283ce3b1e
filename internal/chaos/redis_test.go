package chaos

import (
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// outage is a way to break Redis and to repair it.
type outage struct {
	what   string
	lasts  time.Duration
	breaks func(*redistest.Server)
	heals  func(*redistest.Server)
}

// promptly is how long something may take that does not wait for Redis, or only until it is known to be down, which takes three
// seconds. It has room for slow machines.
const promptly = 6 * time.Second

// TestRedisTrouble breaks Redis under users who talk to each other.
func TestRedisTrouble(t *testing.T) {
	outages := []outage{
		{"redis killed", 2 * time.Second, (*redistest.Server).Kill, (*redistest.Server).Start},
		{"redis paused", 4 * time.Second, (*redistest.Server).Pause, (*redistest.Server).Resume},
	}
	inAll(t, func(t *testing.T, flavour string) {
		c := newCluster(t, flavour, setup{})
		before := c.levels()
		for _, o := range outages {
			c.outage(o)
		}
		c.subscribersKilled()
		c.sameLevel(before)
		c.finish()
	})
}

// outage breaks Redis until every node has noticed and at least as long as it says, then repairs it.
func (c *cluster) outage(o outage) {
	c.t.Helper()
	begun := time.Now()
	held := c.hold(c.nodes[0], c.usersOf(c.nodes[1]))
	over := c.traffic.begin(trouble{what: o.what})
	broken := time.Now()
	o.breaks(c.redis)
	ends := time.NewTimer(o.lasts)
	defer ends.Stop()
	for _, n := range c.nodes {
		redistest.Eventually(c.t, "node "+n.name+" is down", func() bool { a, _ := n.ask("/stats"); return !a.Up })
		c.callsWithoutRedis(n)
	}
	c.interrupted(held, broken)
	<-ends.C
	lasted := time.Since(broken)
	o.heals(c.redis)
	healed := time.Now()
	crossed := c.crossed(healed)
	over()
	c.whole()
	local, answered, refused := c.traffic.slowest(begun)
	c.t.Logf("%s for %v: messages cross again after %v; meanwhile a message on one node took at most %v, an answer to a sender %v, %d were refused",
		o.what, lasted.Round(time.Millisecond), crossed.Round(time.Millisecond), local.Round(time.Millisecond), answered.Round(time.Millisecond), refused)
	if local > promptly || answered > promptly || refused > 0 {
		c.t.Errorf("%s: a local message took %v, an answer %v, %d were refused", o.what, local, answered, refused)
	}
	c.check(begun, time.Now())
}

// interrupted looks at a broadcast that waited for acknowledgements when Redis had trouble: it ends soon and says why, because
// they may be lost.
func (c *cluster) interrupted(held <-chan made, broken time.Time) {
	c.t.Helper()
	m := <-held
	took := m.begun.Add(m.took).Sub(broken)
	c.t.Logf("a broadcast whose acknowledgements were open returned after %v", took.Round(time.Millisecond))
	if !m.Unavailable || took > promptly || !includes(m.Values, names(c.usersOf(c.nodes[0]))) {
		c.t.Errorf("a broadcast whose acknowledgements were open returned after %v: %+v", took, m.answer)
	}
	for _, u := range c.users {
		u.setDeaf(false)
	}
}

// callsWithoutRedis makes calls to a node that knows that Redis is away: they fail at once, with what this node has.
func (c *cluster) callsWithoutRedis(n *node) {
	c.t.Helper()
	for _, path := range append([]string{"/count"}, calls...) {
		a, took := n.ask(path)
		var want []string
		if path == "/fetch" || path == "/acks" {
			want = names(c.usersOf(n))
		}
		if !a.Unavailable || took > promptly || !includes(a.Values, want) {
			c.t.Errorf("%s of node %s without redis took %v: %+v", path, n.name, took, a)
		}
	}
}

// subscribersKilled makes Redis close all connections with subscriptions. What streams carry does not need them.
func (c *cluster) subscribersKilled() {
	c.t.Helper()
	begun := time.Now()
	over := func() {}
	if c.flavour != "streams" {
		over = c.traffic.begin(trouble{what: "subscribers killed"})
	}
	held := c.hold(c.nodes[0], c.usersOf(c.nodes[1]))
	killed := time.Now()
	if c.redis.KillPubSub() == 0 {
		c.t.Error("nobody has subscribed")
	}
	c.interrupted(held, killed)
	c.t.Logf("subscribers killed: messages cross again after %v", c.crossed(killed).Round(time.Millisecond))
	over()
	c.whole()
	c.check(begun, time.Now())
}

// TestRedisEmptied empties Redis several times under users who talk to each other, and then has it start again with nothing. What
// is published needs no keys; entries of a stream that have not been read are gone.
func TestRedisEmptied(t *testing.T) {
	inAll(t, func(t *testing.T, flavour string) {
		c := newCluster(t, flavour, setup{})
		before, begun := c.lives(), time.Now()
		loop := newCaller(c, c.nodes[0])
		over := func() {}
		if flavour == "streams" {
			over = c.traffic.begin(trouble{what: "redis emptied"})
		}
		for range 5 {
			emptied := time.Now()
			c.redis.Do("FLUSHALL")
			c.crossed(emptied)
		}
		over()
		redistest.Eventually(t, "calls are made", func() bool { return loop.each(3, begun) })
		c.whole()
		c.checkCallsWithoutLoss(loop.end())
		c.check(begun, time.Now())

		loop = newCaller(c, c.nodes[0])
		over = c.traffic.begin(trouble{what: "redis started empty"})
		c.redis.Do("FLUSHALL")
		c.redis.Restart()
		restarted := time.Now()
		t.Logf("messages cross again %v after an empty start", c.crossed(restarted).Round(time.Millisecond))
		over()
		c.whole()
		redistest.Eventually(t, "calls are made afterwards", func() bool { return loop.each(3, restarted) })
		for _, m := range loop.end() {
			if m.took > patientCall || m.Error != "" && !m.Unavailable && !m.AckMissing {
				t.Errorf("%s took %v: %+v", m.path, m.took, m.answer)
			}
		}
		c.sameLives(before)
		c.finish()
	})
}

// checkCallsWithoutLoss looks at calls that nothing may disturb, except for answers that streams carry: these may be emptied away,
// and the call then ends with its time.
func (c *cluster) checkCallsWithoutLoss(all []made) {
	c.t.Helper()
	for _, m := range all {
		disturbed := m.took > promptly || m.Error != "" || m.Unanswered > 0 || m.path != "/ask" && !includes(m.Values, names(c.users))
		if m.took > patientCall || disturbed && c.flavour != "streams" {
			c.t.Errorf("%s took %v: %+v", m.path, m.took, m.answer)
		}
	}
}
