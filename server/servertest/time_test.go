package servertest_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// bubble runs a test in virtual time.
func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// within checks how much virtual time has passed since start: want, and no more than the engine's ticks beyond it.
func within(t *testing.T, start time.Time, want time.Duration) {
	t.Helper()
	const slack = 100 * time.Millisecond
	if d := time.Since(start); d < want || d > want+slack {
		t.Errorf("took %v, want %v", d, want)
	}
}

var patient = &servertest.Options{Timeout: time.Hour}

func TestHeartbeatKeepsClientsConnected(t *testing.T) {
	for _, transport := range transports {
		bubble(t, transport, func(t *testing.T) {
			n := start(t, nil, nil)
			s := n.Dial(t, &servertest.DialOptions{Transport: transport}).Connect("/", nil)
			time.Sleep(3 * time.Hour)
			s.EmitWithAck("echo")
		})
	}
}

func TestPingTimeout(t *testing.T) {
	for _, transport := range transports {
		bubble(t, transport, func(t *testing.T) {
			n := start(t, nil, patient)
			c := n.Dial(t, &servertest.DialOptions{Transport: transport, Raw: true})
			c.Connect("/", nil)
			begin := time.Now()
			if got := <-n.reasons; got != engine.ReasonPingTimeout {
				t.Errorf("reason %q", got)
			}
			within(t, begin, 45*time.Second)
			c.ExpectClosed()
		})
	}
}

func TestStalledClientTimesOut(t *testing.T) {
	for _, transport := range transports {
		bubble(t, transport, func(t *testing.T) {
			n := start(t, nil, nil)
			c := n.Dial(t, &servertest.DialOptions{Transport: transport})
			c.Connect("/", nil)
			synctest.Wait()
			c.Stall()
			begin := time.Now()
			if got := <-n.reasons; got != engine.ReasonPingTimeout {
				t.Errorf("reason %q", got)
			}
			within(t, begin, 45*time.Second)
			c.Resume()
			c.ExpectClosed()
		})
	}
}

func TestAbandonedPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, nil, nil)
		n.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling, Stalled: true})
		time.Sleep(44 * time.Second)
		if got := n.srv.Stats().Engine.Sessions; got != 1 {
			t.Errorf("%d sessions before the deadline", got)
		}
		time.Sleep(2 * time.Second)
		if got := n.srv.Stats().Engine.Sessions; got != 0 {
			t.Errorf("%d sessions after the deadline", got)
		}
	})
}

func TestConnectTimeout(t *testing.T) {
	for _, transport := range transports {
		bubble(t, transport, func(t *testing.T) {
			n := start(t, nil, patient)
			begin := time.Now()
			n.Dial(t, &servertest.DialOptions{Transport: transport}).ExpectClosed()
			within(t, begin, 45*time.Second)
		})
	}
}

func TestUpgradeTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, nil, patient)
		c := n.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
		s := c.Connect("/", nil)
		begin := time.Now()
		probe := c.Probe()
		if got := probe.ExpectClosed(); got.Code != 1005 {
			t.Errorf("the probe ended with %v", got)
		}
		within(t, begin, 10*time.Second)
		s.EmitWithAck("echo") // the session goes on
		c.Upgrade()
		s.EmitWithAck("echo")
	})
}

func TestUpgradeInVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, nil, nil)
		c := n.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
		s := c.Connect("/", nil)
		peer, _ := n.srv.Of("/").Socket(s.ID())
		const events = 200
		var emitter sync.WaitGroup
		emitter.Go(func() {
			for i := range events {
				if err := peer.Emit("n", i, []byte{byte(i)}); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
		defer emitter.Wait()
		time.Sleep(events / 4 * time.Millisecond)
		c.Upgrade()
		for i := range events {
			s.Expect("n", i, []byte{byte(i)})
		}
	})
}

// TestSlowConsumer has a client that stops reading while the server sends.
func TestSlowConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &server.Options{Engine: engine.Options{OutboxLimit: 10_000}}, &servertest.Options{BufferSize: 1000})
		slow, quick := n.Connect(t, "/", nil), n.Connect(t, "/", nil)
		slow.Client().Stall()
		text := strings.Repeat("x", 1000)
		begin := time.Now()
		for n.srv.Stats().Sockets == 2 && time.Since(begin) < time.Minute {
			if err := n.srv.Of("/").Emit("news", text); err != nil {
				t.Fatal(err)
			}
			quick.Expect("news", text)
			time.Sleep(100 * time.Millisecond)
		}
		if got := <-n.reasons; got != engine.ReasonTransportError {
			t.Errorf("reason %q", got)
		}
		if d := time.Since(begin); d < 5*time.Second || d > 10*time.Second {
			t.Errorf("the slow client was cut after %v", d)
		}
		slow.Client().Resume()
		if got := slow.Client().ExpectClosed(); got.Code != 1006 {
			t.Errorf("the slow client ended with %v", got)
		}
	})
}

func TestStallAndResume(t *testing.T) {
	for _, transport := range transports {
		bubble(t, transport, func(t *testing.T) {
			n := start(t, nil, nil)
			s := n.Dial(t, &servertest.DialOptions{Transport: transport}).Connect("/", nil)
			s.Client().Stall()
			s.Emit("echo", 1)
			time.Sleep(30 * time.Second) // past the ping, not past its deadline
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if p, err := s.Client().Read(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a stalled client read %v, %v", p, err)
			}
			s.Client().Resume()
			s.Expect("echo", 1)
			time.Sleep(time.Hour)
			s.EmitWithAck("echo")
		})
	}
}

// TestUnansweredClose leaves the server waiting for the answer to its close frame.
func TestUnansweredClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, nil, nil)
		c := n.Dial(t, &servertest.DialOptions{Raw: true})
		c.Send("4x")
		if got := c.ExpectClosed(); got.Code != 1005 {
			t.Errorf("ended with %v", got)
		}
		time.Sleep(29 * time.Second)
		if got := n.srv.Stats().Engine.Closing; got != 1 {
			t.Errorf("%d closing handshakes", got)
		}
		time.Sleep(2 * time.Second)
		if got := n.srv.Stats().Engine.Closing; got != 0 {
			t.Errorf("%d closing handshakes after the deadline", got)
		}
	})
}

func TestAckTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, nil, patient)
		s := n.Connect(t, "/", nil)
		peer, _ := n.srv.Of("/").Socket(s.ID())
		begin := time.Now()
		if _, err := server.EmitWithAck[string](t.Context(), peer, "question"); !errors.Is(err, server.ErrAckTimeout) {
			t.Errorf("err %v", err)
		}
		within(t, begin, 10*time.Second)
		s.Expect("question").Ack("too late")
		synctest.Wait()
		if got := n.srv.Stats().UnknownAcks; got != 1 {
			t.Errorf("%d unknown acknowledgements", got)
		}
	})
}
