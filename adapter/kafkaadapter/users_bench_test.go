package kafkaadapter

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
)

// BenchmarkUserTable has a million users in memory, whom ten lives hold.
func BenchmarkUserTable(b *testing.B) {
	const users = 1_000_000
	for b.Loop() {
		before := heap()
		table := newUserTable(0)
		for i := range users {
			r := heldRecord(i)
			record := r.encode("t", 0)
			record.Offset = int64(i)
			if _, err := table.take(record, 1); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heap()-before)/users, "bytes/user")
		runtime.KeepAlive(table)
	}
}

// heldRecord has one of ten lives hold a user.
func heldRecord(i int) userRecord {
	life := fmt.Sprintf("%016x", i%10+1)
	return userRecord{key: userKey(ofUser, "/", fmt.Sprintf("user-%07d", i)), base: -1, userStep: userStep{do: 1, life: life, state: firstMark + life}}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkUserStore measures, on a topic with a million users, how long a node needs to read it, and what a change and a question
// cost then.
func BenchmarkUserStore(b *testing.B) {
	broker := kafkatest.Single(b, nil)
	opts := &UserStoreOptions{Options: Options{Seeds: []string{broker.Addr}, Logger: quiet(), AnswerTimeout: 10 * time.Second}}
	fill(b, opts, 1_000_000)
	store, err := NewUserStore(opts)
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	began := time.Now()
	if err := store.Ready(ctx); err != nil {
		b.Fatal(err)
	}
	b.Logf("%d users read within %v", store.Stats().Users, time.Since(began).Round(10*time.Millisecond))
	b.Run("Lookup", func(b *testing.B) {
		for b.Loop() {
			if _, err := store.Lookup(ctx, "/", "user-0000001"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Apply", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i++
			change := adapter.UserChange{Op: adapter.UserHold, User: fmt.Sprint("new", i), Life: lifeA}
			if _, err := store.Apply(ctx, "/", []adapter.UserChange{change}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Apply512", func(b *testing.B) {
		i := 0
		for b.Loop() {
			changes := make([]adapter.UserChange, 512)
			for k := range changes {
				i++
				changes[k] = adapter.UserChange{Op: adapter.UserHold, User: fmt.Sprint("more", i), Life: lifeA}
			}
			if _, err := store.Apply(ctx, "/", changes); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(i), "us/change")
	})
}

// fill makes the topic and writes users to it.
func fill(b *testing.B, opts *UserStoreOptions, users int) {
	first, err := NewUserStore(opts)
	if err != nil {
		b.Fatal(err)
	}
	defer first.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := first.Ready(ctx); err != nil {
		b.Fatal(err)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(opts.Seeds...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		b.Fatal(err)
	}
	defer client.Close()
	for i := range users {
		r := heldRecord(i)
		client.Produce(ctx, r.encode(first.opts.usersTopic(), userPartition(r.key, defaultUserPartitions)), nil)
	}
	if err := client.Flush(ctx); err != nil {
		b.Fatal(err)
	}
}
