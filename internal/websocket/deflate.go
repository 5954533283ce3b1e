package websocket

import (
	"sync"

	"github.com/klauspost/compress/flate"
)

const (
	minWindowBits      = 8
	maxWindowBits      = 15
	defaultThreshold   = 1024
	defaultLevel       = 1
	minLevel, maxLevel = flate.HuffmanOnly, flate.BestCompression
	syncMarkerSize     = 4 // what Flush ends with and the wire leaves out
)

// DeflateOptions says how permessage-deflate is negotiated. The zero value means the defaults.
type DeflateOptions struct {
	// Threshold is the message size in bytes from which messages are compressed. 0 means 1024, as in ws; a negative
	// value means every message. It does not apply to a connection on which the server keeps its context, as in ws.
	Threshold int
	// ServerContextTakeover lets the server compress each message with the ones before it as dictionary, unless the
	// client asks for the opposite. It costs one window (up to 32 KB) per connection and gives up shared frames.
	ServerContextTakeover bool
	// ClientContextTakeover allows clients to do likewise, at the same cost.
	ClientContextTakeover bool
	// ServerMaxWindowBits (8 to 15) announces a smaller window for what the server sends. 0 leaves it to the client.
	// An offer with a smaller limit than this is not accepted, as in ws.
	ServerMaxWindowBits int
	// ClientMaxWindowBits (8 to 15) requires a smaller window of clients. 0 leaves it to the client. Offers that do not
	// allow it are not accepted, as in ws.
	ClientMaxWindowBits int
	// Level is the compression level, 1 (fast) to 9 (small), or flate.HuffmanOnly. 0 means 1.
	Level int
}

// Deflate is the negotiated permessage-deflate state of one connection. It is small: without context takeover it
// holds no buffer.
//
// Feed uses the inflating half, AppendDeflated the deflating one; the two halves may be used at the same time, each by
// one goroutine.
type Deflate struct {
	// Static after the handshake.
	threshold  int32
	level      int8
	serverBits uint8

	// Owned by Feed. Nil when the client does not keep its context.
	in *window
	// Owned by the writer. Nil when the server does not keep its context.
	out *window
}

// window is the end of what has gone through a (de)compressor, kept as plain bytes so that the (de)compressor itself
// can go back to its pool.
type window struct {
	bits uint8
	b    []byte
}

// slide appends p and forgets what lies beyond the window. The slice grows as needed and never beyond the window's size.
func (w *window) slide(p []byte) {
	size := 1 << w.bits
	if len(p) >= size {
		p = p[len(p)-size:]
		w.b = w.b[:0]
	}
	if over := len(w.b) + len(p) - size; over > 0 {
		w.b = w.b[:copy(w.b, w.b[over:])]
	}
	if need := len(w.b) + len(p); need > cap(w.b) {
		larger := make([]byte, len(w.b), min(max(need, 2*cap(w.b)), size))
		copy(larger, w.b)
		w.b = larger
	}
	w.b = append(w.b, p...)
}

// Compresses reports whether a message of n bytes is to be sent compressed. Nil never compresses.
func (d *Deflate) Compresses(n int) bool {
	return d != nil && (d.out != nil || n >= int(d.threshold))
}

// Shares reports whether this connection may be sent the frame of a message of n bytes that was compressed with the
// package function AppendDeflated for everybody. Otherwise the method AppendDeflated must be used: the server keeps
// its context here, or the client's window is smaller than the message.
func (d *Deflate) Shares(n int) bool {
	return d != nil && d.out == nil && n <= 1<<d.serverBits
}

// Level returns the level for the package function AppendDeflated.
func (d *Deflate) Level() int { return int(d.level) }

// AppendDeflated appends the compressed form of a message for this connection alone. With context takeover, the order
// of the calls must be the order on the wire.
func (d *Deflate) AppendDeflated(dst, payload []byte) []byte {
	if d.Shares(len(payload)) {
		return AppendDeflated(dst, payload, d.Level())
	}
	var dict []byte
	if d.out != nil {
		dict = d.out.b
	}
	if d.serverBits < maxWindowBits {
		dst = deflateWindow(dst, payload, dict, d.serverBits)
	} else {
		dst = deflateLevel(dst, payload, dict, d.Level())
	}
	if d.out != nil {
		d.out.slide(payload)
	}
	return dst
}

// AppendDeflated appends the compressed form of payload, made without a dictionary: one result serves every connection
// whose Deflate shares it. Levels as in DeflateOptions.
func AppendDeflated(dst, payload []byte, level int) []byte {
	return deflateLevel(dst, payload, nil, level)
}

// A compressor is 0.8 to 1.2 MB, so it never belongs to a connection. There is a pool for each level and one for each
// window smaller than flate's own.
var (
	levelPools  [maxLevel - minLevel + 1]sync.Pool
	windowPools [maxWindowBits - minWindowBits]sync.Pool
)

type deflater struct {
	w   *flate.Writer
	dst []byte
}

// Write appends; flate writes here.
func (z *deflater) Write(p []byte) (int, error) {
	z.dst = append(z.dst, p...)
	return len(p), nil
}

func deflateLevel(dst, payload, dict []byte, level int) []byte {
	if level == 0 || level < minLevel || level > maxLevel {
		level = defaultLevel
	}
	pool := &levelPools[level-minLevel]
	z, _ := pool.Get().(*deflater)
	if z == nil {
		z = &deflater{}
		// The level is in range, so there is no error.
		z.w, _ = flate.NewWriter(z, level)
	}
	dst = z.append(dst, payload, dict)
	pool.Put(z)
	return dst
}

func deflateWindow(dst, payload, dict []byte, bits uint8) []byte {
	pool := &windowPools[bits-minWindowBits]
	z, _ := pool.Get().(*deflater)
	if z == nil {
		z = &deflater{}
		z.w, _ = flate.NewWriterWindow(z, 1<<bits)
	}
	dst = z.append(dst, payload, dict)
	pool.Put(z)
	return dst
}

func (z *deflater) append(dst, payload, dict []byte) []byte {
	start := len(dst)
	z.dst = dst
	z.w.ResetDict(z, dict)
	// Writing to memory does not fail, and so flate does not either.
	_, _ = z.w.Write(payload)
	_ = z.w.Flush()
	dst, z.dst = z.dst, nil
	if dict != nil {
		z.w.ResetDict(z, nil) // lets go of the connection's window
	}
	return trimMarker(dst, start)
}

// trimMarker removes the sync marker that the wire leaves out; RFC 7692 section 7.2.1.
func trimMarker(dst []byte, start int) []byte {
	return dst[:max(len(dst)-syncMarkerSize, start)]
}
