package adapter_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemory(t *testing.T) {
	adaptertest.Run(t, 1, func(t *testing.T, nodes int) []adapter.Builder {
		if nodes != 1 {
			t.Fatalf("the in-memory adapter has one node, not %d", nodes)
		}
		return []adapter.Builder{adapter.Memory()}
	})
}

func TestMemoryHistory(t *testing.T) {
	adaptertest.RunHistory(t, 1, func(*testing.T, int) []adapter.Builder {
		return []adapter.Builder{adapter.Memory()}
	})
}
