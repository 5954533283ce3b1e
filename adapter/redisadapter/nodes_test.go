package redisadapter

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// known waits until a server knows that another one serves a namespace.
func known(t testing.TB, c adapter.Cluster, other adapter.NodeID, namespace string) {
	t.Helper()
	serves := make(chan struct{}, 1)
	defer c.Watch(func(change adapter.NodeChange) {
		if change.Node.ID == other && slices.Contains(change.Served, namespace) {
			serves <- struct{}{}
		}
	})()
	select {
	case <-serves:
	case <-within(t).Done():
		t.Fatalf("node %s is not known to serve %s", other, namespace)
	}
}

// TestSharedBuilder has two servers of one process on one builder. Each hears what the other says, both count, and one goes on when
// the other has closed.
func TestSharedBuilder(t *testing.T) {
	server := redistest.Single(t)
	for name, b := range map[string]flavour{
		"pubsub": NewPubSub(clientOf(t, server), nil), "sharded": NewSharded(clientOf(t, server), nil), "streams": NewStreams(clientOf(t, server), nil),
	} {
		t.Run(name, func(t *testing.T) {
			var clusters []adapter.Cluster
			var adapters []adapter.Adapter
			var hosts []*witness
			for range 2 {
				c, w := newServer(t, b), newWitness("/chat")
				a, err := c.New(w)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { a.Close() })
				clusters, adapters, hosts = append(clusters, c), append(adapters, a), append(hosts, w)
			}
			if err := b.Ready(within(t)); err != nil {
				t.Fatal(err)
			}
			for i, c := range clusters {
				known(t, c, clusters[1-i].Self().ID, "/chat")
				if n, err := adapters[i].ServerCount(within(t)); err != nil || n != 2 {
					t.Errorf("server %d counts %d, error %v", i, n, err)
				}
				hosts[i].Connect(fmt.Sprint("s", i))
			}
			for i, a := range adapters {
				if err := a.Broadcast(chatEvent(t, fmt.Sprint("from ", i)), adapter.Selection{}, adapter.Flags{}); err != nil {
					t.Fatal(err)
				}
				r, err := a.FetchSockets(within(t), adapter.Selection{}, adapter.Flags{})
				if err != nil || len(r.Values) != 2 || !r.Complete() {
					t.Errorf("server %d fetched %+v, error %v", i, r, err)
				}
			}
			for i, w := range hosts {
				redistest.Eventually(t, "both broadcasts", func() bool { return len(w.got()) == 2 })
				if got, want := sortedText(w.got()), `[2/chat,["from 0"] 2/chat,["from 1"]]`; got != want {
					t.Errorf("server %d delivered %s", i, got)
				}
			}
			if s := b.Stats(); s.State != Up || s.Connections != 2 {
				t.Errorf("%+v", s)
			}
			for _, err := range []error{adapters[0].Close(), clusters[0].Close()} {
				if err != nil {
					t.Error(err)
				}
			}
			if err := adapters[1].Broadcast(chatEvent(t, "alone"), adapter.Selection{}, adapter.Flags{}); err != nil {
				t.Error(err)
			}
			redistest.Eventually(t, "one server is counted", func() bool {
				n, err := adapters[1].ServerCount(within(t))
				return err == nil && n == 1 && b.Stats().Connections == 1
			})
		})
	}
}

func sortedText(list []string) string {
	slices.Sort(list)
	return fmt.Sprint(list)
}

// TestOneIdentity: a server has one uid in all its namespaces, and on every channel.
func TestOneIdentity(t *testing.T) {
	server := redistest.Single(t)
	for name, b := range map[string]flavour{
		"pubsub": NewPubSub(clientOf(t, server), &PubSubOptions{Key: "id-pubsub"}), "streams": NewStreams(clientOf(t, server), &StreamsOptions{ChannelPrefix: "id-streams"}),
	} {
		t.Run(name, func(t *testing.T) {
			join(t, b, "/")
			join(t, b, "/chat")
			id := string(serverOf(t, b).Self().ID)
			names, err := clientOf(t, server).PubSubChannels(within(t), "id-"+name+"*").Result()
			if err != nil {
				t.Fatal(err)
			}
			names = slices.DeleteFunc(names, func(n string) bool { return !strings.Contains(n, id) })
			if len(names) != 3 { // the inbox of the server, and one in each namespace
				t.Errorf("channels of node %s: %q", id, names)
			}
		})
	}
}

// TestNodes: servers know each other by name, and learn of a good-bye at once.
func TestNodes(t *testing.T) {
	server := redistest.Single(t)
	open := func(name string) adapter.Cluster {
		b := NewSharded(clientOf(t, server), nil)
		c, err := b.Open(adapter.Node{ID: adapter.NewNodeID(), Name: name, Address: name + ":1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := b.Ready(within(t)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	names := func(c adapter.Cluster) string {
		nodes, err := c.Nodes(within(t))
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, n := range nodes {
			list = append(list, fmt.Sprintf("%s at %s, %s, %s", n.Name, n.Address, n.Adapter, n.State))
		}
		return fmt.Sprint(list)
	}
	a, b := open("a"), open("b")
	redistest.Eventually(t, "a knows b", func() bool { return names(a) == "[a at a:1, sharded, alive b at b:1, sharded, alive]" })
	redistest.Eventually(t, "b knows a", func() bool { return names(b) == "[b at b:1, sharded, alive a at a:1, sharded, alive]" })
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	redistest.Eventually(t, "b has gone", func() bool { return names(a) == "[a at a:1, sharded, alive]" })
	server.Kill()
	c := NewSharded(clientOf(t, server), nil)
	lost, err := c.Open(adapter.Node{ID: adapter.NewNodeID(), Name: "c"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer lost.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if nodes, err := lost.Nodes(ctx); err == nil || len(nodes) != 1 {
		t.Errorf("without Redis: %v, error %v", nodes, err)
	}
}

// TestStrangers: nodes that cannot work together say so once, on both sides, by the values of their flags.
func TestStrangers(t *testing.T) {
	server := redistest.Single(t)
	var logs [2]logtest.Log
	a := NewPubSub(clientOf(t, server), &PubSubOptions{Options: Options{Logger: logs[0].Logger()}})
	b := NewSharded(clientOf(t, server), &ShardedOptions{Options: Options{Logger: logs[1].Logger()}})
	join(t, a, "/")
	join(t, b, "/")
	join(t, NewSharded(clientOf(t, server), nil), "/")
	for i := range logs {
		redistest.Eventually(t, "a warning", func() bool { return logs[i].Count("--adapter pubsub") > 0 && logs[i].Count("--adapter sharded") > 0 })
		if n := logs[i].Count("level=WARN"); n != 1 {
			t.Errorf("%d warnings", n)
		}
	}
}

// constructors make the three adapters with what options they have in common.
var constructors = map[string]func(redis.UniversalClient, Options) flavour{
	"pubsub": func(rdb redis.UniversalClient, o Options) flavour { return NewPubSub(rdb, &PubSubOptions{Options: o}) },
	"sharded": func(rdb redis.UniversalClient, o Options) flavour {
		return NewSharded(rdb, &ShardedOptions{Options: o})
	},
	"streams": func(rdb redis.UniversalClient, o Options) flavour {
		return NewStreams(rdb, &StreamsOptions{Options: o, ChannelPrefix: "socket.io-streams"})
	},
}

// TestWithoutCommonChannel: a user who may not use the channel that all nodes share goes on without, after one line in the log.
func TestWithoutCommonChannel(t *testing.T) {
	server := redistest.Single(t)
	server.Do("ACL", "SETUSER", "node", "on", ">secret", "resetkeys", "resetchannels", "&socket.io*", "&socket.io#/#*", "~socket.io*",
		"+ping", "+client|setname", "+spublish", "+ssubscribe", "+sunsubscribe", "+pubsub|shardnumsub", "+pubsub|shardchannels",
		"+publish", "+subscribe", "+unsubscribe", "+psubscribe", "+punsubscribe", "+pubsub|numsub", "+pubsub|channels",
		"+xadd", "+xread", "+xrange", "+xinfo|stream")
	for name, build := range constructors {
		t.Run(name, func(t *testing.T) {
			var logs [2]logtest.Log
			var members []*member
			for i := range logs {
				rdb := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "node", Password: "secret", DisableIdentity: true, Protocol: 2})
				t.Cleanup(func() { rdb.Close() })
				members = append(members, join(t, build(rdb, Options{Logger: logs[i].Logger()}), "/"))
			}
			members[1].connect(t, "s")
			send(t, members[0], "all")
			members[1].hears(t, 1)
			known(t, serverOf(t, members[0].builder), serverOf(t, members[1].builder).Self().ID, "/")
			for i := range logs {
				if warn, info := logs[i].Count("level=WARN"), logs[i].Count(commonChannel); warn != 0 || info != 1 {
					t.Errorf("%d warnings, %d lines of the channel: %s", warn, info, logs[i].String())
				}
				if s := members[i].builder.Stats(); s.State != Up {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

// TestMayNotPing: a user who may not PING goes on without, as with Node, after one line in the log.
func TestMayNotPing(t *testing.T) {
	server := redistest.Single(t)
	server.Do("ACL", "SETUSER", "default", "-ping")
	for name, build := range constructors {
		t.Run(name, func(t *testing.T) {
			var logs [2]logtest.Log
			var members []*member
			for i := range logs {
				members = append(members, join(t, build(clientOf(t, server), Options{Logger: logs[i].Logger()}), "/"))
			}
			members[1].connect(t, "s")
			known(t, serverOf(t, members[0].builder), serverOf(t, members[1].builder).Self().ID, "/")
			server.Do("CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "no") // nobody has to PING to come back either
			redistest.Eventually(t, "messages arrive again", func() bool {
				send(t, members[0], "again")
				return len(members[1].got()) > 0 && members[0].builder.Stats().State == Up
			})
			for i := range logs {
				if n := logs[i].Count("does not let this user PING"); n != 1 {
					t.Errorf("%d warnings: %s", n, logs[i].String())
				}
			}
		})
	}
}

// TestGoodByeIsSent: when a server has left the cluster Redis has got its good-bye, so that the process may end.
func TestGoodByeIsSent(t *testing.T) {
	server := redistest.Single(t)
	b := NewPubSub(clientOf(t, server), nil)
	c, err := b.Open(adapter.Node{ID: adapter.NewNodeID(), Name: "leaving"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Nodes(within(t)); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "nothing more is to be said", func() bool { return b.Stats().Queued == 0 && b.Stats().Sent >= 2 })
	before := b.Stats().Sent
	server.Do("client", "pause", 300, "all")
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if after := b.Stats().Sent; after == before {
		t.Error("the good-bye has not been executed")
	}
}

// TestGoodByeIsNotCutOff: that the other connections end when a server closes does not cost it its good-bye.
func TestGoodByeIsNotCutOff(t *testing.T) {
	server := redistest.Single(t)
	for i := range 30 {
		b := NewStreams(clientOf(t, server), nil)
		c, err := b.Open(adapter.Node{ID: adapter.NewNodeID(), Name: "leaving"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Ready(within(t)); err != nil {
			t.Fatal(err)
		}
		redistest.Eventually(t, "nothing more is to be said", func() bool { return b.Stats().Queued == 0 && b.Stats().Sent >= 2 })
		before := b.Stats()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if after := b.Stats(); after.Sent == before.Sent {
			t.Fatalf("time %d: the good-bye has not been executed: %+v", i, after)
		}
	}
}

// TestAbsentAtOnce asks about many nodes with one command.
func TestAbsentAtOnce(t *testing.T) {
	server := redistest.Single(t)
	h := startHub(t, clientOf(t, server), Options{})
	h.subscribe("", shard, "there", func(string, string) {})
	if err := h.ready(within(t)); err != nil {
		t.Fatal(err)
	}
	names := []string{"there"}
	for i := range 100 {
		names = append(names, fmt.Sprint("gone", i))
	}
	asked := func() int {
		info, err := clientOf(t, server).Info(within(t), "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		_, calls, _ := strings.Cut(info, "cmdstat_pubsub|shardnumsub:calls=")
		n := 0
		_, _ = fmt.Sscan(strings.Split(calls, ",")[0], &n)
		return n
	}
	before := asked()
	absent, err := h.unheard(within(t), shard, names)
	if err != nil || !slices.Equal(absent, names[1:]) {
		t.Errorf("%d nodes are absent, error %v", len(absent), err)
	}
	if n := asked() - before; n > 5 { // the monitor asks, too
		t.Errorf("%d commands", n)
	}
}
