package chaos

import (
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestNodeDrained is a rolling restart: each node gets SIGTERM and is started again, while another one makes calls. Calls neither fail nor
// wait for the node that goes, and no message is lost but of users who are being sent away.
func TestNodeDrained(t *testing.T) {
	inAll(t, func(t *testing.T, flavour string) {
		c := newCluster(t, flavour, setup{})
		begun := time.Now()
		for victim := range 3 {
			since := time.Now()
			loop := newCaller(c, c.nodes[(victim+1)%3])
			redistest.Eventually(t, "calls are made", func() bool { return loop.each(3, since) })
			for i, u := range c.drain(victim) {
				c.connect(u, c.nodes[(victim+1+i%2)%3])
			}
			c.start(victim)
			since = time.Now()
			redistest.Eventually(t, "calls are made afterwards", func() bool { return loop.each(3, since) })
			var slowest time.Duration
			for _, m := range loop.end() {
				if slowest = max(slowest, m.took); m.took > slack || m.Error != "" && !m.AckMissing {
					t.Errorf("%s took %v: %+v", m.path, m.took, m.answer)
				}
			}
			t.Logf("slowest call %v", slowest.Round(time.Millisecond))
			c.whole()
			c.crossed(time.Now())
		}
		c.check(begun, time.Now())
		c.finish()
	})
}

// drain has a node send its users away and end, in peace. It returns each user that was on it as soon as its connection has ended, one
// after the other; until the next one is asked for, or the node has ended, the user is away.
func (c *cluster) drain(victim int) func(yield func(int, *user) bool) {
	c.t.Helper()
	n := c.nodes[victim]
	return func(yield func(int, *user) bool) {
		gone := make(chan *user)
		users := c.usersOf(n)
		back := make(map[*user]func())
		for _, u := range users {
			u.expectMove()
			back[u] = c.traffic.begin(trouble{what: "user sent away", user: u.name})
			go func() {
				u.reading.Wait()
				gone <- u
			}()
		}
		if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			c.t.Error(err)
		}
		for i := range users {
			u := <-gone
			if yield(i, u) { // which has connected it
				back[u]()
			}
		}
		n.stop()
	}
}
