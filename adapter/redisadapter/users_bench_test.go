package redisadapter

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/store"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

func benchStore(b *testing.B) (*UserStore, *redistest.Server) {
	server := redistest.Single(b, "--save", "")
	return NewUserStore(clientOf(b, server), nil), server
}

// BenchmarkUserLookup is one cold look-up.
func BenchmarkUserLookup(b *testing.B) {
	s, _ := benchStore(b)
	if _, err := s.Enrol(b.Context(), "/", lifeA, "n"); err != nil {
		b.Fatal(err)
	}
	fill(b, s, 0, 10_000, lifeA)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := s.Lookup(b.Context(), "/", userName(i%10_000)); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUserApply is a user who comes and goes, in batches of several sizes. The time is that of one change.
func BenchmarkUserApply(b *testing.B) {
	for _, size := range []int{1, 500} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s, _ := benchStore(b)
			b.ReportAllocs()
			for i := 0; i < b.N; i += size {
				changes := make([]adapter.UserChange, size)
				for j := range changes {
					op := adapter.UserHold
					if i/size%2 == 1 {
						op = adapter.UserForget
					}
					changes[j] = adapter.UserChange{Op: op, User: userName(j), Life: lifeA}
				}
				if _, err := s.Apply(b.Context(), "/", changes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// userName is a user's id of 14 bytes.
func userName(i int) string { return fmt.Sprintf("user-%09d", i) }

// fill has a life hold the users from one number to another.
func fill(b *testing.B, s *UserStore, from, to int, life string) {
	b.Helper()
	for at := from; at < to; at += store.MaxBatch {
		var changes []adapter.UserChange
		for i := at; i < min(at+store.MaxBatch, to); i++ {
			changes = append(changes, holdBy(life, userName(i)))
		}
		if _, err := s.Apply(b.Context(), "/", changes); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUserMillion has a million users on ten nodes, a tenth of them on two, and sweeps one of the nodes: 100,000 users and their
// 10,000 second places. It reports Redis's memory per user, how long the sweep takes, how much of Redis's time, and how long another
// client waits meanwhile: on a busy machine that says less than the time of one script, of which 128 are sent at once at most.
func BenchmarkUserMillion(b *testing.B) {
	const users, nodes = 1_000_000, 10
	for range b.N {
		s, server := benchStore(b)
		before := memoryOf(b, server)
		for i := range nodes {
			if _, err := s.Enrol(b.Context(), "/", nthLife(i), "n"); err != nil {
				b.Fatal(err)
			}
			from := i * users / nodes
			fill(b, s, from, from+users/nodes, nthLife(i))
			fill(b, s, from, from+users/nodes/10, nthLife((i+1)%nodes))
		}
		b.ReportMetric(float64(memoryOf(b, server)-before)/users, "redis-B/user")
		sweepMillion(b, s, server)
	}
}

func nthLife(i int) string { return fmt.Sprintf("%016x-1", uint64(i+1)*0x9e3779b97f4a7c15) }

func sweepMillion(b *testing.B, s *UserStore, server *redistest.Server) {
	probe := server.Client()
	defer probe.Close()
	ctx, cancel := context.WithCancel(b.Context())
	waited := make(chan []time.Duration)
	go func() { waited <- pings(ctx, probe) }()
	server.Do("config", "resetstat")
	cpu, began, last := cpuOf(b, server), time.Now(), 0
	if err := s.Sweep(b.Context(), "/", nthLife(0), func(string) { last++ }); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	cancel()
	b.ReportMetric(took.Seconds(), "sweep-s")
	b.ReportMetric(100*(cpuOf(b, server)-cpu)/took.Seconds(), "redis-cpu-%")
	b.ReportMetric(infoNumber(b, server, "commandstats", "cmdstat_evalsha:", "usec_per_call="), "us/script")
	all := <-waited
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ping-ms")
	b.ReportMetric(float64(all[len(all)-1].Microseconds())/1000, "longest-ping-ms")
	if want := 100_000 - 10_000; last != want {
		b.Errorf("nothing is left of %d users, want %d", last, want)
	}
}

// pings asks Redis for a sign of life until ctx ends, and returns how long each took.
func pings(ctx context.Context, rdb *redis.Client) (took []time.Duration) {
	for ctx.Err() == nil {
		began := time.Now()
		if rdb.Ping(ctx).Err() == nil {
			took = append(took, time.Since(began))
		}
	}
	return took
}

func memoryOf(b *testing.B, server *redistest.Server) float64 {
	return infoNumber(b, server, "memory", "used_memory:")
}

func cpuOf(b *testing.B, server *redistest.Server) float64 {
	return infoNumber(b, server, "cpu", "used_cpu_user:") + infoNumber(b, server, "cpu", "used_cpu_sys:")
}

// infoNumber returns a number of INFO, which comes after some words.
func infoNumber(b *testing.B, server *redistest.Server, section string, words ...string) float64 {
	b.Helper()
	rest := fmt.Sprint(server.Do("info", section))
	for _, word := range words {
		_, rest, _ = strings.Cut(rest, word)
	}
	text := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789."))]
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
