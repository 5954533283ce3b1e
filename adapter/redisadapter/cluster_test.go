package redisadapter

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// clusterSubs lie on all three masters.
var clusterSubs = []subscription{
	{plain, "q", "q"}, {pattern, "p#*", "p#1"},
	{shard, "s#1", "s#1"}, {shard, "s#2", "s#2"}, {shard, "s#3", "s#3"}, {shard, "s#4", "s#4"}, {shard, "s#5", "s#5"}, {shard, "{s#1}6", "{s#1}6"},
}

// TestCluster makes one trouble after the other in a Redis Cluster of three masters and three replicas.
func TestCluster(t *testing.T) {
	c := redistest.Cluster(t)
	p := newPair(t, func() redis.UniversalClient { return c.Client() }, clusterSubs...)
	p.crosses(recovery, clusterSubs...)
	clusterChannels(t, c, p)
	clusterCounts(t, c, p)
	clusterSlotMoves(t, c, p)
	clusterFailover(t, c, p)
	clusterMasterKilled(t, c, p)
	clusterKilled(t, c, p)
}

func clusterChannels(t *testing.T, _ *redistest.ClusterServers, p *pair) {
	t.Log("many channels of many slots")
	ctx := context.Background()
	names := make([]string, 5000)
	for i := range names {
		names[i] = fmt.Sprintf("room#%d", i)
		p.b.subscribe("", shard, names[i], p.in.take)
	}
	if err := p.b.wait(ctx, shard, names...); err != nil {
		t.Fatal(err)
	}
	p.crosses(recovery, subscription{shard, "room#1", "room#1"}, subscription{shard, "room#4999", "room#4999"})
	for _, name := range names {
		p.b.unsubscribe("", shard, name)
	}
	redistest.Eventually(t, "the channels are gone", func() bool {
		left, err := p.b.channels(ctx, shard, "room#*")
		return err == nil && len(left) == 0
	})
}

func clusterCounts(t *testing.T, _ *redistest.ClusterServers, p *pair) {
	t.Log("counting")
	ctx := context.Background()
	p.a.subscribe("", plain, "q", p.in.take)
	p.a.subscribe("", shard, "s#1", p.in.take)
	if err := p.a.wait(ctx, plain, "q"); err != nil {
		t.Fatal(err)
	}
	if err := p.a.wait(ctx, shard, "s#1"); err != nil {
		t.Fatal(err)
	}
	for _, s := range clusterSubs[:3:3] {
		n, err := p.a.numSub(ctx, s.space, s.name)
		want := 2
		if s.space == pattern {
			continue
		}
		if err != nil || n != want {
			t.Errorf("%s has %d subscribers, %v", s.name, n, err)
		}
	}
	if names, err := p.a.channels(ctx, shard, "s#*"); err != nil || strings.Join(names, " ") != "s#1 s#2 s#3 s#4 s#5" {
		t.Errorf("channels %q, %v", names, err)
	}
	p.a.unsubscribe("", plain, "q")
	p.a.unsubscribe("", shard, "s#1")
	redistest.Eventually(t, "the channels are left", func() bool { return p.a.Stats().Wanted == 0 && p.a.Stats().Connections == 0 })
}

func clusterSlotMoves(t *testing.T, c *redistest.ClusterServers, p *pair) {
	t.Log("a slot moves")
	ctx := context.Background()
	for range rounds(2, 30) {
		to := c.OtherMaster(c.Owner("s#1"))
		before := p.b.Stats().Resubscribed
		c.MoveSlot("s#1", to)
		redistest.Eventually(t, "the move is noticed", func() bool { return p.b.Stats().Resubscribed >= before+2 })
		if err := p.b.wait(ctx, shard, "s#1", "{s#1}6"); err != nil {
			t.Fatal(err)
		}
		p.crosses(recovery, clusterSubs...)
	}
}

func clusterFailover(t *testing.T, c *redistest.ClusterServers, p *pair) {
	t.Log("a planned failover")
	ctx := context.Background()
	replica := c.Replica(c.Owner("s#1"))
	before := p.b.Stats().Resubscribed
	c.Failover(replica)
	redistest.Eventually(t, "it is noticed", func() bool { return p.b.Stats().Resubscribed > before })
	if err := p.b.wait(ctx, shard, "s#1"); err != nil {
		t.Fatal(err)
	}
	// The former master, now a replica, may have got them at first. It would pass messages on, but nobody counts there.
	redistest.Eventually(t, "all subscriptions are at masters", func() bool {
		for _, l := range p.b.running().sub.active() {
			if c.Server(l.to.addr).Role() != "master" {
				return false
			}
		}
		counts := c.Owner("s#1").Do("PUBSUB", "SHARDNUMSUB", "s#1").([]any)
		return counts[1].(int64) > 0
	})
	p.crosses(recovery, clusterSubs...)
}

func clusterMasterKilled(t *testing.T, c *redistest.ClusterServers, p *pair) {
	t.Log("a master is killed")
	ctx := context.Background()
	c.AwaitReady()
	for _, channel := range []string{"s#1", "q"} {
		master := c.Owner(channel)
		if channel == "q" { // the one that serves our plain channels
			n, err := p.b.running().servers.any(ctx)
			if err != nil {
				t.Fatal(err)
			}
			master = c.Server(n.addr)
		}
		replica := c.Replica(master)
		before := p.b.Stats().StateChanges
		master.Kill()
		// It may be up again before anybody looks.
		redistest.Eventually(t, "the state is down", func() bool { return p.b.Stats().StateChanges > before })
		redistest.Eventually(t, "the replica takes over", func() bool { return replica.Role() == "master" })
		begun := time.Now()
		p.crosses(recovery, clusterSubs...)
		t.Logf("%v after the replica took over", time.Since(begun))
		master.Start()
		c.AwaitReady()
		p.crosses(recovery, clusterSubs...)
	}
}

func clusterKilled(t *testing.T, c *redistest.ClusterServers, p *pair) {
	t.Log("all are killed")
	for _, s := range c.Servers {
		s.Kill()
	}
	p.awaitDown()
	for _, s := range c.Servers {
		s.StartLoading()
	}
	for _, s := range c.Servers {
		s.AwaitReady()
	}
	c.AwaitReady()
	p.crosses(recovery, clusterSubs...)
}

// TestSentinel lets Sentinel choose another master, once because it is told to, once because the master is dead.
func TestSentinel(t *testing.T) {
	g := redistest.Sentinel(t)
	p := newPair(t, func() redis.UniversalClient { return g.Client() }, plainAndPattern...)
	p.crosses(recovery, plainAndPattern...)
	p.a.subscribe("", plain, "a", func(string, string) {}) // as every node has a channel of its own
	if err := p.a.wait(t.Context(), plain, "a"); err != nil {
		t.Fatal(err)
	}
	g.Failover()
	redistest.Eventually(t, "both have moved to the new master", func() bool {
		rdb := g.Master().Client()
		defer rdb.Close()
		counts, err := rdb.PubSubNumSub(t.Context(), "a", "q").Result()
		return err == nil && counts["a"] == 1 && counts["q"] == 1
	})
	p.crosses(recovery, plainAndPattern...)

	old := g.Master()
	old.Kill()
	p.awaitDown()
	g.AwaitFailover(old)
	p.crosses(recovery, plainAndPattern...)
	if sub, err := p.b.numSub(context.Background(), plain, "q"); err != nil || sub != 1 {
		t.Errorf("the new master counts %d subscribers, %v", sub, err)
	}
}

// TestExplained says what an operator can do about a Redis that wants TLS.
func TestExplained(t *testing.T) {
	says := func(s *redistest.Server, want string) {
		t.Helper()
		rdb := redis.NewClient(&redis.Options{Addr: s.Addr, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
		t.Cleanup(func() { rdb.Close() })
		n := NewPubSub(rdb, &PubSubOptions{Options: Options{Logger: slog.New(slog.DiscardHandler)}})
		adapterOf(t, n, newWitness("/chat"))
		redistest.Eventually(t, "the reason is "+want, func() bool {
			stats := n.Stats()
			return stats.State == Down && strings.Contains(stats.Reason.Error(), want)
		})
	}
	secured, _ := redistest.TLS(t)
	says(secured, "if it speaks TLS, use rediss://")
}

// TestConnections reaches Redis in the other ways that go-redis knows.
func TestConnections(t *testing.T) {
	t.Run("unix socket and old protocol", func(t *testing.T) {
		s := redistest.Single(t)
		p := newPair(t, func() redis.UniversalClient {
			return redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket, Protocol: 2})
		}, plainAndPattern...)
		p.crosses(recovery, plainAndPattern...)
	})
	t.Run("TLS", func(t *testing.T) {
		s, config := redistest.TLS(t)
		p := newPair(t, func() redis.UniversalClient {
			return redis.NewClient(&redis.Options{Addr: s.Addr, TLSConfig: config})
		}, plainAndPattern...)
		p.crosses(recovery, plainAndPattern...)
	})
	t.Run("a user with few rights", func(t *testing.T) {
		s := redistest.Single(t)
		s.Do("ACL", "SETUSER", "node", "on", ">secret", "resetchannels", "&q", "&p#*",
			"+publish", "+subscribe", "+psubscribe", "+unsubscribe", "+punsubscribe", "+ping", "+pubsub")
		client := func() redis.UniversalClient {
			return redis.NewClient(&redis.Options{Addr: s.Addr, Username: "node", Password: "secret"})
		}
		p := newPair(t, client, plainAndPattern...)
		p.crosses(recovery, plainAndPattern...)
		p.b.subscribe("", plain, "forbidden", p.in.take)
		redistest.Eventually(t, "the state is down", func() bool { return p.b.status.Is(Down) })
		if _, reason := p.b.status.Current(); trouble(reason) != "noperm" {
			t.Errorf("the reason is %v", reason)
		}
		p.b.unsubscribe("", plain, "forbidden")
		p.crosses(recovery, plainAndPattern...)
	})
	t.Run("unsuitable clients", func(t *testing.T) {
		ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": redistest.FreeAddr(t)}})
		defer ring.Close()
		for _, rdb := range []redis.UniversalClient{ring, nil, (*redis.Client)(nil), (*redis.ClusterClient)(nil)} {
			if err := newBareHub(rdb, Options{}).start(); err == nil {
				t.Errorf("a client of type %T is taken", rdb)
			}
		}
	})
}

// TestHalfOpen breaks the connection without telling anybody: packets are swallowed from then on.
func TestHalfOpen(t *testing.T) {
	s := redistest.Single(t)
	var d swallower
	client := func() redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: s.Addr, Dialer: d.dial})
	}
	p := newPair(t, client, plainAndPattern...)
	p.crosses(recovery, plainAndPattern...)
	before := p.b.Stats().Reconnects
	downs := p.b.status.Downs()
	d.swallow()
	redistest.Eventually(t, "the state was down", func() bool { return p.b.status.Downs() > downs }) // new connections are made at once
	redistest.Eventually(t, "new connections are made", func() bool { return p.b.Stats().Reconnects > before })
	redistest.Eventually(t, "so does the other node", func() bool { return p.a.tell(publish("q", "probe")) == nil && p.in.count("probe") > 0 })
	p.crosses(recovery, plainAndPattern...)
}

// swallower makes connections that can be made to lose everything.
type swallower struct {
	mu    sync.Mutex
	conns []*deafConn
}

func (d *swallower) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &deafConn{Conn: conn}
	d.mu.Lock()
	d.conns = append(d.conns, c)
	d.mu.Unlock()
	return c, nil
}

// swallow loses what is written from now on to the connections that exist.
func (d *swallower) swallow() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		c.deaf.Store(true)
	}
}

type deafConn struct {
	net.Conn
	deaf atomic.Bool
}

func (c *deafConn) Write(b []byte) (int, error) {
	if c.deaf.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}
