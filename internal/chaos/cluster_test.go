package chaos

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/natstest"
	brokers "github.com/sockeye-io/sockeye/internal/outage"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// perNode is how many users each node has at first.
const perNode = 2

// kafkaServer and natsServer are brokers that can be stopped for a while.
type (
	kafkaServer struct{ *kafkatest.Broker }
	natsServer  struct{ *natstest.Server }
)

func (s kafkaServer) Pause()  { s.Freeze() }
func (s kafkaServer) Resume() { s.Thaw() }
func (s natsServer) Pause()   { s.Freeze() }
func (s natsServer) Resume()  { s.Thaw() }

// cluster is three nodes on one Redis, or another broker, with users who send each other messages.
type cluster struct {
	t       *testing.T
	flavour string
	redis   *redistest.Server // nil with another broker, and on a Redis Cluster
	broker  brokers.Server
	nodes   []*node
	users   []*user
	traffic *traffic
	begun   time.Time
	setup
}

// setup is what is special about a cluster. The zero value is nothing.
type setup struct {
	kinds      [3]kind
	formerNode string          // the binary of former nodes
	servers    []string        // addresses of a Redis Cluster, instead of the one Redis
	brokerAddr string          // of one that is not Redis
	link       *redistest.Link // over which node c reaches Redis
	args       []string        // further ones of each node
}

// newCluster starts everything. When the test ends all messages have been accounted for.
func newCluster(t *testing.T, flavour string, s setup) *cluster {
	t.Helper()
	c := &cluster{t: t, flavour: flavour, traffic: newTraffic(), begun: time.Now(), setup: s}
	c.traffic.parted = s.servers != nil
	switch {
	case s.servers != nil:
	case flavour == "kafka":
		b := kafkatest.Single(t, nil)
		c.broker, c.brokerAddr = kafkaServer{b}, b.Addr
	case flavour == "nats":
		s := natstest.Single(t)
		c.broker, c.brokerAddr = natsServer{s}, s.URL
	default:
		c.redis = redistest.Single(t)
		c.broker = c.redis
	}
	return c.begin()
}

// newLinkedCluster is newCluster with a link to Redis for node c.
func newLinkedCluster(t *testing.T, flavour string) *cluster {
	t.Helper()
	c := &cluster{t: t, flavour: flavour, redis: redistest.Single(t), traffic: newTraffic(), begun: time.Now()}
	c.link = redistest.NewLink(t, c.redis.Addr)
	return c.begin()
}

func (c *cluster) begin() *cluster {
	t := c.t
	t.Helper()
	for i := range 3 {
		c.nodes = append(c.nodes, nil)
		c.start(i)
	}
	t.Cleanup(func() {
		for _, u := range c.users {
			u.leave()
		}
	})
	for i := range 3 * perNode {
		u := &user{name: fmt.Sprintf("u%d", i), traffic: c.traffic}
		c.users = append(c.users, u)
		c.connect(u, c.nodes[i%3])
		c.traffic.add(u)
	}
	c.whole()
	c.traffic.start()
	t.Cleanup(c.traffic.end)
	c.crossed(time.Now())
	return c
}

// start starts a node, again if it was there before.
func (c *cluster) start(i int) {
	c.t.Helper()
	name := string(rune('a' + i))
	addr := strings.Join(c.servers, ",") + c.brokerAddr
	switch {
	case i == 2 && c.link != nil:
		addr = c.link.Addr
	case c.redis != nil:
		addr = c.redis.Addr
	}
	cmd := program(name, addr, c.flavour, c.kinds[i], c.formerNode)
	cmd.Args = append(cmd.Args, c.args...)
	c.nodes[i] = startNode(c.t, name, c.kinds[i], cmd)
}

func (c *cluster) connect(u *user, n *node) {
	c.t.Helper()
	if err := u.connect(n); err != nil {
		c.t.Fatal(err)
	}
}

// usersOf returns the users that are connected to a node.
func (c *cluster) usersOf(n *node) (list []*user) {
	for _, u := range c.users {
		if on, _ := u.on(); on == n {
			list = append(list, u)
		}
	}
	return list
}

// names returns the names of users, sorted.
func names(users []*user) (list []string) {
	for _, u := range users {
		list = append(list, u.name)
	}
	slices.Sort(list)
	return list
}

// includes reports whether all names are in a list.
func includes(list, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(list, name) })
}

// whole waits until every node knows exactly the nodes and users that there are.
func (c *cluster) whole() {
	c.t.Helper()
	var nodes []*node
	var users []*user
	for _, n := range c.nodes {
		if n != nil {
			nodes = append(nodes, n)
			users = append(users, c.usersOf(n)...)
		}
	}
	want := names(users)
	var last string
	defer func() {
		if c.t.Failed() {
			c.t.Log(last)
		}
	}()
	for _, n := range nodes {
		redistest.Eventually(c.t, fmt.Sprintf("node %s knows %d nodes and the users %v", n.name, len(nodes), want), func() bool {
			count, _ := n.ask("/count")
			fetch, _ := n.ask("/fetch")
			slices.Sort(fetch.Values)
			last = fmt.Sprintf("count %+v, fetch %+v", count, fetch)
			return count.Error == "" && count.Expected == len(nodes) && fetch.Error == "" && fetch.Unanswered == 0 &&
				slices.Equal(fetch.Values, want)
		})
	}
}

// crossed waits until a message that was sent after since has crossed between all users, and returns how long that was
// after since.
func (c *cluster) crossed(since time.Time) time.Duration {
	c.t.Helper()
	var apart []string
	defer func() {
		if c.t.Failed() && len(apart) > 0 {
			c.t.Logf("no message crosses from %s", strings.Join(apart, ", "))
		}
	}()
	redistest.Eventually(c.t, "messages cross between all users", func() bool {
		apart = c.traffic.apart(since)
		return len(apart) == 0
	})
	return time.Since(since)
}

// finish ends the traffic and accounts for all of it.
func (c *cluster) finish() {
	c.t.Helper()
	c.traffic.end()
	c.check(c.begun, time.Now())
	for _, u := range c.users {
		u.leave()
	}
}

// check fails the test for everything that has gone wrong since the last time, and for what has not arrived of the messages
// sent between two times.
func (c *cluster) check(since, until time.Time) {
	c.t.Helper()
	redistest.Eventually(c.t, "messages arrive", func() bool { return time.Since(until) > patience/2 || c.traffic.settled(since, until) })
	total, arrived, lost := c.traffic.account(since, until)
	c.t.Logf("%d of %d messages arrived", arrived, total)
	for _, line := range c.traffic.toll(since) {
		c.t.Log(line)
	}
	for _, f := range c.traffic.takeFaults() {
		c.t.Errorf("fault: %s", f)
	}
	for i, l := range lost {
		if i == 20 {
			c.t.Errorf("and %d more", len(lost)-i)
			break
		}
		c.t.Errorf("lost without a reason: %s", l)
	}
}

// level is what nodes have in memory.
type level struct {
	goroutines int
	heap       uint64
}

// levels takes the figures of all nodes of this Sockeye.
func (c *cluster) levels() map[string]level {
	c.t.Helper()
	levels := make(map[string]level)
	for _, n := range c.nodes {
		if n != nil && n.kind == current {
			a, _ := n.ask("/stats")
			levels[n.name] = level{a.Goroutines, a.Heap}
		}
	}
	return levels
}

// sameLevel waits until the nodes have no more in memory than before.
func (c *cluster) sameLevel(before map[string]level) {
	c.t.Helper()
	var now map[string]level
	c.t.Cleanup(func() {
		if c.t.Failed() {
			c.t.Logf("before %v, now %v", before, now)
		}
	})
	redistest.Eventually(c.t, "memory and goroutines of the nodes are as before", func() bool {
		now = c.levels()
		for name, was := range before {
			if is := now[name]; is.goroutines > was.goroutines+10 || is.heap > was.heap+4<<20 {
				return false
			}
		}
		return true
	})
	c.t.Logf("before %v, after %v", before, now)
}

// made is a call and what came of it.
type made struct {
	path  string
	begun time.Time
	took  time.Duration
	answer
}

// caller makes calls to one node in a loop, one goroutine for each kind, until it is ended.
type caller struct {
	stop    chan struct{}
	running sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	calls []made
	open  map[string]time.Time // when the call of a path began that is under way
}

// calls are the kinds of calls that wait for other nodes.
var calls = []string{"/fetch", "/ask", "/acks"}

func newCaller(c *cluster, n *node) *caller {
	l := &caller{stop: make(chan struct{}), open: make(map[string]time.Time)}
	for _, path := range calls {
		l.running.Go(func() {
			pause := time.NewTicker(20 * time.Millisecond)
			defer pause.Stop()
			for {
				if err := l.call(n, path); err != nil {
					c.traffic.fault("%s of node %s: %v", path, n.name, err)
					return
				}
				select {
				case <-l.stop:
					return
				case <-pause.C:
				}
			}
		})
	}
	return l
}

func (l *caller) call(n *node, path string) error {
	begun := time.Now()
	l.mu.Lock()
	l.open[path] = begun
	l.mu.Unlock()
	a, took, err := n.call(path)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, path)
	if err == nil {
		l.calls = append(l.calls, made{path, begun, took, a})
	}
	return err
}

// each reports whether at least n calls of each kind have been made that began after since.
func (l *caller) each(n int, since time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	count := make(map[string]int)
	for _, m := range l.calls {
		if m.begun.After(since) {
			count[m.path]++
		}
	}
	return !slices.ContainsFunc(calls, func(path string) bool { return count[path] < n })
}

// waits reports whether a call of each kind has been under way for some time, as it waits for a node that does not answer.
func (l *caller) waits(d time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !slices.ContainsFunc(calls, func(path string) bool {
		begun, open := l.open[path]
		return !open || time.Since(begun) < d
	})
}

// end lets the calls under way return and gives all that were made.
func (l *caller) end() []made {
	close(l.stop)
	l.running.Wait()
	return l.calls
}
