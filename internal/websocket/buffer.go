package websocket

import (
	"math/bits"
	"sync"
)

// Buffers come in powers of two with a pool for each, so that a partial message pins at most twice its bytes however
// large the messages before it were.
const (
	minBufferBits = 7  // 128 bytes: any control payload
	maxBufferBits = 20 // 1 MiB; larger ones are left to the garbage collector
)

var bufferPools [maxBufferBits - minBufferBits + 1]sync.Pool

type buffer struct{ b []byte }

// classOf is the smallest power of two, at least minBufferBits, that holds n bytes.
func classOf(n int) int { return max(bits.Len(uint(max(n, 1)-1)), minBufferBits) }

// newBuffer returns an empty buffer with room for n bytes.
func newBuffer(n int) *buffer {
	class := classOf(n)
	if class > maxBufferBits {
		return &buffer{b: make([]byte, 0, n)}
	}
	if v, _ := bufferPools[class-minBufferBits].Get().(*buffer); v != nil {
		return v
	}
	return &buffer{b: make([]byte, 0, 1<<class)}
}

// free gives the buffer back; nil is allowed.
func (b *buffer) free() {
	if b == nil {
		return
	}
	class := bits.Len(uint(cap(b.b))) - 1
	if class < minBufferBits || class > maxBufferBits || cap(b.b) != 1<<class {
		return
	}
	b.b = b.b[:0]
	bufferPools[class-minBufferBits].Put(b)
}

// wanted is the room that a buffer with room for n bytes gets, at least doubled within limit.
func (b *buffer) wanted(n, limit int) int {
	if b == nil {
		return n
	}
	return max(n, min(2*cap(b.b), limit))
}

// growth is how much more memory grow would hold; b may be nil.
func (b *buffer) growth(n, limit int) int {
	have := 0
	if b != nil {
		have = cap(b.b)
	}
	if b != nil && n <= have {
		return 0
	}
	room := b.wanted(n, limit)
	if class := classOf(room); class <= maxBufferBits {
		room = 1 << class
	}
	return room - have
}

// grow returns a buffer with the same content and room for n bytes in all, at least doubled; b is no longer valid.
// b may be nil. limit bounds what doubling may add, never n itself.
func (b *buffer) grow(n, limit int) *buffer {
	if b == nil {
		return newBuffer(n)
	}
	if n <= cap(b.b) {
		return b
	}
	larger := newBuffer(b.wanted(n, limit))
	larger.b = append(larger.b, b.b...)
	b.free()
	return larger
}
