//go:build linux

package engine

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

// bareClient is a websocket client that costs the process nothing but a descriptor, so that what the benchmarks measure
// is the server's.
type bareClient int

// dialBare returns when the server has introduced the session.
func dialBare(b *testing.B, port int, extra ...string) bareClient {
	b.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		b.Fatal(err)
	}
	const target = "/engine.io/?EIO=4&transport=websocket"
	if _, err := syscall.Write(fd, []byte("GET "+target+" HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\n"+wsHeaders+strings.Join(extra, "")+"\r\n")); err != nil {
		b.Fatal(err)
	}
	var got []byte
	buf := make([]byte, 1024)
	for !bytes.Contains(got, []byte(`"maxPayload"`)) {
		n, err := syscall.Read(fd, buf)
		if err != nil || n <= 0 {
			b.Fatalf("handshake: %d, %v", n, err)
		}
		got = append(got, buf[:n]...)
	}
	return bareClient(fd)
}

// drain throws away what has arrived.
func (c bareClient) drain(buf []byte) (n int) {
	for {
		k, _, err := syscall.Recvfrom(int(c), buf, syscall.MSG_DONTWAIT)
		if err != nil || k <= 0 {
			return n
		}
		n += k
	}
}

// benchServer serves on a loopback port.
func benchServer(b *testing.B, opts *Options, handler func(*Session) Handler) (*Server, int) {
	b.Helper()
	srv, err := New(opts, handler)
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	hs := &http.Server{Handler: srv}
	served := make(chan struct{})
	go func() {
		_ = hs.Serve(l)
		close(served)
	}()
	b.Cleanup(func() {
		_ = hs.Close()
		<-served
		_ = srv.Close()
	})
	return srv, l.Addr().(*net.TCPAddr).Port
}

type memory struct {
	rss, heap, stack, goroutines int64
}

func measure() memory {
	runtime.GC()
	debug.FreeOSMemory()
	var ms runtime.MemStats
	runtime.ReadMemStats(&ms)
	return memory{residentBytes(), int64(ms.HeapAlloc), int64(ms.StackInuse), int64(runtime.NumGoroutine())}
}

func residentBytes() int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	return kb << 10
}

// BenchmarkIdleSession reports what one idle websocket session costs, beside the kernel.
func BenchmarkIdleSession(b *testing.B) {
	const n = 3000
	// Later rounds would find the memory of earlier ones: only the first is reported.
	for first := true; b.Loop(); first = false {
		srv, port := benchServer(b, nil, func(s *Session) Handler { return echoHandler{s} })
		warm := dialBare(b, port)
		before := measure()
		clients := make([]bareClient, 0, n)
		for range n {
			clients = append(clients, dialBare(b, port))
		}
		after := measure()
		if first {
			b.ReportMetric(float64(after.rss-before.rss)/n, "rss-B/conn")
			b.ReportMetric(float64(after.heap-before.heap)/n, "heap-B/conn")
			b.ReportMetric(float64(after.stack-before.stack)/n, "stack-B/conn")
			b.ReportMetric(float64(after.goroutines-before.goroutines)/n, "goroutines/conn")
		}
		for _, c := range append(clients, warm) {
			_ = syscall.Close(int(c))
		}
		eventually(b, "all sessions have ended", func() bool { return srv.Len() == 0 })
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBroadcast reports the cost of a message for each recipient, the receiver's kernel work included: one
// broadcast at a time, and bursts of 100.
func BenchmarkBroadcast(b *testing.B) {
	const n = 2000
	for _, burst := range []int{1, 100} {
		b.Run(fmt.Sprintf("burst=%d", burst), func(b *testing.B) {
			srv, port := benchServer(b, nil, func(s *Session) Handler { return echoHandler{s} })
			clients := make([]bareClient, 0, n)
			for range n {
				clients = append(clients, dialBare(b, port))
			}
			sessions := srv.Sessions()
			b.Cleanup(func() {
				for _, c := range clients {
					_ = syscall.Close(int(c))
				}
			})
			text := []byte(`2["message","a payload of sixty-four bytes in all, more or less"]`)
			buf := make([]byte, 64<<10)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start, rounds := cpuTime(), 0
			var draining time.Duration
			for b.Loop() {
				rounds++
				for range burst {
					m := NewMessage(text)
					for _, s := range sessions {
						_ = s.SendQueued(m)
					}
				}
				eventually(b, "all is written", func() bool { return srv.queued.bytes.Load() == 0 })
				t := cpuTime()
				for _, c := range clients {
					c.drain(buf)
				}
				draining += cpuTime() - t
			}
			sent := float64(rounds * burst * n)
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(cpuTime()-start-draining)/sent, "cpu-ns/msg")
			b.ReportMetric(float64(after.Mallocs-before.Mallocs)/sent, "allocs/msg")
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(bareWrites(clients, sessions, NewMessage(text).text), "bare-cpu-ns/write")
		})
	}
}

// bareWrites is the control run: the CPU time of one non-blocking write of the frame to each connection.
func bareWrites(clients []bareClient, sessions []*Session, frame []byte) float64 {
	const rounds = 5
	buf := make([]byte, 64<<10)
	var spent time.Duration
	w := batchPool.Get().(*batch)
	defer w.free()
	one := make([][]byte, 1)
	for range rounds {
		start := cpuTime()
		for _, s := range sessions {
			one[0] = frame
			w.bufs = one
			_ = w.tryWrite(s.transport.(*wsConn).raw)
		}
		spent += cpuTime() - start
		for _, c := range clients {
			c.drain(buf)
		}
	}
	return float64(spent) / float64(rounds*len(sessions))
}

// BenchmarkEcho is one message there and back on one connection.
func BenchmarkEcho(b *testing.B) {
	_, port := benchServer(b, nil, func(s *Session) Handler { return echoHandler{s} })
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: bench\r\n%s\r\n", wsHeaders)
	buf := make([]byte, 4096)
	for got := []byte(nil); !bytes.Contains(got, []byte(`"maxPayload"`)); {
		n, err := conn.Read(buf)
		if err != nil {
			b.Fatal(err)
		}
		got = append(got, buf[:n]...)
	}
	frame := websocket.AppendMasked(nil, websocket.BitFin|byte(websocket.OpText), maskKey, []byte("4"+strings.Repeat("x", 64)))
	answer := make([]byte, 2+65)
	b.ReportAllocs()
	start, rounds := cpuTime(), 0
	for b.Loop() {
		rounds++
		if _, err := conn.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(cpuTime()-start)/float64(rounds), "cpu-ns/op")
}

// BenchmarkConnect is a websocket handshake and its end.
func BenchmarkConnect(b *testing.B) {
	srv, port := benchServer(b, nil, func(s *Session) Handler { return echoHandler{s} })
	b.ReportAllocs()
	start, rounds := cpuTime(), 0
	for b.Loop() {
		rounds++
		c := dialBare(b, port)
		_ = syscall.Close(int(c))
	}
	eventually(b, "all sessions have ended", func() bool { return srv.Len() == 0 })
	b.ReportMetric(float64(cpuTime()-start)/float64(rounds), "cpu-ns/op")
}
