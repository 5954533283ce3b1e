package soak

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// defaultHeartbeat is how long a silent client keeps its session with the default options.
const defaultHeartbeat = 45 * time.Second

// linger is how long a websocket connection whose peer is silent outlives its session.
const linger = 30 * time.Second

// churn is one run of many sessions.
type churn struct {
	*app
	dial dialFunc
	// blackHole is how long a client that has gone silent keeps its connections open.
	blackHole time.Duration

	serial  atomic.Uint64
	pending sync.WaitGroup // sessions that wait for a deadline of the server

	mu sync.Mutex
	// Guarded by mu.
	errs map[string]int
}

// hold keeps the connections of a silent client open for a time.
func (c *churn) hold(d time.Duration, peers ...*peer) {
	c.pending.Add(1)
	time.AfterFunc(d, func() {
		defer c.pending.Done()
		for _, p := range peers {
			p.cut()
		}
	})
}

// wait runs what waits for a deadline beside the other sessions.
func (c *churn) wait(path string, f func() error) {
	c.pending.Go(func() { c.check(path, f()) })
}

func (c *churn) check(path string, err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs[path+": "+err.Error()]++
}

// enter opens a websocket session in the main namespace.
func (c *churn) enter(path string) (*peer, error) {
	p, err := dialWebSocket(c.dial, "")
	if err != nil {
		return nil, err
	}
	if err := p.join("/", path); err != nil {
		p.cut()
		return nil, err
	}
	return p, nil
}

// enterPolling opens a polling session in the main namespace.
func (c *churn) enterPolling(path string) (*poller, error) {
	p, err := dialPolling(c.dial)
	if err != nil {
		return nil, err
	}
	if err := p.join("/", path); err != nil {
		p.cut()
		return nil, err
	}
	return p, nil
}

// run makes n sessions, each on one of the paths in turn, with some at the same time, and returns when all are over for
// their clients.
func (c *churn) run(n, parallel int) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range parallel {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				path := &exitPaths[i%len(exitPaths)]
				c.check(path.name, path.run(c, path.name))
			}
		})
	}
	workers.Wait()
	c.pending.Wait()
}

// verify compares what clients and sockets met with what they should have met.
func (c *churn) verify(t *testing.T) {
	t.Helper()
	for _, text := range slices.Sorted(maps.Keys(c.errs)) {
		t.Errorf("%d times %s", c.errs[text], text)
	}
	if in, out := c.connected.Load(), c.disconnected.Load(); in != out || in == 0 {
		t.Errorf("%d sockets connected and %d disconnected", in, out)
	}
	for _, path := range exitPaths {
		reasons := c.reasonsOf(path.name)
		if len(reasons) == 0 && len(path.reasons) > 0 {
			t.Errorf("%s: no socket", path.name)
		}
		for reason, n := range reasons {
			if !slices.Contains(path.reasons, reason) {
				t.Errorf("%s: %d sockets ended with %q, want one of %q", path.name, n, reason, path.reasons)
			}
		}
	}
	if s := c.Stats(); s.Panics != 0 {
		t.Errorf("%d panics", s.Panics)
	}
}

// chatter broadcasts until the returned function is called, so that sessions end with packets on the way.
func (c *churn) chatter(interval time.Duration) (stop func()) {
	var talking sync.WaitGroup
	done := make(chan struct{})
	talking.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_ = c.Of("/").To("all").Emit("tick", "tock")
				_ = c.Of("/").Volatile().Emit("tick", []byte("tock"))
			case <-done:
				return
			}
		}
	})
	return func() {
		close(done)
		talking.Wait()
	}
}

// TestChurnInMemory ends sessions in every way with the default deadlines, in virtual time.
func TestChurnInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := server.Options{}
		c := &churn{app: newApp(t, &opts), errs: make(map[string]int)}
		c.blackHole = defaultHeartbeat + linger + time.Second
		srv := servertest.New(t, c.app.Server, &servertest.Options{
			BufferSize: 16 << 10, Timeout: time.Hour,
			Configure: func(web *http.Server) { web.ReadHeaderTimeout = 10 * time.Second },
		})
		c.dial = func() (net.Conn, error) { return srv.DialContext(t.Context(), "", "") }
		before := countInBubble(c.Server)

		stop := c.chatter(time.Second)
		c.run(10*len(exitPaths), len(exitPaths))
		time.Sleep(linger + time.Second)
		stop()
		awaitCensusInBubble(t, c.Server, before)
		c.verify(t)
	})
}

// TestChurnOverTCP ends sessions in every way over TCP, with resets and without. The long form (-sessions) does so in
// waves and also compares the heap.
func TestChurnOverTCP(t *testing.T) {
	opts := server.Options{
		Engine: engine.Options{
			PingInterval: 2 * time.Second, PingTimeout: 2 * time.Second, UpgradeTimeout: 2 * time.Second,
		},
		ConnectTimeout: 3 * time.Second, AckTimeout: time.Second,
	}
	if *sessions > 0 {
		// So many at a time can keep a client waiting for seconds.
		opts.Engine.PingInterval, opts.Engine.PingTimeout = 5*time.Second, 5*time.Second
		opts.ConnectTimeout, opts.Engine.UpgradeTimeout = 8*time.Second, 5*time.Second
	}
	c := &churn{app: newApp(t, &opts), errs: make(map[string]int)}
	c.blackHole = opts.Engine.PingInterval + opts.Engine.PingTimeout + time.Second
	c.dial = loopback(serveTCP(t, c.app, func(web *http.Server) { web.ReadHeaderTimeout = opts.ConnectTimeout }))
	before := settled(c.Server)
	if *sessions == 0 {
		stop := c.chatter(20 * time.Millisecond)
		c.run(3*len(exitPaths), 16)
		stop()
		awaitCensus(t, c.Server, before, time.Minute)
		c.verify(t)
		return
	}
	c.blackHole += linger
	var first uint64
	for wave := range *waves {
		start := time.Now()
		stop := c.chatter(20 * time.Millisecond)
		c.run(*sessions / *waves, 64)
		stop()
		elapsed := time.Since(start)
		awaitCensus(t, c.Server, before, 2*time.Minute)
		inUse := heap()
		writeProfile(t, fmt.Sprintf("wave%d.pprof", wave+1))
		t.Logf("wave %d: %d sessions in %v; then %+v, heap in use %d KiB",
			wave+1, *sessions / *waves, elapsed.Round(time.Second), count(c.Server), inUse>>10)
		if wave == 0 {
			first = inUse
		}
		// Maps and pools keep the size of their busiest moment, which waves do not share.
		if limit := first + first/20 + 1<<20; inUse > limit {
			t.Errorf("heap in use is %d after wave %d, %d after the first", inUse, wave+1, first)
		}
	}
	c.verify(t)
	for _, path := range exitPaths {
		t.Logf("%-44s %v", path.name, c.reasonsOf(path.name))
	}
}

// name makes a name that no other session uses.
func (c *churn) name(prefix string) string { return fmt.Sprintf("%s%d", prefix, c.serial.Add(1)) }
