package brokerstate

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sockeye-io/sockeye/adapter"
)

// oneServer is a Server.
type oneServer struct {
	status *Status
	err    error
}

func (s *oneServer) Status() *Status             { return s.status }
func (s *oneServer) Ready(context.Context) error { return s.err }

func newServer() *oneServer {
	return &oneServer{status: New(Options{Name: "test", Logger: slog.New(slog.DiscardHandler)})}
}

// TestServers waits for the first server, and checks that the worst state counts and that changes of servers that closed are kept.
func TestServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var list Servers[*oneServer]
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := list.Ready(ctx, "carrier"); !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "carrier is not ready: ") {
			t.Errorf("without a server: %v", err)
		}
		ready := make(chan error, 1)
		go func() { ready <- list.Ready(t.Context(), "carrier") }()
		synctest.Wait()
		select {
		case err := <-ready:
			t.Fatalf("ready without a server: %v", err)
		default:
		}
		a, b, reason := newServer(), newServer(), errors.New("cut")
		list.Add(a)
		if err := <-ready; err != nil {
			t.Error(err)
		}
		list.Add(b)
		a.status.Set(nil, adapter.BrokerUp, nil)
		b.status.Set(nil, adapter.BrokerUp, nil)
		b.status.Set(nil, adapter.BrokerDown, reason)
		b.err = reason
		if err := list.Ready(t.Context(), "carrier"); !errors.Is(err, reason) {
			t.Errorf("one of two is not ready: %v", err)
		}
		if state, _, changes, why := list.Worst(); state != adapter.BrokerDown || !errors.Is(why, reason) || changes != 3 {
			t.Errorf("%v, %v, %d changes", state, why, changes)
		}
		list.Remove(b)
		list.Remove(b)
		if state, _, changes, why := list.Worst(); state != adapter.BrokerUp || why != nil || changes != 3 || len(list.Open()) != 1 {
			t.Errorf("one has closed: %v, %v, %d changes, %d open", state, why, changes, len(list.Open()))
		}
	})
}
