package kafkaadapter

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestOutage kills or freezes the only broker while messages are under way: none is lost, doubled or out of order, it is noticed, and
// what is of use for a moment only fails at once.
func TestOutage(t *testing.T) {
	for name, trouble := range map[string]struct{ begin, end func(*kafkatest.Broker) }{
		"killed":  {(*kafkatest.Broker).Kill, (*kafkatest.Broker).Start},
		"stopped": {(*kafkatest.Broker).Stop, (*kafkatest.Broker).Start},
		"frozen":  {(*kafkatest.Broker).Freeze, (*kafkatest.Broker).Thaw},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "killed" {
				onlyLong(t)
			}
			server := kafkatest.Victim(t)
			nodes := join(t, options(t, server.Addr), options(t, server.Addr))
			from, to := nodes[0], nodes[1]
			stop := from.stream(t)
			redistest.Eventually(t, "messages arrive", func() bool { return len(to.numbers(t, from)) > 50 })
			trouble.begin(server)
			noticed := []time.Duration{from.awaitState(t, Down), to.awaitState(t, Down)}
			began := time.Now()
			if _, err := from.FetchSockets(within(t), adapter.Selection{}, adapter.Flags{}); !errors.Is(err, adapter.ErrClusterUnavailable) {
				t.Errorf("a question ended with %v", err)
			}
			err := from.Broadcast(event(t, "volatile"), adapter.Selection{}, adapter.Flags{Volatile: true})
			if !errors.Is(err, adapter.ErrClusterUnavailable) {
				t.Errorf("a volatile packet ended with %v", err)
			}
			if took := time.Since(began); took > time.Second {
				t.Errorf("that took %v", took)
			}
			trouble.end(server)
			back := from.awaitState(t, Up)
			to.awaitState(t, Up)
			to.hears(t, from, 1, stop())
			t.Logf("noticed after %v, up again %v after its end; %+v", noticed, back, from.kafka.Stats())
			redistest.Eventually(t, "a question is answered", func() bool {
				r, err := from.FetchSockets(within(t), adapter.Selection{}, adapter.Flags{})
				return err == nil && r.Complete()
			})
		})
	}
}

// TestCutOff cuts one node off from Kafka for a while: it hears afterwards what was said meanwhile, in order, and the others hear it.
func TestCutOff(t *testing.T) {
	server := kafkatest.Shared(t)
	link := redistest.NewLink(t, server.Addr)
	nodes := join(t, options(t, server.Addr), through(options(t, server.Addr), link.Addr))
	there, cut := nodes[0], nodes[1]
	stopThere, stopCut := there.stream(t), cut.stream(t)
	redistest.Eventually(t, "messages arrive", func() bool { return len(there.numbers(t, cut)) > 50 && len(cut.numbers(t, there)) > 50 })
	link.Cut()
	cut.awaitState(t, Down)
	link.Mend()
	cut.awaitState(t, Up)
	cut.hears(t, there, 1, stopThere())
	there.hears(t, cut, 1, stopCut())
}

// TestStartsLater opens a node before there is a Kafka: it does not wait, and works when there is one.
func TestStartsLater(t *testing.T) {
	server := kafkatest.Victim(t)
	server.Kill()
	began := time.Now()
	a, b := start(t, options(t, server.Addr)), start(t, options(t, server.Addr))
	if took := time.Since(began); took > time.Second {
		t.Errorf("opening took %v", took)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := a.kafka.Ready(ctx); err == nil {
		t.Error("it is ready without kafka")
	}
	a.awaitState(t, Down)
	if err := a.say(t, 1); err != nil {
		t.Error(err)
	}
	server.Start()
	for _, n := range []*node{a, b} {
		if err := n.kafka.Ready(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	redistest.Eventually(t, "they know each other", func() bool {
		n, err := a.ServerCount(within(t))
		return err == nil && n == 2
	})
	if err := a.say(t, 2); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "a message arrives", func() bool { return slices.Contains(b.numbers(t, a), 2) })
}
