package websocket

import (
	"bytes"
	"fmt"
	"testing"
)

// BenchmarkFeed parses 16 frames of one size at a time, as one read from a busy connection brings them.
func BenchmarkFeed(b *testing.B) {
	for _, size := range []int{20, 200, 4000, 100_000} {
		b.Run(fmt.Sprintf("text-%d", size), func(b *testing.B) {
			benchmarkFeed(b, nil, finText, bytes.Repeat([]byte("x"), size), 0)
		})
	}
	b.Run("ping", func(b *testing.B) { benchmarkFeed(b, nil, finPing, nil, 0) })
	b.Run("text-20000-in-4096", func(b *testing.B) {
		benchmarkFeed(b, nil, finText, bytes.Repeat([]byte("x"), 20_000), 4096)
	})
	message := bytes.Repeat([]byte(`{"user":"alice","text":"hello","n":12345}`), 20)
	b.Run("deflated-820", func(b *testing.B) {
		benchmarkFeed(b, newDeflate(false, false), finText|rsv1, AppendDeflated(nil, message, 0), 0)
	})
}

func benchmarkFeed(b *testing.B, d *Deflate, first byte, payload []byte, part int) {
	const frames = 16
	in := bytes.Repeat(AppendMasked(nil, first, testKey, payload), frames)
	if part == 0 {
		part = len(in)
	}
	data := make([]byte, len(in))
	var p Parser
	h := &discard{}
	cfg := &Config{}
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		copy(data, in)
		for rest := data; len(rest) > 0; rest = rest[min(part, len(rest)):] {
			if _, err := p.Feed(cfg, d, h, rest[:min(part, len(rest))]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/frames, "ns/frame")
}

func BenchmarkAppendFrame(b *testing.B) {
	for _, size := range []int{20, 200, 4000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			payload := make([]byte, size)
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst = AppendFrame(dst[:0], OpText, false, payload)
			}
		})
	}
}

func BenchmarkAppendDeflated(b *testing.B) {
	message := bytes.Repeat([]byte(`{"user":"alice","text":"hello","n":12345}`), 20)
	states := map[string]*Deflate{"shared": newDeflate(false, false), "context": newDeflate(true, false)}
	small := newDeflate(true, false)
	small.serverBits, small.out.bits = 12, 12
	states["context-4K"] = small
	for name, d := range states {
		b.Run(name, func(b *testing.B) {
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				dst = d.AppendDeflated(dst[:0], message)
			}
			b.ReportMetric(float64(len(dst)), "bytes")
		})
	}
}
