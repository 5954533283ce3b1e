//go:build unix

package redisadapter

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// BenchmarkRecoveryCost has one node broadcast to a client of another one, 32 under way at a time, without and with recovery. It reports
// the CPU time of both nodes and the client together, and that of Redis, of each broadcast; and how long one takes that is alone.
func BenchmarkRecoveryCost(b *testing.B) {
	s := redistest.Single(b)
	rdb := s.Client()
	b.Cleanup(func() { _ = rdb.Close() })
	for _, name := range logFlavours {
		for label, o := range map[string]*server.RecoveryOptions{"without": nil, "with": {}} {
			b.Run(name+"/"+label, func(b *testing.B) {
				from, c := twoNodes(b, s, recoveryFlavours()[name], o)
				emit := func() {
					if err := from.Of("/").Emit("n", "some words of a message in a chat"); err != nil {
						b.Fatal(err)
					}
				}
				own, redis := cpu(b), redisTime(b, rdb)
				b.ResetTimer()
				for got, sent := 0, 0; got < b.N; got++ {
					for ; sent < b.N && sent < got+32; sent++ {
						emit()
					}
					c.Next()
				}
				b.StopTimer()
				report := func(d time.Duration, unit string) { b.ReportMetric(float64(d.Nanoseconds())/1000/float64(b.N), unit) }
				report(cpu(b)-own, "nodes-µs/op")
				report(redisTime(b, rdb)-redis, "redis-µs/op")
				took := make([]time.Duration, 300)
				for i := range took {
					began := time.Now()
					emit()
					c.Next()
					took[i] = time.Since(began)
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			})
		}
	}
}

// twoNodes are a node that sends and the client of another one, which gets it.
func twoNodes(b *testing.B, s *redistest.Server, build func(redis.UniversalClient) recoveryFlavour, o *server.RecoveryOptions) (*server.Server, *servertest.Client) {
	b.Helper()
	var nodes [2]*server.Server
	var c *servertest.Client
	for i := range nodes {
		rdb := s.Client()
		b.Cleanup(func() { _ = rdb.Close() })
		builder := build(rdb)
		srv, err := server.New(&server.Options{Adapter: builder, NodeName: fmt.Sprint("node", i), Logger: slog.New(slog.DiscardHandler), Recovery: o})
		if err != nil {
			b.Fatal(err)
		}
		test := servertest.New(b, srv, nil)
		srv.Of("/")
		if err := builder.Ready(b.Context()); err != nil {
			b.Fatal(err)
		}
		nodes[i], c = srv, test.Dial(b, nil)
	}
	c.Send("40")
	for ready := false; !ready; {
		if err := nodes[0].Of("/").Emit("ready"); err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(b.Context(), 100*time.Millisecond)
		for !ready && ctx.Err() == nil {
			p, err := c.Read(ctx)
			ready = err == nil && strings.HasPrefix(p.Data, `42["ready"`)
		}
		cancel()
	}
	if err := nodes[0].Of("/").Emit("last"); err != nil {
		b.Fatal(err)
	}
	for !strings.HasPrefix(c.Next().Data, `42["last"`) {
	}
	return nodes[0], c
}

// redisTime is the CPU time of Redis.
func redisTime(b *testing.B, rdb *redis.Client) (all time.Duration) {
	b.Helper()
	info, err := rdb.Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(info) {
		for _, name := range []string{"used_cpu_sys:", "used_cpu_user:"} {
			if text, ok := strings.CutPrefix(strings.TrimSpace(line), name); ok {
				d, err := time.ParseDuration(text + "s")
				if err != nil {
					b.Fatal(err)
				}
				all += d
			}
		}
	}
	return all
}
