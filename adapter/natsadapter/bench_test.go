//go:build unix

package natsadapter

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// cpu is the processor time that this process has used: two nodes, and a server of NATS only where that is embedded.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// clock is a namespace that only notes when something was delivered.
type clock struct {
	*adaptertest.Node
	number    atomic.Int64
	delivered chan time.Time
}

func (c *clock) Deliver(*parser.Packet, adapter.Selection, adapter.Flags) {
	c.number.Add(1)
	if c.delivered != nil {
		c.delivered <- time.Now()
	}
}

// builder is what the adapters of all brokers are.
type builder interface {
	adapter.Builder
	Ready(ctx context.Context) error
}

// benchPair makes two nodes.
func benchPair(b *testing.B, build func(node int) builder, delivered chan time.Time) (from adapter.Adapter, to *clock) {
	b.Helper()
	var nodes [2]adapter.Adapter
	for i := range nodes {
		c := &clock{Node: adaptertest.NewNode("/chat")}
		if to = c; i == 1 {
			c.delivered = delivered
		}
		builder := build(i)
		cluster, err := builder.Open(adapter.Node{ID: adapter.NewNodeID(), Name: string(adapter.NewNodeID())}, nil)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { cluster.Close() })
		if nodes[i], err = cluster.New(c); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { nodes[i].Close() })
		if _, keeps := builder.(keepingBuilder); keeps {
			history, _, err := nodes[i].(adapter.Historian).Keep(adapter.HistoryOptions{Retain: time.Minute})
			if err != nil {
				b.Fatal(err)
			}
			redistest.Eventually(b, "the node knows where it stands", func() bool { return history.Position() != "" })
		}
		if err := builder.Ready(within(b)); err != nil {
			b.Fatal(err)
		}
	}
	return nodes[0], to
}

// keepingBuilder is of nodes that keep what is broadcast.
type keepingBuilder struct{ builder }

// benchKept runs a benchmark on nodes that keep what is broadcast.
func benchKept(b *testing.B, run func(b *testing.B, build func(node int) builder)) {
	with := func(s *natstest.Server, inMemory bool) builder {
		return keepingBuilder{New(&Options{Servers: []string{s.URL}, RecoveryInMemory: inMemory, RecoveryMaxBytes: 64 << 20, Logger: quiet()})}
	}
	b.Run("kept, files", func(b *testing.B) {
		server := natstest.Single(b, natstest.JetStream(b, "single")...)
		run(b, func(int) builder { return with(server, false) })
	})
	b.Run("kept, memory of three", func(b *testing.B) {
		servers := natstest.RoutedJetStream(b, 3)
		run(b, func(node int) builder { return with(servers[node], true) })
	})
}

// benchSetups runs a benchmark on NATS, and on Redis beside it.
func benchSetups(b *testing.B, run func(b *testing.B, build func(node int) builder)) {
	with := func(opts Options) builder {
		opts.Logger = quiet()
		return New(&opts)
	}
	b.Run("external", func(b *testing.B) {
		server := natstest.Single(b)
		run(b, func(int) builder { return with(Options{Servers: []string{server.URL}}) })
	})
	b.Run("three routed", func(b *testing.B) {
		servers := natstest.Routed(b, 3)
		run(b, func(node int) builder { return with(Options{Servers: []string{servers[node].URL}}) })
	})
	b.Run("in process", func(b *testing.B) {
		server := natstest.Embedded(b)
		run(b, func(int) builder { return with(Options{Connect: []nats.Option{nats.InProcessServer(server)}}) })
	})
	b.Run("redis, sharded", func(b *testing.B) {
		server := redistest.Single(b)
		run(b, func(int) builder {
			rdb := server.Client()
			b.Cleanup(func() { rdb.Close() })
			return redisadapter.NewSharded(rdb, &redisadapter.ShardedOptions{Options: redisadapter.Options{Logger: quiet()}})
		})
	})
}

// BenchmarkDelivery sends one message every millisecond to another node, and reports how long they are on their way and what they
// cost both nodes.
func BenchmarkDelivery(b *testing.B) {
	run := func(b *testing.B, build func(int) builder) {
		delivered := make(chan time.Time, 1)
		from, _ := benchPair(b, build, delivered)
		p := chat(b, "/chat", "message", strings.Repeat("x", 100))
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		var took []time.Duration
		b.ResetTimer()
		before := cpu(b)
		for range b.N {
			<-tick.C
			began := time.Now()
			if err := from.Broadcast(p, adapter.Selection{}, adapter.Flags{}); err != nil {
				b.Fatal(err)
			}
			took = append(took, (<-delivered).Sub(began))
		}
		b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
		slices.Sort(took)
		b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
	}
	benchSetups(b, run)
	benchKept(b, run)
}

// BenchmarkBurst sends as fast as the other node takes it.
func BenchmarkBurst(b *testing.B) {
	run := func(b *testing.B, build func(int) builder) {
		from, to := benchPair(b, build, nil)
		p := chat(b, "/chat", "message", strings.Repeat("x", 100))
		const burst = 10_000
		b.ResetTimer()
		before := cpu(b)
		for i := range b.N {
			if err := from.Broadcast(p, adapter.Selection{}, adapter.Flags{}); err != nil {
				b.Fatal(err)
			}
			if sent := int64(i + 1); sent%burst == 0 || i == b.N-1 {
				redistest.Eventually(b, "all arrive", func() bool { return to.number.Load() >= sent })
			}
		}
		b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
	}
	benchSetups(b, run)
	benchKept(b, run)
}
