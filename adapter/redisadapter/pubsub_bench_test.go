//go:build unix

package redisadapter

import (
	"log/slog"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/classic"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// cpu is the processor time that this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure reports the processor time of work for each of its b.N operations.
func measure(b *testing.B, work func()) {
	b.Helper()
	b.ReportAllocs()
	before := cpu(b)
	b.ResetTimer()
	work()
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}

// burst is the number of operations after which a benchmark waits for all of them.
const burst = 10_000

var silent = PubSubOptions{Options: Options{Logger: slog.New(slog.DiscardHandler)}}

// BenchmarkPubSubPublish is the whole cost of a broadcast to a room, on a node that nobody of the room is on: encoding,
// publishing in bursts, and the message that Redis brings back.
func BenchmarkPubSubPublish(b *testing.B) {
	n := startPubSub(b, redistest.Single(b), silent)
	p := chatEvent(b, "message", map[string]any{"from": "somebody", "text": "a line of text as people write it"})
	measure(b, func() {
		for i := range b.N {
			if err := n.Broadcast(p, adapter.Selection{Rooms: []string{"room"}}, adapter.Flags{}); err != nil {
				b.Fatal(err)
			}
			if sent := uint64(i + 1); sent%burst == 0 || i == b.N-1 {
				redistest.Eventually(b, "sent and come back", func() bool {
					s := n.Stats()
					return s.Sent >= sent && s.Received >= sent
				})
			}
		}
	})
}

// BenchmarkPubSubReceive is the whole cost of a message of another node, which Redis itself publishes here.
func BenchmarkPubSubReceive(b *testing.B) {
	for _, tt := range []struct{ name, room string }{{"foreign room", "elsewhere"}, {"room of 1", "here"}} {
		b.Run(tt.name, func(b *testing.B) {
			server := redistest.Single(b)
			n := startPubSub(b, server, silent)
			n.Connect("s", "here")
			codec := classic.New("socket.io", "/chat", "uvwxyz", &classic.MessagePack{})
			p := chatEvent(b, "message", map[string]any{"from": "somebody", "text": "a line of text as people write it"})
			channel, body, err := codec.Encode(&adapter.Message{Kind: adapter.KindBroadcast, Packet: p, Selection: adapter.Selection{Rooms: []string{tt.room}}})
			if err != nil {
				b.Fatal(err)
			}
			const script = `for i = 1, ARGV[3] do redis.call("publish", ARGV[1], ARGV[2]) end return 0`
			measure(b, func() {
				for done := 0; done < b.N; {
					batch := min(burst, b.N-done)
					if err := n.rdb.Eval(within(b), script, nil, channel, body, batch).Err(); err != nil {
						b.Fatal(err)
					}
					done += batch
					redistest.Eventually(b, "received", func() bool { return n.Stats().Received >= uint64(done) })
				}
				want := 0
				if tt.room == "here" {
					want = b.N
				}
				redistest.Eventually(b, "delivered", func() bool { return n.delivered() == want })
			})
		})
	}
}

func (w *witness) delivered() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.packets)
}

// BenchmarkPubSubFetch asks ten nodes for the sockets in a room and reports how long the slowest hundredth took.
func BenchmarkPubSubFetch(b *testing.B) {
	server := redistest.Single(b)
	nodes := make([]*pubSubNode, 10)
	for i := range nodes {
		nodes[i] = startPubSub(b, server, silent)
		nodes[i].Connect("s"+strconv.Itoa(i), "room")
	}
	took := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		r, err := nodes[0].Adapter.FetchSockets(within(b), adapter.Selection{Rooms: []string{"room"}}, adapter.Flags{})
		if err != nil || len(r.Values) != len(nodes) || !r.Complete() {
			b.Fatalf("%d sockets, %d nodes unanswered, error %v", len(r.Values), r.Unanswered, err)
		}
		took = append(took, time.Since(began))
	}
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
}
