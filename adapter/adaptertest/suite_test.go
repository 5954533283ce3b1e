package adaptertest_test

import (
	"fmt"
	"testing"

	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSuite runs the suite on the in-memory cluster. It proves both: that the cluster behaves as an adapter has to, and
// that what the suite expects of several nodes is consistent.
func TestSuite(t *testing.T) {
	for _, nodes := range []int{1, 3} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			adaptertest.Run(t, nodes, func(t *testing.T, nodes int) []adapter.Builder {
				var c adaptertest.Cluster
				var builders []adapter.Builder
				for i := range nodes {
					builders = append(builders, c.Node(adapter.NodeID(fmt.Sprint("n", i))))
				}
				return builders
			})
		})
	}
}
