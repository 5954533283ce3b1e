package soak

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/limits"
)

const (
	wellBehaved = 8
	echoPause   = 4 * time.Millisecond
)

// hostile is a server with well-behaved clients and those that attack it.
type hostile struct {
	*app
	dial dialFunc
	good []*peer

	pause  time.Duration  // of the well-behaved clients between two messages
	limits *limits.Limits // nil without

	// For the attack under way.
	release chan struct{} // closed when handlers that block shall return
	pauses  uint64        // how many there are when every attacker's inbox is full
	hits    uint64        // how many of the attack's limit there are when each attacker has reached it
}

// attack is one thing that hostile clients do.
type attack struct {
	name string
	// run is what one of them does. It returns an error if the server did not react as it should.
	run func(h *hostile) error
	// memory is what one of them may cost, in bytes; ten times that is the limit.
	memory int64
	// reason that the sockets of the attackers end with; "" if it does not matter or there is none.
	reason server.Reason
	// limited counts something that must have risen at least once for each attacker; nil if there is no such thing.
	limited func(s *server.Stats) uint64
	// hits is a limit of package limits that must have been hit as often; "" if there is none.
	hits string
	// most bounds the number of attackers; 0 means no bound.
	most int
}

// TestHostileClients runs each attack next to well-behaved clients, whose latency is compared with that without attack.
func TestHostileClients(t *testing.T) {
	var opts server.Options
	h := newHostile(t, &opts, echoPause)
	h.withstandAll(t, attacks)
}

// newHostile serves until the test ends, and lets the well-behaved clients in, which make a pause between two messages.
func newHostile(t *testing.T, opts *server.Options, pause time.Duration) *hostile {
	// Heartbeats have no part in this: the well-behaved clients read only while they are measured.
	opts.Engine.PingInterval = time.Hour
	h := &hostile{app: newApp(t, opts), pause: pause}
	h.Of("/").Handle("slow", server.Func(func(ctx context.Context, _ *server.Socket, _ server.Args) error {
		select {
		case <-h.release:
		case <-ctx.Done():
		}
		return nil
	}))
	h.dial = loopback(serveTCP(t, h.app, func(web *http.Server) { web.ConnState = h.Engine().ConnState }))
	for range wellBehaved {
		p, err := dialWebSocket(h.dial, "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.cut)
		if err := p.join("/", "good"); err != nil {
			t.Fatal(err)
		}
		h.good = append(h.good, p)
	}
	return h
}

// withstandAll runs attacks one after the other.
func (h *hostile) withstandAll(t *testing.T, attacks []attack) {
	stop := h.echo(t)
	<-time.After(time.Second)
	control := stop()
	t.Logf("%-40s %v", "no attack", control)
	for _, a := range attacks {
		if !t.Run(a.name, func(t *testing.T) { h.withstand(t, &a, control) }) {
			t.Log("the next ones may fail for the same reason")
		}
	}
}

// echo lets the well-behaved clients exchange messages until stop is called, which returns how long that took them.
func (h *hostile) echo(t testing.TB) (stop func() *Latencies) {
	done := make(chan struct{})
	var clients sync.WaitGroup
	var mu sync.Mutex
	var all Latencies
	for _, p := range h.good {
		clients.Go(func() {
			own, err := p.echo(done, h.pause)
			mu.Lock()
			defer mu.Unlock()
			all.merge(own)
			if err != nil {
				t.Errorf("a well-behaved client: %v", err)
			}
		})
	}
	return func() *Latencies {
		close(done)
		clients.Wait()
		return &all
	}
}

func (p *peer) echo(done <-chan struct{}, wait time.Duration) (*Latencies, error) {
	var l Latencies
	pause := time.NewTicker(wait)
	defer pause.Stop()
	for {
		select {
		case <-done:
			return &l, nil
		case <-pause.C:
		}
		start := time.Now()
		if err := p.alive(); err != nil {
			return &l, err
		}
		l.add(time.Since(start))
	}
}

// alive makes sure that the server answers.
func (p *peer) alive() error {
	if err := p.text(`421["echo","hello"]`); err != nil {
		return err
	}
	_, err := p.await(`431["hello"]`)
	return err
}

func (h *hostile) withstand(t *testing.T, a *attack, control *Latencies) {
	h.release = make(chan struct{})
	n := *attackers
	if a.most > 0 {
		n = min(n, a.most)
	}
	before, stats, inUse := settled(h.Server), h.Stats(), heap()
	h.pauses = stats.InboxPauses + uint64(n)
	var hits map[string]uint64
	if h.limits != nil {
		hits = h.limits.Stats()
		h.hits = hits[a.hits] + uint64(n)
	}
	stop, peak := h.echo(t), peakHeap()
	var running sync.WaitGroup
	start := time.Now()
	for range n {
		running.Go(func() {
			if err := a.run(h); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	elapsed := time.Since(start)
	latency := stop()
	grown := max(int64(peak())-int64(inUse), 0)
	close(h.release)
	t.Logf("%d attackers for %v, %d KiB more heap at most, echo %v", n, elapsed.Round(time.Millisecond), grown>>10, latency)

	awaitCensus(t, h.Server, before, 20*time.Second)
	if limit := 10*int64(n)*a.memory + 32<<20; grown > limit {
		t.Errorf("heap grew by %d bytes, more than %d", grown, limit)
	}
	// The attackers use the same processors; what they cost there must not keep the others waiting.
	for q, floor := range map[float64]time.Duration{0.5: 50 * time.Millisecond, 0.99: 300 * time.Millisecond} {
		if limit := 10 * max(control.Quantile(q), floor); latency.Quantile(q) > limit {
			t.Errorf("echo took %v for the share %v, more than %v", latency.Quantile(q), q, limit)
		}
	}
	after := h.Stats()
	if a.limited != nil && a.limited(&after)-a.limited(&stats) < uint64(n) {
		t.Errorf("the limit is not counted: %d before, %d after", a.limited(&stats), a.limited(&after))
	}
	if after.Panics != 0 {
		t.Errorf("%d panics", after.Panics)
	}
	if a.hits != "" && h.limits.Stats()[a.hits]-hits[a.hits] < uint64(n) {
		t.Errorf("the limit %s is not counted: %d before, %d after", a.hits, hits[a.hits], h.limits.Stats()[a.hits])
	}
	for reason, times := range h.reasonsOf(a.name) {
		if a.reason != "" && reason != a.reason {
			t.Errorf("%d sockets ended with %q, want %q", times, reason, a.reason)
		}
	}
	if a.reason != "" && len(h.reasonsOf(a.name)) == 0 {
		t.Error("no socket")
	}
}

// peakHeap watches the heap until the returned function is called.
func peakHeap() (stop func() uint64) {
	done := make(chan struct{})
	var watching sync.WaitGroup
	var most uint64
	watching.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	})
	return func() uint64 {
		close(done)
		watching.Wait()
		return most
	}
}

// enter opens a websocket session in the main namespace.
func (h *hostile) enter(name string) (*peer, error) {
	p, err := dialWebSocket(h.dial, "")
	if err != nil {
		return nil, err
	}
	if err := p.join("/", name); err != nil {
		p.cut()
		return nil, err
	}
	return p, nil
}

// within runs f on a new session that stays open until f returns.
func within(name string, f func(p *peer) error) func(*hostile) error {
	return func(h *hostile) error {
		p, err := h.enter(name)
		if err != nil {
			return err
		}
		defer p.cut()
		return f(p)
	}
}

// awaitPauses waits until nothing is read from any attacker.
func (h *hostile) awaitPauses() {
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for h.Stats().InboxPauses < h.pauses {
		<-look.C
	}
}

// repeated runs an attack several times one after the other.
func repeated(times int, f func(*hostile) error) func(*hostile) error {
	return func(h *hostile) error {
		for range times {
			if err := f(h); err != nil {
				return err
			}
		}
		return nil
	}
}

// push writes data again and again, up to a number of bytes. It reports whether the server took all of it; otherwise it
// has closed the connection.
func (p *peer) push(data []byte, limit int) (taken int, all bool) {
	for taken < limit {
		n, err := p.conn.Write(data)
		taken += n
		if err != nil {
			return taken, false
		}
	}
	return taken, true
}

// overflow writes data again and again until the server reads no more, because every attacker's inbox is full.
func (h *hostile) overflow(p *peer, data []byte) error {
	const limit = 64 << 20
	rest := data
	for taken := 0; taken < limit; {
		_ = p.conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := p.conn.Write(rest)
		taken += n
		switch {
		case err == nil:
			rest = data
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case h.Stats().InboxPauses >= h.pauses:
			return nil
		default:
			rest = rest[n:]
		}
	}
	return errTook(limit)
}

func errTook(taken int) error { return fmt.Errorf("the server took %d bytes", taken) }
