package forward

import (
	"io"
	"net"
	"runtime"
	"testing"
)

// BenchmarkRelay is a message there and back: what an echo over TCP costs, and with a relay between.
func BenchmarkRelay(b *testing.B) {
	message := make([]byte, 64)
	echo := func(b *testing.B, client, node net.Conn) {
		go func() { _, _ = io.Copy(node, node) }()
		got := make([]byte, len(message))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.Write(message); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(client, got); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("direct", func(b *testing.B) {
		client, node := pair(b)
		echo(b, client, node)
	})
	for name, wrap := range kinds {
		b.Run(name, func(b *testing.B) {
			rs := newRelays(new(counters))
			defer rs.close()
			client, node := relayed(b, rs, wrap, b.Context())
			echo(b, client, node)
		})
	}
}

// TestRelayFootprint holds the budget of a relayed connection that is idle: 6 KB beside its two descriptors.
func TestRelayFootprint(t *testing.T) {
	const n, budget = 500, 6 << 10
	rs := newRelays(new(counters))
	defer rs.close()
	relayed(t, rs, kinds["loop"], t.Context())
	ends := make([][2]*net.TCPConn, n)
	inner := make([][2]*net.TCPConn, n)
	for i := range ends {
		ends[i][0], inner[i][0] = pair(t)
		inner[i][1], ends[i][1] = pair(t)
	}
	before := inUse()
	for _, pair := range inner {
		rs.start(pair[0], pair[1], nil, nil, t.Context())
	}
	each := (int64(inUse()) - int64(before)) / n
	// The connections are there in both measurements: two of them cost some 700 bytes.
	t.Logf("%d bytes for an idle relay beside its connections", each)
	if each > budget-700 {
		t.Errorf("an idle relay has %d bytes beside its connections", each)
	}
	runtime.KeepAlive(ends)
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
