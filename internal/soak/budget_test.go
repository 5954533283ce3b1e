package soak

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

// hoards are the ways to make the server keep input. Each takes about a megabyte in a session of its own, which it leaves
// open.
var hoards = []func(h *hostile) (*peer, error){
	// A websocket message without its end.
	func(h *hostile) (*peer, error) {
		p, err := h.enter("hoard")
		if err == nil {
			_ = p.frame(opBinary, make([]byte, 900_000))
		}
		return p, err
	},
	// A packet that lacks one attachment.
	func(h *hostile) (*peer, error) {
		p, err := h.enter("hoard")
		if err != nil {
			return nil, err
		}
		_ = p.text(`4510-["x"` + strings.Repeat(`,{"_placeholder":true,"num":0}`, 10) + `]`)
		for range 9 {
			_ = p.frame(fin|opBinary, make([]byte, 100_000))
		}
		return p, nil
	},
	// A body without its end.
	func(h *hostile) (*peer, error) {
		p, err := dialPolling(h.dial)
		if err != nil {
			return nil, err
		}
		_ = p.postHead(1_000_000, "4"+strings.Repeat("x", 900_000))
		return p.peer, nil
	},
	// Events whose handler does not return, in ten namespaces.
	func(h *hostile) (*peer, error) {
		p, err := h.enter("hoard")
		if err != nil {
			return nil, err
		}
		for i := range 10 {
			if joined, err := p.tryJoin(fmt.Sprintf("/func-%s-%d", p.sid, i), "{}"); !joined {
				return p, err
			}
		}
		event := `,["slow","` + strings.Repeat("x", 10_000) + `"]`
		for i := range 100 {
			_ = p.conn.SetWriteDeadline(time.Now().Add(200 * time.Millisecond)) // the server may have stopped reading
			if p.text(fmt.Sprintf("42/func-%s-%d", p.sid, i%10)+event) != nil {
				break
			}
		}
		return p, nil
	},
}

// TestInputBudget lets many clients together make the server keep more input than it may. It must not, must say so,
// and must go on serving those who take no part.
func TestInputBudget(t *testing.T) {
	const budget = 8 << 20
	opts := server.Options{Engine: engine.Options{PingInterval: time.Hour, InputTotal: budget}}
	h := &hostile{app: newApp(t, &opts), pause: echoPause, release: make(chan struct{})}
	h.OnNewNamespace(func(n *server.Namespace) {
		n.Handle("slow", server.Func(func(ctx context.Context, _ *server.Socket, _ server.Args) error {
			select {
			case <-h.release:
			case <-ctx.Done():
			}
			return nil
		}))
	})
	h.dial = loopback(serveTCP(t, h.app, nil))
	before := settled(h.Server)
	for range wellBehaved {
		p, err := h.enter("good")
		if err != nil {
			t.Fatal(err)
		}
		h.good = append(h.good, p)
	}
	stop, most := h.echo(t), h.peakInput()
	hoarders := make([]*peer, max(*attackers, 10*len(hoards)))
	var running sync.WaitGroup
	for i := range hoarders {
		running.Go(func() {
			var err error
			if hoarders[i], err = hoards[i%len(hoards)](h); err != nil && h.Stats().Engine.Limits["input_total"] == 0 {
				t.Error(err)
			}
		})
	}
	running.Wait()
	latency := stop()
	peak, after := most(), h.Stats()
	t.Logf("at most %d KiB held, %d clients cut off, echo %v", peak>>10, after.Engine.Limits["input_total"], latency)
	if peak > budget { // that it was reached, the count below tells
		t.Errorf("%d bytes were held, the budget is %d", peak, budget)
	}
	if after.Engine.Limits["input_total"] == 0 || after.Panics != 0 {
		t.Errorf("%+v", after)
	}
	if n := h.reasonsOf("good"); len(n) != 0 {
		t.Errorf("well-behaved clients were cut off: %v", n)
	}
	close(h.release)
	for _, p := range append(hoarders, h.good...) {
		if p != nil {
			p.cut()
		}
	}
	awaitCensus(t, h.Server, before, 20*time.Second)
}

// peakInput watches the bytes of input that the server holds until the returned function is called.
func (h *hostile) peakInput() (stop func() int64) {
	done := make(chan struct{})
	var watching sync.WaitGroup
	var most int64
	watching.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, h.Stats().Engine.InputBytes)
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
	})
	return func() int64 {
		close(done)
		watching.Wait()
		return most
	}
}
