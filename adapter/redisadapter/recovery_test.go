package redisadapter

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// recoveryNode is a node whose clients can go on.
type recoveryNode struct {
	*server.Server
	flavour recoveryFlavour
	test    *servertest.Server
}

// recoveryFlavour is an adapter that can keep what it broadcasts.
type recoveryFlavour interface {
	adapter.Builder
	Ready(ctx context.Context) error
	Stats() Stats
}

// recoveryFlavours are all of them, without log.
func recoveryFlavours() map[string]func(rdb redis.UniversalClient) recoveryFlavour {
	quiet := Options{Logger: slog.New(slog.DiscardHandler)}
	return map[string]func(rdb redis.UniversalClient) recoveryFlavour{
		"pubsub": func(rdb redis.UniversalClient) recoveryFlavour { return NewPubSub(rdb, &PubSubOptions{Options: quiet}) },
		"exact": func(rdb redis.UniversalClient) recoveryFlavour {
			return NewPubSub(rdb, &PubSubOptions{Options: quiet, ExactChannels: true})
		},
		"static": func(rdb redis.UniversalClient) recoveryFlavour {
			return NewSharded(rdb, &ShardedOptions{Options: quiet, SubscriptionMode: Static})
		},
		"dynamic": func(rdb redis.UniversalClient) recoveryFlavour {
			return NewSharded(rdb, &ShardedOptions{Options: quiet})
		},
		"streams": func(rdb redis.UniversalClient) recoveryFlavour {
			return NewStreams(rdb, &StreamsOptions{Options: quiet})
		},
	}
}

func recoveryNodes(t *testing.T, s *redistest.Server, n int) []*recoveryNode {
	t.Helper()
	return recoveryNodesWith(t, s, n, server.RecoveryOptions{})
}

func recoveryNodesWith(t *testing.T, s *redistest.Server, n int, o server.RecoveryOptions) []*recoveryNode {
	t.Helper()
	return recoveryNodesOf(t, func() redis.UniversalClient { return s.Client() }, recoveryFlavours()["streams"], n, o)
}

func recoveryNodesOf(t *testing.T, client func() redis.UniversalClient, build func(redis.UniversalClient) recoveryFlavour, n int, o server.RecoveryOptions) []*recoveryNode {
	t.Helper()
	nodes := make([]*recoveryNode, n)
	for i := range nodes {
		rdb := client()
		t.Cleanup(func() { _ = rdb.Close() })
		quiet := slog.New(slog.DiscardHandler)
		b := build(rdb)
		srv, err := server.New(&server.Options{Adapter: b, NodeName: fmt.Sprint("node", i), Logger: quiet, Recovery: &o})
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = &recoveryNode{srv, b, servertest.New(t, srv, nil)}
		if err := b.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

// returner is a client that comes back, as the npm client does.
type returner struct {
	t           *testing.T
	c           *servertest.Client
	sid         string
	pid, offset string
	next        map[string]int  // of each sender, the number that must come
	early       map[string]bool // events that came without offset
	seen        int
}

// come connects to a node, with the secret if there is one.
func (r *returner) come(n *recoveryNode) (recovered bool) {
	r.t.Helper()
	r.c = n.test.Dial(r.t, nil)
	auth := ""
	if r.pid != "" {
		auth = fmt.Sprintf(`{"pid":%q,"offset":%q}`, r.pid, r.offset)
		if r.offset == "" {
			auth = fmt.Sprintf(`{"pid":%q}`, r.pid)
		}
	}
	r.c.Send("40" + auth)
	for {
		text := r.read()
		rest, ok := strings.CutPrefix(text, "40")
		if !ok {
			r.take(text)
			continue
		}
		var reply struct{ SID, PID string }
		if err := json.Unmarshal([]byte(rest), &reply); err != nil || reply.PID == "" {
			r.t.Fatalf("answer to CONNECT: %s", text)
		}
		recovered = reply.PID == r.pid && reply.SID == r.sid
		r.sid, r.pid = reply.SID, reply.PID
		return recovered
	}
}

func (r *returner) read() string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	p, err := r.c.Read(ctx)
	if err != nil {
		r.t.Errorf("client %s with %d events: %v", r.sid, r.seen, err)
		r.t.FailNow()
	}
	return p.Data
}

// take takes an event ["sender", number, offset]. One without offset, which its node has delivered before it was in the log, may come
// again.
func (r *returner) take(text string) {
	r.t.Helper()
	var list []any
	if err := json.Unmarshal([]byte(strings.TrimPrefix(text, "42")), &list); err != nil || len(list) < 2 {
		r.t.Errorf("no event: %s", text)
		r.t.FailNow()
	}
	sender, n := list[0].(string), int(list[1].(float64))
	if len(list) == 3 {
		r.offset = list[2].(string)
	} else {
		r.early[text] = true
	}
	again := fmt.Sprintf(`42[%q,%d]`, sender, n)
	if n != r.next[sender] && !(n < r.next[sender] && r.early[again]) {
		r.t.Errorf("sender %s: got %d, want %d", sender, n, r.next[sender])
	}
	if n >= r.next[sender] {
		r.next[sender] = n + 1
		r.seen++
	}
}

// TestRecovery has clients go from node to node, some before their connection is known to be lost, while all nodes send: everybody
// gets everything once, in each sender's order.
func TestRecovery(t *testing.T) {
	single, cluster := redistest.Single(t), redistest.Cluster(t)
	for name, build := range recoveryFlavours() {
		t.Run(name, func(t *testing.T) {
			testRecovery(t, recoveryNodesOf(t, func() redis.UniversalClient { return single.Client() }, build, 3, server.RecoveryOptions{}), 9, 200)
		})
		if name == "pubsub" || name == "dynamic" {
			t.Run(name+", Redis Cluster", func(t *testing.T) {
				testRecovery(t, recoveryNodesOf(t, func() redis.UniversalClient { return cluster.Client() }, build, 3, server.RecoveryOptions{}), 5, 100)
			})
		}
	}
}

func testRecovery(t *testing.T, nodes []*recoveryNode, clients, numbers int) {
	all := make([]*returner, clients)
	for i := range all {
		all[i] = &returner{t: t, next: map[string]int{}, early: map[string]bool{}}
		all[i].come(nodes[i%3])
	}
	var sending sync.WaitGroup
	for i, n := range nodes {
		sending.Go(func() {
			pace := time.NewTicker(2 * time.Millisecond)
			defer pace.Stop()
			for k := range numbers {
				<-pace.C
				if err := n.Of("/").Emit(fmt.Sprint("from", i), k); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var reading sync.WaitGroup
	for _, r := range all {
		reading.Go(func() {
			for r.seen < 3*numbers {
				r.take(r.read())
				if rand.IntN(60) == 0 {
					r.c.Cut()
					if n := rand.IntN(3); !r.come(nodes[n]) {
						t.Errorf("a client did not go on at node %d: %v", n, nodes[n].Stats().Recovery)
						return
					}
				}
			}
		})
	}
	sending.Wait()
	reading.Wait()
	recovered := uint64(0)
	for _, n := range nodes {
		recovered += n.Stats().Recovery["recovered"]
	}
	if recovered == 0 {
		t.Error("nobody has come back")
	}
	early := 0
	for _, r := range all {
		early += len(r.early)
	}
	t.Logf("%d times a client came back, %d events came without offset", recovered, early)
}

// TestRecoveryOrder: what ends a socket, or takes it out of a room, comes behind what was sent to it before.
func TestRecoveryOrder(t *testing.T) {
	single := redistest.Single(t)
	for name, build := range recoveryFlavours() {
		t.Run(name, func(t *testing.T) {
			testRecoveryOrder(t, recoveryNodesOf(t, func() redis.UniversalClient { return single.Client() }, build, 1, server.RecoveryOptions{}))
		})
	}
}

func testRecoveryOrder(t *testing.T, nodes []*recoveryNode) {
	main := nodes[0].Of("/")
	for name, end := range map[string]func(s *server.Socket){
		"disconnect": func(s *server.Socket) {
			_ = s.Emit("bye", 1)
			s.Disconnect()
		},
		"leave": func(s *server.Socket) {
			_ = main.To("room").Emit("bye", 1)
			s.Leave("room")
		},
	} {
		r := &returner{t: t, next: map[string]int{}, early: map[string]bool{}}
		r.come(nodes[0])
		s, _ := main.Socket(r.sid)
		if err := s.Join(t.Context(), "room"); err != nil {
			t.Fatal(err)
		}
		end(s)
		if text := r.read(); !strings.HasPrefix(text, `42["bye",1`) {
			t.Errorf("%s: got %s", name, text)
		}
	}
}

// TestStreamsHistory runs the suite of histories.
func TestStreamsHistory(t *testing.T) {
	server := redistest.Single(t)
	for name, opts := range streamsVariants {
		t.Run(name, func(t *testing.T) {
			adaptertest.RunHistory(t, 3, everyNode(func() redis.UniversalClient { return server.Client() }, func(prefix string) func(redis.UniversalClient) adapter.Builder {
				opts.SessionKeyPrefix = prefix + ":session:"
				return streamed(opts)(prefix)
			}))
		})
	}
}

// TestPubSubHistory runs the suite of histories with the logs beside pub/sub.
func TestPubSubHistory(t *testing.T) {
	single, cluster := redistest.Single(t), redistest.Cluster(t)
	classic := func(prefix string) func(redis.UniversalClient) adapter.Builder {
		return func(rdb redis.UniversalClient) adapter.Builder { return NewPubSub(rdb, &PubSubOptions{Key: prefix}) }
	}
	dynamic := func(prefix string) func(redis.UniversalClient) adapter.Builder {
		return func(rdb redis.UniversalClient) adapter.Builder {
			return NewSharded(rdb, &ShardedOptions{ChannelPrefix: prefix})
		}
	}
	one := func() redis.UniversalClient { return single.Client() }
	many := func() redis.UniversalClient { return cluster.Client() }
	for name, newCluster := range map[string]adaptertest.NewCluster{
		"pubsub":                 everyNode(one, classic),
		"sharded":                everyNode(one, dynamic),
		"pubsub, Redis Cluster":  everyNode(many, classic),
		"sharded, Redis Cluster": everyNode(many, dynamic),
	} {
		t.Run(name, func(t *testing.T) { adaptertest.RunHistory(t, 3, newCluster) })
	}
}
