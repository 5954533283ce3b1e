package kafkaadapter

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

func everything(string) bool { return true }

// TestSuiteOrdered runs the suite where nodes get their own broadcasts back from the log.
func TestSuiteOrdered(t *testing.T) {
	prefix := prefixOf(t)
	seeds := []string{kafkatest.Shared(t).Addr}
	adaptertest.Run(t, 3, func(t *testing.T, n int) []adapter.Builder {
		builders := make([]adapter.Builder, n)
		for i := range builders {
			builders[i] = New(&Options{Seeds: seeds, Prefix: prefix, Logger: quiet(), Ordered: everything})
		}
		return builders
	})
}

// sequence is a node that notes what is delivered.
type sequence struct {
	*adaptertest.Node
	mu  sync.Mutex
	got []string
}

func (s *sequence) Deliver(p *parser.Packet, _ adapter.Selection, _ adapter.Flags) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, string(p.JSON))
}

func (s *sequence) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// TestOrdered has three nodes broadcast at the same time: the sockets of all get everything in one and the same order.
func TestOrdered(t *testing.T) {
	const nodes, messages = 3, 200
	prefix, seeds := prefixOf(t), []string{kafkatest.Shared(t).Addr}
	var here [nodes]*sequence
	var adapters [nodes]adapter.Adapter
	for i := range here {
		here[i] = &sequence{Node: adaptertest.NewNode("/chat")}
		k := New(&Options{Seeds: seeds, Prefix: prefix, Logger: quiet(), Ordered: everything})
		c, err := k.Open(adapter.Node{ID: adapter.NewNodeID(), Name: fmt.Sprint("node", i)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if adapters[i], err = c.New(here[i]); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = adapters[i].Close()
			_ = c.Close()
		})
	}
	for _, a := range adapters {
		redistest.Eventually(t, "the nodes know each other", func() bool {
			n, err := a.ServerCount(t.Context())
			return err == nil && n == nodes
		})
	}
	var sending sync.WaitGroup
	for i, a := range adapters {
		sending.Go(func() {
			for k := range messages {
				p, err := parser.MarshalEvent("n", i, k)
				if err != nil {
					t.Error(err)
				}
				packet := &parser.Packet{Type: parser.Event, Namespace: "/chat", ID: parser.NoID, Payload: p}
				if err := a.Broadcast(packet, adapter.Selection{}, adapter.Flags{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	sending.Wait()
	for i, s := range here {
		redistest.Eventually(t, fmt.Sprintf("node %d has everything", i), func() bool { return len(s.all()) == nodes*messages })
	}
	first := here[0].all()
	t.Logf("begins with %v", first[:10])
	for i, s := range here[1:] {
		if other := s.all(); !slices.Equal(first, other) {
			t.Errorf("nodes 0 and %d have different orders", i+1)
		}
	}
}
