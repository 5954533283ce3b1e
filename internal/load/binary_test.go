package load

import (
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// TestBinary sends payloads as attachments, which take several reads each.
func TestBinary(t *testing.T) {
	target := serve(t, app{})
	for _, tc := range []struct {
		cfg  Config
		want int64
	}{
		{Config{Scenario: Echo, Clients: 3, Messages: 30, Size: 1_000_000}, 30},
		{Config{Scenario: Burst, Clients: 5, Copies: 3, Rounds: 2, Size: 20_000}, 30},
		{Config{Scenario: Single, Clients: 5, Rounds: 4, Size: 1_000_000}, 20},
		{Config{Scenario: Targeted, Clients: 5, Messages: 50, InFlight: 3, Size: 20_000}, 50},
	} {
		t.Run(tc.cfg.Scenario, func(t *testing.T) {
			cfg := tc.cfg
			cfg.Target, cfg.Binary, cfg.Timeout = target, true, time.Minute
			res, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if res.Err() != nil || res.Messages.Delivered != tc.want || res.Messages.Foreign != 0 {
				t.Errorf("%v, %+v, want %d", res.Err(), res.Messages, tc.want)
			}
		})
	}
}

// TestBinaryCut has a server that answers with a part of the attachment, which is no message.
func TestBinaryCut(t *testing.T) {
	t.Parallel()
	target := serve(t, app{echo: func(s *server.Socket, args server.Args) error {
		var data []byte
		if args.Unmarshal(0, &data) != nil || len(data) < MinSize {
			return s.Emit("message-back", args) // the probe
		}
		return s.Emit("message-back", data[:len(data)-1])
	}})
	res, err := Run(t.Context(), Config{Target: target, Scenario: Echo, Binary: true, Clients: 1, Messages: 10, Timeout: stall})
	if err != nil {
		t.Fatal(err)
	}
	if res.Messages.Foreign != 1 || res.Messages.Lost != 1 {
		t.Errorf("%+v, want one that is foreign and lost", res.Messages)
	}
}
