//go:build linux

package engine

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

// deflateModes are what a server may agree to with a client that offers permessage-deflate as browsers do.
var deflateModes = []struct {
	name string
	opts *PerMessageDeflate
}{
	{"off", nil},
	{"on", &PerMessageDeflate{}},
	{"server-context", &PerMessageDeflate{ServerContextTakeover: true}},
	{"both-contexts", &PerMessageDeflate{ServerContextTakeover: true, ClientContextTakeover: true}},
}

const deflateOffer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

// kilobyte returns an event of somewhat more than 1,024 bytes that compresses about as well as chat does. No two are alike.
func kilobyte(seed int) []byte {
	var b strings.Builder
	b.WriteString(`2["message",[`)
	for i := 0; b.Len() < 1024; i++ {
		fmt.Fprintf(&b, `{"id":%d,"user":"user-%d","text":"a few words, number %d"},`, seed*7919+i, (seed*31+i)%97, i*i+seed)
	}
	return []byte(strings.TrimSuffix(b.String(), ",") + "]]")
}

// BenchmarkDeflateMemory reports what a websocket connection costs with compression: idle, and after 100 messages of 1 KB
// in each direction, which fill the contexts that are kept.
func BenchmarkDeflateMemory(b *testing.B) {
	const n, messages = 1000, 100
	for _, mode := range deflateModes {
		b.Run(mode.name, func(b *testing.B) {
			for first := true; b.Loop(); first = false {
				srv, port := benchServer(b, &Options{PerMessageDeflate: mode.opts}, func(*Session) Handler { return silentHandler{} })
				warm := dialBare(b, port, deflateOffer)
				talk(b, srv, []bareClient{warm}, 10) // pools and workers exist before the measurement
				before := measure()
				clients := make([]bareClient, 0, n)
				for range n {
					clients = append(clients, dialBare(b, port, deflateOffer))
				}
				idle := measure()
				talk(b, srv, clients, messages)
				busy := measure()
				if first {
					b.ReportMetric(float64(idle.heap-before.heap+idle.stack-before.stack)/n, "idle-B/conn")
					b.ReportMetric(float64(busy.heap-before.heap+busy.stack-before.stack)/n, "used-B/conn")
					b.ReportMetric(float64(busy.rss-before.rss)/n, "used-rss-B/conn")
				}
				for _, c := range append(clients, warm) {
					_ = syscall.Close(int(c))
				}
				eventually(b, "all sessions have ended", func() bool { return srv.Len() == 0 })
			}
		})
	}
}

// talk sends messages to each client and from each client.
func talk(b *testing.B, srv *Server, clients []bareClient, messages int) {
	b.Helper()
	sessions := srv.Sessions()
	buf := make([]byte, 64<<10)
	before := srv.Stats().PacketsIn
	for i := range messages {
		text := kilobyte(i)
		m := NewMessage(text)
		for _, s := range sessions {
			_ = s.SendQueued(m)
		}
		first := websocket.BitFin | byte(websocket.OpText)
		payload := append([]byte{packetMessage}, text...)
		if srv.cfg.deflate != nil {
			payload = websocket.AppendDeflated(nil, payload, 1)
			first |= websocket.BitRSV1
		}
		frame := websocket.AppendMasked(nil, first, maskKey, payload)
		for _, c := range clients {
			if _, err := syscall.Write(int(c), frame); err != nil {
				b.Fatal(err)
			}
		}
		eventually(b, "all is written", func() bool { return srv.queued.bytes.Load() == 0 })
		for _, c := range clients {
			c.drain(buf)
		}
	}
	want := before + uint64(messages*len(clients))
	eventually(b, "all is read", func() bool { return srv.Stats().PacketsIn >= want })
}

// BenchmarkDeflateBroadcast reports the CPU time of one broadcast of 1 KB for each of 500 recipients, the receiver's
// kernel work included.
func BenchmarkDeflateBroadcast(b *testing.B) {
	const n = 500
	for _, mode := range deflateModes[:3] {
		b.Run(mode.name, func(b *testing.B) {
			srv, port := benchServer(b, &Options{PerMessageDeflate: mode.opts}, func(*Session) Handler { return silentHandler{} })
			clients := make([]bareClient, 0, n)
			for range n {
				clients = append(clients, dialBare(b, port, deflateOffer))
			}
			b.Cleanup(func() {
				for _, c := range clients {
					_ = syscall.Close(int(c))
				}
			})
			sessions := srv.Sessions()
			buf := make([]byte, 64<<10)
			var spent time.Duration
			rounds, bytes := 0, 0
			for b.Loop() {
				text := kilobyte(rounds)
				rounds++
				start := cpuTime()
				m := NewMessage(text)
				for _, s := range sessions {
					_ = s.SendQueued(m)
				}
				eventually(b, "all is written", func() bool { return srv.queued.bytes.Load() == 0 })
				spent += cpuTime() - start
				for _, c := range clients {
					bytes += c.drain(buf)
				}
			}
			sent := float64(rounds * n)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(spent)/sent, "cpu-ns/recipient")
			b.ReportMetric(float64(bytes)/sent, "wire-B/recipient")
		})
	}
}
