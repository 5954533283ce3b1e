package kafkaadapter

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/returning"
	"github.com/sockeye-io/sockeye/server"
)

// TestHistory runs the suite of histories on a real Kafka.
func TestHistory(t *testing.T) { testHistory(t, []string{kafkatest.Shared(t).Addr}) }

// TestHistoryFake runs it on three brokers within the process.
func TestHistoryFake(t *testing.T) { testHistory(t, fake(t, kfake.NumBrokers(3)).ListenAddrs()) }

func testHistory(t *testing.T, seeds []string) {
	adaptertest.RunHistory(t, 3, func(t *testing.T, n int) []adapter.Builder {
		prefix := prefixOf(t)
		builders := make([]adapter.Builder, n)
		for i := range builders {
			builders[i] = New(&Options{Seeds: seeds, Prefix: prefix, Logger: quiet()})
		}
		return builders
	})
}

// TestRecovery has clients go from node to node.
func TestRecovery(t *testing.T) {
	returning.Roam(t, serverNodes(t, 3, kafkatest.Shared(t).Addr), 9, 300)
}

// TestRecoveryOrder has sockets end, and leave rooms, behind what was sent to them.
func TestRecoveryOrder(t *testing.T) {
	returning.Order(t, serverNodes(t, 1, kafkatest.Shared(t).Addr)[0])
}

// serverNodes starts nodes whose clients can go on.
func serverNodes(t *testing.T, n int, seeds ...string) []*returning.Node {
	t.Helper()
	nodes := make([]*returning.Node, n)
	opts := options(t, seeds...)
	for i := range nodes {
		nodes[i] = returning.Start(t, New(&opts), fmt.Sprint("node", i), server.RecoveryOptions{})
	}
	return nodes
}
