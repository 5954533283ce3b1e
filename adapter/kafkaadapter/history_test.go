package kafkaadapter

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
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
	seeds := []string{kafkatest.Shared(t).Addr}
	runRecovery(t, func(t *testing.T) func() nodeBuilder {
		prefix := prefixOf(t)
		return func() nodeBuilder { return New(&Options{Seeds: seeds, Prefix: prefix, Logger: quiet()}) }
	})
}
