//go:build unix

package redisadapter

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

func reportCPU(b *testing.B, since time.Duration) {
	b.ReportMetric(float64(cpu(b)-since)/float64(b.N), "cpu-ns/op")
}

// BenchmarkPublishBurst is the publisher's cost for a command when many are queued.
func BenchmarkPublishBurst(b *testing.B) {
	h := startHub(b, redistest.Single(b).Client(), Options{})
	up(b, h)
	body := strings.Repeat("x", 200)
	b.ReportAllocs()
	used, sent := cpu(b), h.Stats().Sent
	for b.Loop() {
		for h.tell(publish("socket.io#/#room#", body)) != nil {
			time.Sleep(time.Millisecond)
		}
	}
	for h.Stats().Sent < sent+uint64(b.N) {
		time.Sleep(time.Millisecond)
	}
	reportCPU(b, used)
}

// BenchmarkPublishSingly sends a command every millisecond; sleeping is part of the cost.
func BenchmarkPublishSingly(b *testing.B) {
	h := startHub(b, redistest.Single(b).Client(), Options{})
	up(b, h)
	body := strings.Repeat("x", 200)
	b.ReportAllocs()
	used := cpu(b)
	for b.Loop() {
		time.Sleep(time.Millisecond)
		if err := h.tell(publish("socket.io#/#room#", body)); err != nil {
			b.Fatal(err)
		}
	}
	reportCPU(b, used)
}

// BenchmarkForeign is the cost of a message that matches our pattern and is for a room that nobody here is in.
func BenchmarkForeign(b *testing.B) {
	s := redistest.Single(b)
	h := startHub(b, s.Client(), Options{})
	rooms := map[string]bool{"a": true}
	const prefix = "socket.io#/#"
	h.subscribe("", pattern, prefix+"*", func(channel, body string) {
		room := strings.TrimSuffix(channel[len(prefix):], "#")
		if rooms[room] {
			panic("not foreign")
		}
		h.stats.inflow.Foreign.Add(1)
	})
	up(b, h)
	admin := s.Client()
	defer admin.Close()
	const script = "for i=1,tonumber(ARGV[1]) do redis.call('publish', ARGV[2], ARGV[3]) end"
	body := strings.Repeat("x", 200)
	b.ReportAllocs()
	b.ResetTimer()
	used := cpu(b)
	for left := b.N; left > 0; left -= 1000 {
		n := min(left, 1000)
		before := h.stats.inflow.Foreign.Load()
		if err := admin.Eval(context.Background(), script, nil, n, prefix+"room#", body).Err(); err != nil && !strings.Contains(err.Error(), "nil") {
			b.Fatal(err)
		}
		for h.stats.inflow.Foreign.Load() < before+uint64(n) {
			time.Sleep(100 * time.Microsecond)
		}
	}
	reportCPU(b, used)
}

// BenchmarkJoinLeave subscribes and unsubscribes, as rooms come and go in dynamic mode.
func BenchmarkJoinLeave(b *testing.B) {
	h := startHub(b, redistest.Single(b).Client(), Options{})
	up(b, h)
	to := func(string, string) {}
	b.ReportAllocs()
	used := cpu(b)
	i := 0
	for b.Loop() {
		h.subscribe("", shard, fmt.Sprintf("room#%d", i), to)
		if i >= 1000 {
			h.unsubscribe("", shard, fmt.Sprintf("room#%d", i-1000))
		}
		i++
	}
	h.subscribe("", shard, "last", to)
	if err := h.wait(context.Background(), shard, "last"); err != nil {
		b.Fatal(err)
	}
	reportCPU(b, used)
}
