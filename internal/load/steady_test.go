package load

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// TestSteadyLatency has a server stop in the middle of a steady rate, for a time. All messages that were to be sent meanwhile have waited
// for it: a generator that sends the next only when the last is back would tell of one.
func TestSteadyLatency(t *testing.T) {
	t.Parallel()
	const pause = 500 * time.Millisecond
	var calls atomic.Int64
	target := serve(t, app{echo: func(s *server.Socket, args server.Args) error {
		if calls.Add(1) == 20 {
			<-time.After(pause)
		}
		return s.Emit("message-back", args)
	}})
	// One sender, whose events the server takes one after the other.
	res, err := Run(t.Context(), Config{Target: target, Scenario: Sparse, Clients: 1, Messages: 100, MessageRate: 100, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	// Those of the first half of the pause wait for half of it or more.
	if p := res.Latency; res.Err() != nil || p.Count != 100 || p.P90 < float64(pause/2/time.Millisecond) {
		t.Errorf("%v, %+v", res.Err(), p)
	}
}

// TestSteadyWithoutAnswer sends on while the server answers nothing at all, and counts what is missing.
func TestSteadyWithoutAnswer(t *testing.T) {
	t.Parallel()
	target := serve(t, app{echo: func(s *server.Socket, args server.Args) error {
		var payload string
		if args.Unmarshal(0, &payload) == nil && payload == "probe" {
			return s.Emit("message-back", args)
		}
		return nil
	}})
	res, err := Run(t.Context(), Config{Target: target, Scenario: Sparse, Clients: 10, Messages: 50, MessageRate: 1000, Timeout: stall})
	if err != nil {
		t.Fatal(err)
	}
	if res.Messages.Expected != 50 || res.Messages.Lost != 50 || res.Err() == nil {
		t.Errorf("%+v, want 50 lost", res.Messages)
	}
}
