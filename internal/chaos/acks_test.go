package chaos

import (
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestAcksOnCluster has a node ask for the acknowledgements of all users, again and again, with a Node.js node in the cluster, on a
// Redis Cluster. Node.js publishes each message at any master, so that an acknowledgement can overtake the number of sockets that it
// belongs to.
func TestAcksOnCluster(t *testing.T) {
	if !*withReference {
		t.Skip("a Node.js node takes part with -reference only: make chaos")
	}
	servers := redistest.Cluster(t)
	c := newCluster(t, "pubsub", setup{kinds: [3]kind{current, reference, current}, servers: servers.Addrs()})
	var slowest time.Duration
	for i := range 50 {
		a, took := c.nodes[0].ask("/acks")
		slices.Sort(a.Values)
		slowest = max(slowest, took)
		if !slices.Equal(a.Values, names(c.users)) || a.Error != "" || a.Expected != len(c.users) || a.Failed != 0 || a.Unanswered != 0 || took > time.Second {
			t.Errorf("broadcast %d took %v: %+v", i, took, a)
		}
	}
	t.Logf("the slowest of 50 took %v", slowest.Round(time.Millisecond))
	c.finish()
}
