package engine

import (
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

// encodings is what polling answers can be compressed with, best first.
var encodings = [...]string{"gzip", "deflate"}

// compressor is what gzip and zlib writers have in common.
type compressor interface {
	io.WriteCloser
	Reset(io.Writer)
}

// compressors holds idle writers by encoding and level; they are large.
var compressors [len(encodings)][10]sync.Pool

// writeCompressed streams the payload; the answer then has no Content-Length.
func writeCompressed(w io.Writer, encoding string, level int, payload *pollAnswer) {
	pool := &compressors[0][level]
	if encoding != encodings[0] {
		pool = &compressors[1][level]
	}
	z, _ := pool.Get().(compressor)
	if z == nil {
		z = newCompressor(encoding, level)
	}
	z.Reset(w)
	if err := payload.writeTo(z); err == nil {
		_ = z.Close()
	}
	z.Reset(io.Discard)
	pool.Put(z)
}

// newCompressor is called with levels that New has checked.
func newCompressor(encoding string, level int) compressor {
	if encoding == encodings[0] {
		z, _ := gzip.NewWriterLevel(io.Discard, level)
		return z
	}
	z, _ := zlib.NewWriterLevel(io.Discard, level)
	return z
}
