package websocket

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"
)

// trailer ends the last block of a compressed message; the sender has left it out, RFC 7692 section 7.2.2.
var trailer = []byte{0x00, 0x00, 0xff, 0xff}

// withTrailer returns the buffer, which may be nil, with the trailer appended.
func (b *buffer) withTrailer() *buffer {
	have := 0
	if b != nil {
		have = len(b.b)
	}
	b = b.grow(have+len(trailer), 0)
	b.b = append(b.b, trailer...)
	return b
}

// inflater is a pooled decompressor, about 40 KB of tables and window; a connection has one only while it inflates. It is
// the standard library's: klauspost's is faster, but decodes a block with empty tables by those of an earlier block, even
// of another connection's message.
type inflater struct {
	src bytes.Reader
	r   io.ReadCloser
}

var inflaters = sync.Pool{New: func() any {
	in := &inflater{}
	in.r = flate.NewReader(&in.src)
	return in
}}

// inflate returns the content of a complete message (with the trailer) and carries the window on when the client keeps
// its context.
func (d *Deflate) inflate(compressed []byte, limit int) (*buffer, error) {
	out, ended, err := d.decompress(compressed, limit)
	if err != nil || d == nil || d.in == nil {
		return out, err
	}
	if ended {
		d.in.b = d.in.b[:0]
	} else {
		d.in.slide(out.b)
	}
	return out, nil
}

// decompress inflates what there is of a message. A stream that stops in the middle of a block is as good as one that
// stops at its end, and what follows a final block is ignored, both as in ws. ended tells of a final block, which ends
// the context. The size is checked as the output grows.
func (d *Deflate) decompress(compressed []byte, limit int) (out *buffer, ended bool, err error) {
	in := inflaters.Get().(*inflater)
	defer in.release()
	in.src.Reset(compressed)
	var dict []byte
	if d != nil && d.in != nil {
		dict = d.in.b
	}
	// Reset of a flate reader has no failure to report.
	_ = in.r.(flate.Resetter).Reset(&in.src, dict)
	out = newBuffer(min(4*len(compressed), limit))
	for {
		if len(out.b) == cap(out.b) {
			// One byte more than the limit is what tells that it is exceeded.
			out = out.grow(len(out.b)+1, limit+1)
		}
		n, err := in.r.Read(out.b[len(out.b):cap(out.b)])
		out.b = out.b[:len(out.b)+n]
		switch {
		case len(out.b) > limit:
			out.free()
			return nil, false, errTooBig
		case err == nil:
		case errors.Is(err, io.EOF):
			return out, true, nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return out, false, nil
		default:
			out.free()
			return nil, false, errCorrupt
		}
	}
}

func (in *inflater) release() {
	in.src.Reset(nil)
	inflaters.Put(in)
}
