package redistest_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

func TestSingle(t *testing.T) {
	s := redistest.Single(t, "--requirepass", "secret")
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket, Password: "secret"})
	defer rdb.Close()
	if err := rdb.Ping(context.Background()).Err(); err != nil {
		t.Error(err)
	}
	s.Pause()
	s.Resume()
	s.Restart()
	if n := s.KillPubSub(); n != 0 {
		t.Errorf("%d connections with subscriptions", n)
	}
}

func TestTLS(t *testing.T) {
	s, config := redistest.TLS(t)
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr, TLSConfig: config})
	defer rdb.Close()
	if err := rdb.Ping(context.Background()).Err(); err != nil {
		t.Error(err)
	}
}

func TestCluster(t *testing.T) {
	c := redistest.Cluster(t)
	rdb := c.Client()
	defer rdb.Close()
	ctx := context.Background()
	if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	from := c.Owner("k")
	to := c.Servers[0]
	if from == to {
		to = c.Servers[1]
	}
	c.MoveSlot("k", to)
	if now := c.Owner("k"); now != to {
		t.Errorf("the slot is at %s, not %s", now.Addr, to.Addr)
	}
	c.Failover(c.Replica(to))
	if v, err := rdb.Get(ctx, "k").Result(); err != nil || v != "v" {
		t.Errorf("after the move: %q, %v", v, err)
	}
}

func TestSentinel(t *testing.T) {
	g := redistest.Sentinel(t)
	rdb := g.Client()
	defer rdb.Close()
	g.Failover()
	redistest.Eventually(t, "the client finds the new master", func() bool {
		return rdb.Set(context.Background(), "k", "v", 0).Err() == nil
	})
}
