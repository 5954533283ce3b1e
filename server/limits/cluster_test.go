package limits_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/limits"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

// burst sends events until one is refused and returns how many were not.
func burst(s *servertest.Socket) (passed int) {
	for passed < 1000 && !strings.Contains(string(s.EmitWithAck("echo", 1).At(0).JSON), "user_events") {
		passed++
	}
	return passed
}

// A user on two nodes has on each of them half of what a user on one node has, however many clients it has there; others have theirs.
func TestUserEventsAcrossNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cluster, store := new(adaptertest.Cluster), users.NewMemoryStore()
		var nodes []*node
		for _, name := range []string{"a", "b"} {
			n := start(t, &limits.Options{UserEvents: limits.Rate{PerSecond: 10, Burst: 20}}, &server.Options{
				Adapter: cluster.Node(adapter.NodeID(name)), NodeName: name,
			})
			dir, err := users.New(n.Server, users.Options{Store: store, Mixed: users.MixedOff, Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := dir.Close(); err != nil {
					t.Error(err)
				}
			})
			n.limits.Follow(dir)
			n.Of("/").Handle("login", server.FuncAck(func(ctx context.Context, s *server.Socket, user string) (bool, error) {
				return true, dir.Bind(ctx, s, user, nil)
			}))
			nodes = append(nodes, n)
		}
		time.Sleep(20 * time.Second) // the directories find each other
		login := func(n *node, user string) *servertest.Socket {
			s := n.connect(t, "192.0.2.1:1")
			expectReply(t, s.EmitWithAck("login", user), "true")
			return s
		}
		eveA, eveB, ann := login(nodes[0], "eve"), login(nodes[1], "eve"), login(nodes[0], "ann")
		time.Sleep(time.Second)
		for _, s := range []*servertest.Socket{eveA, eveB, ann} {
			burst(s)
		}
		// What comes in from now on is the rate, or half of it.
		time.Sleep(time.Second)
		half, other, whole := burst(eveA), burst(eveB), burst(ann)
		if half < 4 || half > 6 || other < 4 || other > 6 || whole < 9 || whole > 11 {
			t.Errorf("in a second %d and %d events of a user on two nodes, %d of one on one", half, other, whole)
		}
		eveB.Client().Close()
		time.Sleep(time.Minute)
		burst(eveA)
		time.Sleep(time.Second)
		if n := burst(eveA); n < 9 || n > 11 {
			t.Errorf("%d events in a second of a user who is on one node again", n)
		}
	})
}
