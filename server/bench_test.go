package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye/server"
)

// crowd connects clients that do nothing but read: one goroutine and a few bytes each on their side.
func crowd(b *testing.B, n *node, size int) {
	b.Helper()
	for range size {
		dial(b, n)
	}
}

// dial connects a client over a plain connection and joins the main namespace.
func dial(b *testing.B, n *node) net.Conn {
	b.Helper()
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	_, err = io.WriteString(conn, "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: "+n.addr+
		"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if err != nil {
		b.Fatal(err)
	}
	if _, err := conn.Write([]byte{0x81, 0x82, 0, 0, 0, 0, '4', '0'}); err != nil {
		b.Fatal(err)
	}
	var seen strings.Builder
	buf := make([]byte, 1024)
	for !strings.Contains(seen.String(), `40{"sid":"`) {
		k, err := conn.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		seen.Write(buf[:k])
	}
	return conn
}

// drain reads everything that comes, until the connections end, and tells each time that another step bytes have come.
func drain(conns []net.Conn, step int64) <-chan struct{} {
	var total atomic.Int64
	steps := make(chan struct{}, 1<<20)
	for _, c := range conns {
		go func() {
			buf := make([]byte, 4096)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				after := total.Add(int64(n))
				for range after/step - (after-int64(n))/step {
					steps <- struct{}{}
				}
			}
		}()
	}
	return steps
}

// BenchmarkIdleSocket reports what an idle client costs: heap after a collection, stacks, and goroutines.
func BenchmarkIdleSocket(b *testing.B) {
	const clients = 1000
	n := start(b, nil)
	n.Of("/").OnConnection(func(ctx context.Context, s *server.Socket) { _ = s.Join(ctx, "room") })
	crowd(b, n, 10) // pools and tables exist before the measurement
	eventually(b, "joined", func() bool { return n.Stats().Workers == 0 })
	var before, after runtime.MemStats
	collect(&before)
	goroutines := runtime.NumGoroutine()
	for b.Loop() {
		if n.Stats().Sockets < clients {
			crowd(b, n, clients)
		}
	}
	eventually(b, "joined", func() bool { return n.Stats().Workers == 0 })
	collect(&after)
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/clients, "heap-B/socket")
	b.ReportMetric(float64(after.StackInuse-before.StackInuse)/clients, "stack-B/socket")
	b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/clients, "goroutines/socket")
}

func collect(m *runtime.MemStats) {
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(m)
}

// BenchmarkBroadcastRoom measures a broadcast to a room with everything that it causes on this node, per recipient.
// Allocations must not grow with the members.
func BenchmarkBroadcastRoom(b *testing.B) {
	for _, members := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			n := start(b, nil)
			n.Of("/").OnConnection(func(ctx context.Context, s *server.Socket) { _ = s.Join(ctx, "room") })
			var conns []net.Conn
			for range members {
				conns = append(conns, dial(b, n))
			}
			eventually(b, "joined", func() bool { return n.Stats().Workers == 0 })
			op := n.Of("/").To("room")
			payload := strings.Repeat("x", 64)
			received := drain(conns, int64(members*len("..42[`msg`,``]"+payload)))
			b.ReportAllocs()
			for b.Loop() {
				if err := op.Emit("msg", payload); err != nil {
					b.Fatal(err)
				}
				<-received
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(members), "ns/recipient")
		})
	}
}

// BenchmarkEmit measures an event to one client.
func BenchmarkEmit(b *testing.B) {
	n := start(b, nil)
	conn := dial(b, n)
	drain([]net.Conn{conn}, 1<<40)
	s := n.Of("/").Sockets()[0]
	payload := strings.Repeat("x", 64)
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Emit("msg", payload); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEcho measures an event with its acknowledgement, client side included: without hooks, and with one of each kind.
func BenchmarkEcho(b *testing.B) {
	b.Run("bare", func(b *testing.B) { benchmarkEcho(b, nil) })
	b.Run("hooks", func(b *testing.B) {
		var events atomic.Int64
		benchmarkEcho(b, []server.Hooks{{
			BeforeEvent: func(*server.Socket, server.Incoming) error { return nil },
			AfterEvent:  func(*server.Socket, server.EventResult) { events.Add(1) },
		}})
	})
}

func benchmarkEcho(b *testing.B, hooks []server.Hooks) {
	n := start(b, &server.Options{Hooks: hooks})
	n.Of("/").Handle("echo", server.FuncAck(func(ctx context.Context, s *server.Socket, v string) (string, error) { return v, nil }))
	conn := dial(b, n)
	frame := append([]byte{0x81, 0x80 | 18, 0, 0, 0, 0}, `421["echo","text"]`...)
	buf := make([]byte, 256)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkConnect measures a client that connects, joins the main namespace and leaves, its own side included.
func BenchmarkConnect(b *testing.B) {
	n := start(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		_ = dial(b, n).Close()
	}
}

// BenchmarkBroadcastWithAck measures a question to 5,000 sockets until the last has answered: all replies at once, one by one, and one by
// one until the first. Clients are connections of the loopback network that answer at once.
func BenchmarkBroadcastWithAck(b *testing.B) {
	const members = 5000
	n := start(b, nil)
	main := n.Of("/")
	for range members {
		conn := dial(b, n)
		go answerAll(conn)
	}
	for _, bench := range []struct {
		name string
		ask  func(ctx context.Context) (replies int, err error)
	}{
		{"all", func(ctx context.Context) (int, error) {
			replies, err := server.BroadcastWithAck[int](ctx, main, "how many")
			return len(replies.Values), err
		}},
		{"seq", func(ctx context.Context) (n int, err error) {
			for _, err = range server.BroadcastWithAckSeq[int](ctx, main, "how many") {
				n++
			}
			return n, err
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if replies, err := bench.ask(b.Context()); err != nil || replies != members {
					b.Fatalf("%d replies, %v", replies, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/members, "ns/reply")
		})
	}
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			for _, err := range server.BroadcastWithAckSeq[int](b.Context(), main, "how many") {
				if err != nil {
					b.Fatal(err)
				}
				break
			}
		}
	})
}

// answerAll acknowledges every question of the form 42<id>["how many"] until the connection ends.
func answerAll(conn net.Conn) {
	buf := make([]byte, 4096)
	held := 0
	for {
		n, err := conn.Read(buf[held:])
		if err != nil {
			return
		}
		rest := buf[:held+n]
		for len(rest) >= 2 && len(rest) >= 2+int(rest[1]) { // all frames are short
			payload := rest[2 : 2+int(rest[1])]
			rest = rest[2+len(payload):]
			if id, _, ok := strings.Cut(strings.TrimPrefix(string(payload), "42"), "["); ok {
				answer := "43" + id + "[7]"
				frame := append([]byte{0x81, 0x80 | byte(len(answer)), 0, 0, 0, 0}, answer...)
				if _, err := conn.Write(frame); err != nil {
					return
				}
			}
		}
		held = copy(buf, rest)
	}
}
