package soak

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

const (
	broadcastEvery = 40 * time.Millisecond // with up to 1,000 clients, longer with more: one machine must be able to do it
	broadcastBytes = 8 << 10
	controlTime    = 4 * time.Second
	freezeTime     = 9 * time.Second // longer than it takes to fill the buffers of a frozen client and the 5 s after that
	kernelBuffer   = 16 << 10
	freezeOutbox   = 256 << 10
)

// listeners are clients in one process that receive broadcasts.
type listeners struct {
	Latencies        // of those that read
	Lost      int    // clients that read and were closed
	Error     string `json:",omitempty"`
}

// listen opens clients, of which some never read after their CONNECT, and measures until the server says "end" or done is
// closed.
func listen(dial dialFunc, clients, frozen int, ready func(), done <-chan struct{}) *listeners {
	var result listeners
	var mu sync.Mutex
	var readers sync.WaitGroup
	peers := make([]*peer, 0, clients)
	for i := range clients {
		p, err := listener(dial, i < frozen)
		if err != nil {
			result.Error = err.Error()
			break
		}
		peers = append(peers, p)
		if i < frozen {
			continue
		}
		readers.Go(func() {
			own, ended := p.measure()
			mu.Lock()
			defer mu.Unlock()
			result.merge(own)
			if !ended {
				result.Lost++
			}
		})
	}
	ready()
	if result.Error == "" {
		readers.Wait()
		<-done
	}
	for _, p := range peers {
		p.cut()
	}
	readers.Wait()
	return &result
}

func listener(dial dialFunc, frozen bool) (*peer, error) {
	p, err := dialWebSocket(dial, "")
	if err != nil {
		return nil, err
	}
	path := "listener"
	if frozen {
		path = "frozen"
		_ = p.conn.(*net.TCPConn).SetReadBuffer(kernelBuffer)
	}
	return p, p.join("/", path)
}

// measure reads broadcasts and returns how long after they were made they came. It reports whether it saw the last one.
func (p *peer) measure() (*Latencies, bool) {
	var l Latencies
	for {
		m, err := p.read()
		if err != nil {
			return &l, false
		}
		rest, ok := strings.CutPrefix(m, `42["at",`)
		if !ok {
			if strings.HasPrefix(m, `42["end"`) {
				return &l, true
			}
			continue
		}
		digits, _, _ := strings.Cut(rest, ",")
		at, _ := strconv.ParseInt(digits, 10, 64)
		l.add(time.Duration(time.Now().UnixNano() - at))
	}
}

// TestFrozenClients lets one client in a hundred stop reading while all receive a steady broadcast.
func TestFrozenClients(t *testing.T) {
	total := *clients
	frozen := max(total/100, 1)
	control := broadcast(t, total, 0, controlTime)
	frozenRun := broadcast(t, total, frozen, freezeTime)
	t.Logf("%d clients, a broadcast of %d bytes every %v", total, broadcastBytes, pace(total))
	t.Logf("none frozen: %v; %d KiB more heap at most", &control.Latencies, control.grown>>10)
	t.Logf("%d frozen: %v; %d KiB more heap at most, %d KiB queued at most",
		frozen, &frozenRun.Latencies, frozenRun.grown>>10, frozenRun.queued>>10)

	if got := frozenRun.stats.Engine.Limits["slow_consumer"]; got != uint64(frozen) {
		t.Errorf("%d slow consumers, want %d", got, frozen)
	}
	if frozenRun.stats.Engine.Drops["slow_consumer"] == 0 {
		t.Error("no dropped packets are counted for the slow consumers")
	}
	if got := frozenRun.reasons["frozen"]; len(got) != 1 || got[engine.ReasonTransportError] != frozen {
		t.Errorf("frozen clients ended with %v, want %d times %q", got, frozen, engine.ReasonTransportError)
	}
	for _, r := range []*broadcastRun{control, frozenRun} {
		if r.Lost > 0 || r.Len() == 0 {
			t.Errorf("%d clients that read were closed; %d broadcasts received", r.Lost, r.Len())
		}
	}
	if limit := 10 * max(control.Quantile(0.99), 20*time.Millisecond); frozenRun.Quantile(0.99) > limit {
		t.Errorf("p99 is %v beside frozen clients, more than %v", frozenRun.Quantile(0.99), limit)
	}
	// The messages are shared: those of one backlog, and ten times that.
	if limit := int64(10 * 2 * freezeOutbox); frozenRun.queued > limit {
		t.Errorf("%d bytes queued, more than %d", frozenRun.queued, limit)
	}
	if limit := control.grown + uint64(10*frozen*2*freezeOutbox); frozenRun.grown > limit {
		t.Errorf("heap grew by %d bytes, more than %d", frozenRun.grown, limit)
	}
}

func pace(clients int) time.Duration { return broadcastEvery * time.Duration(max(1, clients/1000)) }

type broadcastRun struct {
	listeners
	stats   server.Stats
	reasons map[string]map[server.Reason]int
	queued  int64  // most bytes queued
	grown   uint64 // most growth of the heap
}

// broadcast runs a server with clients, of which some are frozen, and broadcasts to them for a time.
func broadcast(t *testing.T, total, frozen int, d time.Duration) *broadcastRun {
	t.Helper()
	opts := server.Options{Engine: engine.Options{OutboxLimit: freezeOutbox}}
	a := newApp(t, &opts)
	addr := serveTCP(t, a, func(web *http.Server) {
		web.ConnState = func(conn net.Conn, state http.ConnState) {
			if tcp, ok := conn.(*net.TCPConn); ok && state == http.StateNew {
				_ = tcp.SetWriteBuffer(kernelBuffer) // the kernel's own choice grows to megabytes
			}
		}
	})
	run := &broadcastRun{reasons: make(map[string]map[server.Reason]int)}
	start, end := startListeners(t, addr, total, frozen)
	<-start
	if got := a.Stats().Sockets; got != total {
		t.Fatalf("%d sockets, want %d", got, total)
	}
	before := heap()
	steady := time.NewTicker(pace(total))
	defer steady.Stop()
	over, begin := time.After(d), time.Now()
	padding := strings.Repeat("x", broadcastBytes)
	for more := true; more; {
		select {
		case <-steady.C:
			_ = a.Of("/").Emit("at", time.Now().UnixNano(), padding)
			run.sample(a, before)
		case <-over:
			// On a busy machine it takes longer until the frozen clients are behind far enough.
			more = a.Stats().Sockets > total-frozen && time.Since(begin) < patience
			over = time.After(pace(total))
		}
	}
	eventually(t, 5*time.Second, func() bool { return a.Stats().Sockets == total-frozen })
	if got := a.Stats().Sockets; got != total-frozen {
		t.Errorf("%d sockets are left, want %d", got, total-frozen)
	}
	run.stats = a.Stats()
	for _, path := range []string{"frozen", "listener"} {
		run.reasons[path] = a.reasonsOf(path)
	}
	_ = a.Of("/").Emit("end")
	run.listeners = *end()
	if run.Error != "" {
		t.Fatal(run.Error)
	}
	return run
}

func (r *broadcastRun) sample(a *app, before uint64) {
	r.queued = max(r.queued, a.Stats().Engine.QueuedBytes)
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapInuse > before {
		r.grown = max(r.grown, m.HeapInuse-before)
	}
}

// startListeners opens the clients, in this process or others. The channel is closed when all are there; the function
// waits for their end.
func startListeners(t *testing.T, addr string, total, frozen int) (ready <-chan struct{}, end func() *listeners) {
	done, there := make(chan struct{}), make(chan struct{})
	results := make(chan *listeners)
	parts := max(*processes, 1)
	var missing atomic.Int32
	missing.Store(int32(parts))
	arrived := func() {
		if missing.Add(-1) == 0 {
			close(there)
		}
	}
	for i := range parts {
		n, f := total/parts, frozen/parts
		if i == 0 {
			n, f = total-n*(parts-1), frozen-f*(parts-1)
		}
		go func() {
			if *processes == 0 {
				results <- listen(loopback(addr), n, f, arrived, done)
			} else {
				results <- listenElsewhere(t.Context(), addr, n, f, arrived)
			}
		}()
	}
	return there, func() *listeners {
		close(done)
		all := <-results
		for range parts - 1 {
			one := <-results
			all.merge(&one.Latencies)
			all.Lost += one.Lost
			all.Error += one.Error
		}
		return all
	}
}

// listenElsewhere runs clients in another process of this test binary.
func listenElsewhere(ctx context.Context, addr string, n, frozen int, ready func()) *listeners {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-listen-to", addr, "-clients", strconv.Itoa(n),
		"-listen-frozen", strconv.Itoa(frozen))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		ready()
		return &listeners{Error: err.Error()}
	}
	lines := bufio.NewReader(out)
	_, err = lines.ReadString('\n')
	ready()
	var result listeners
	if err == nil {
		err = json.NewDecoder(lines).Decode(&result)
	}
	if waited := cmd.Wait(); err == nil {
		err = waited
	}
	if err != nil {
		result.Error = err.Error()
	}
	return &result
}

// listenInProcess is the main function of such a process: a line when all clients are there, then the result.
func listenInProcess() int {
	done := make(chan struct{})
	close(done)
	result := listen(loopback(*listenTo), *clients, *listenFrozen, func() { fmt.Println("ready") }, done)
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		return 1
	}
	return 0
}
