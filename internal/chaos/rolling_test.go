package chaos

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/load"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

var rolling = flag.Int("rolling", 0, "with how many clients TestRollingRestart is made")

const (
	publishEvery = 3 * time.Second // of each client
	drainRate    = 500
	// stockDelay is the first delay of stock clients between two tries, by which half of it is added or taken off at random; it
	// doubles up to stockMost.
	stockDelay = time.Second
	stockMost  = 5 * time.Second
)

// TestRollingRestart restarts the three nodes of `make cluster` one after the other with SIGTERM, while many clients, which come back as
// stock clients do, publish all the time, and says what they notice. The goal: none is away for over 3 s, and the 99th percentile of the
// way of a message and back stays under twice that of a quiet minute.
func TestRollingRestart(t *testing.T) {
	if *rolling == 0 {
		t.Skip("it measures, with -rolling N only; compat-tests/test/proxy-rolling.test.mjs is its short form")
	}
	front := startFront(t)
	target, err := load.ParseTarget("http://" + front.addr)
	if err != nil {
		t.Fatal(err)
	}
	r := &crowd{target: &target, stop: make(chan struct{})}
	r.fill(t, *rolling)
	r.phase.Store(quiet)
	<-time.After(time.Minute)
	r.phase.Store(restarting)
	for i := range front.nodes {
		t.Logf("%s ended after %v", front.nodes[i].name, front.restart(t, i).Round(time.Millisecond))
		<-time.After(5 * time.Second) // the last of its clients come back
	}
	r.phase.Store(settling)
	<-time.After(5 * time.Second)
	r.report(t)
}

// Phases of a measurement.
const (
	filling int32 = iota
	quiet
	restarting
	settling
)

// crowd is many clients.
type crowd struct {
	target *load.Target
	stop   chan struct{}
	phase  atomic.Int32
	all    []*publisher
	each   sync.WaitGroup

	mu       sync.Mutex
	failures map[string]int // of attempts to connect, by text; guarded by mu
}

func (r *crowd) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failures == nil {
		r.failures = make(map[string]int)
	}
	r.failures[err.Error()]++
}

// publisher is one of them. It is a load.Handler.
type publisher struct {
	crowd *crowd
	ended chan struct{} // the connection has

	mu sync.Mutex
	// Guarded by mu.
	sent, back int
	took       [settling + 1][]time.Duration // by phase
	away       []time.Duration
	joined     []time.Time
}

// OnEvent takes a message that is back: ["message-back",nanoseconds].
func (p *publisher) OnEvent(_ *load.Client, args []byte) {
	text := strings.TrimSuffix(string(args), "]")
	nanos, err := strconv.ParseInt(text[strings.LastIndexByte(text, ',')+1:], 10, 64)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.back++
	phase := p.crowd.phase.Load()
	p.took[phase] = append(p.took[phase], time.Since(time.Unix(0, nanos)))
}

// OnAck is not called.
func (p *publisher) OnAck(*load.Client, int, []byte) {}

// OnEnd lets the publisher come again.
func (p *publisher) OnEnd(*load.Client, error, bool) { p.ended <- struct{}{} }

// fill connects them, and waits until all are there.
func (r *crowd) fill(t *testing.T, n int) {
	t.Helper()
	there := make(chan struct{}, n)
	for range n {
		p := &publisher{crowd: r, ended: make(chan struct{}, 1)}
		r.all = append(r.all, p)
		r.each.Go(func() { p.live(there) })
		<-time.After(2 * time.Millisecond)
	}
	t.Cleanup(func() {
		close(r.stop)
		r.each.Wait()
	})
	for range n {
		<-there
	}
}

// live connects again and again as a stock client does, and publishes.
func (p *publisher) live(there chan<- struct{}) {
	var since time.Time // when the connection ended
	for delay := stockDelay; ; delay = min(2*delay, stockMost) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		c, err := load.Connect(ctx, p.crowd.target, nil, "", 0, p)
		cancel()
		if err == nil {
			p.mu.Lock()
			p.joined = append(p.joined, time.Now())
			if !since.IsZero() {
				p.away = append(p.away, time.Since(since))
			} else {
				there <- struct{}{}
			}
			p.mu.Unlock()
			if !p.publish(c) {
				return
			}
			since, delay = time.Now(), stockDelay
		} else {
			p.crowd.failed(err)
		}
		select {
		case <-time.After(delay/2 + rand.N(delay)):
		case <-p.crowd.stop:
			return
		}
	}
}

// publish goes on until the connection ends, and reports false if all is over.
func (p *publisher) publish(c *load.Client) bool {
	timer := time.NewTimer(rand.N(publishEvery))
	defer timer.Stop()
	for {
		select {
		case <-p.crowd.stop:
			c.Cut()
			return false
		case <-p.ended:
			return true
		case <-timer.C:
			timer.Reset(publishEvery)
			if c.Emit(fmt.Appendf(nil, `42["message",%d]`, time.Now().UnixNano())) == nil {
				p.mu.Lock()
				p.sent++
				p.mu.Unlock()
			}
		}
	}
}

// report says what has come of it.
func (r *crowd) report(t *testing.T) {
	t.Helper()
	var took [settling + 1][]time.Duration
	var away []time.Duration
	var joined []time.Time
	sent, back := 0, 0
	for _, p := range r.all {
		p.mu.Lock()
		for i := range took {
			took[i] = append(took[i], p.took[i]...)
		}
		away, joined = append(away, p.away...), append(joined, p.joined[1:]...)
		sent, back = sent+p.sent, back+p.back
		p.mu.Unlock()
	}
	slices.Sort(away)
	slices.SortFunc(joined, time.Time.Compare)
	if len(away) == 0 {
		t.Fatal("nobody was sent away")
	}
	t.Logf("%d times a client was away: %v in the middle, %v at most", len(away), away[len(away)/2], away[len(away)-1])
	r.mu.Lock()
	for text, n := range r.failures {
		t.Logf("%d attempts to connect failed: %s", n, text)
	}
	r.mu.Unlock()
	t.Logf("%d of %d messages did not come back", sent-back, sent)
	most := 0
	for first, next := 0, 0; next < len(joined); next++ {
		for joined[next].Sub(joined[first]) > time.Second {
			first++
		}
		most = max(most, next-first+1)
	}
	t.Logf("at most %d clients came within a second, at %d sent away", most, drainRate)
	for phase, name := range map[int32]string{quiet: "in a quiet minute", restarting: "while nodes were restarted"} {
		all := took[phase]
		slices.Sort(all)
		t.Logf("%s: %d messages came back, 50 %% within %v, 99 %% within %v", name, len(all), all[len(all)/2], all[len(all)*99/100])
	}
	if longest := away[len(away)-1]; longest > 3*time.Second {
		t.Errorf("a client was away for %v", longest)
	}
}

// frontEnd is what deploy/cluster.sh has started.
type frontEnd struct {
	addr  string
	nodes []rollingNode
}

type rollingNode struct {
	name string
	pid  int
	args []string
}

var nodeLine = regexp.MustCompile(`^  (node-\d)  \S+  process (\d+)$`)

// startFront builds the program and starts it three times, with Redis and nginx.
func startFront(t *testing.T) *frontEnd {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "sockeye")
	if out, err := exec.Command("go", "build", "-o", binary, "../../cmd/sockeye").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	port := func() string { _, port, _ := strings.Cut(redistest.FreeAddr(t), ":"); return port }
	f := &frontEnd{addr: "127.0.0.1:" + port()}
	script := exec.Command("../../deploy/cluster.sh")
	script.Env = append(os.Environ(), "PORT="+strings.TrimPrefix(f.addr, "127.0.0.1:"), "REDIS_PORT="+port(),
		"NODE_PORTS="+port()+" "+port()+" "+port(), "SOCKEYE="+binary, "SERVE=--app bench --drain-rate "+strconv.Itoa(drainRate))
	out, err := script.StdoutPipe()
	if err == nil {
		err = redistest.Start(script)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = script.Process.Signal(syscall.SIGINT)
		_ = script.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C stops everything") {
		if m := nodeLine.FindStringSubmatch(lines.Text()); m != nil {
			pid, _ := strconv.Atoi(m[2])
			command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err != nil {
				t.Fatal(err)
			}
			f.nodes = append(f.nodes, rollingNode{m[1], pid, strings.Split(strings.TrimSuffix(string(command), "\x00"), "\x00")})
		}
	}
	if len(f.nodes) != 3 {
		t.Fatalf("there are %d nodes", len(f.nodes))
	}
	go func() { // which would block the script otherwise; it ends with it
		for lines.Scan() {
		}
	}()
	return f
}

// restart ends a node with SIGTERM and starts it again. It returns how long the end took.
func (f *frontEnd) restart(t *testing.T, i int) time.Duration {
	t.Helper()
	n := f.nodes[i]
	began := time.Now()
	process, err := os.FindProcess(n.pid)
	if err == nil {
		err = process.Signal(syscall.SIGTERM)
	}
	if err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, n.name+" ends", func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.pid))
		return err != nil || strings.Contains(string(status), ") Z ")
	})
	took := time.Since(began)
	again := exec.Command(n.args[0], n.args[1:]...)
	if err := redistest.Start(again); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = again.Process.Signal(syscall.SIGINT)
		_ = again.Wait()
	})
	return took
}
