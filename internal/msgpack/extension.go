package msgpack

import (
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// The extension types that the npm packages write: timestamps, and in notepack 2 undefined, dates and array buffers.
const (
	extLegacy    = 0
	extTimestamp = -1
)

// extension reads the rest of an extension.
func (d *decoder) extension(h *head, depth int) (defined bool, err error) {
	b := d.take(h.n)
	switch {
	case h.ext == extTimestamp && (h.n == 4 || h.n == 8 || h.n == 12):
		d.date(timestampMillis(b))
	case h.ext == extTimestamp:
		return false, ErrMalformed
	case h.ext == extLegacy && h.fixed && h.n == 1:
		return false, nil
	case h.ext == extLegacy && h.fixed && h.n == 8:
		d.date(float64(int64(binary.BigEndian.Uint64(b))))
	case h.ext == extLegacy && !h.fixed:
		return true, d.attach(b)
	case depth == 0:
		return false, ErrTooDeep
	default:
		d.out = strconv.AppendInt(append(d.out, '['), int64(h.ext), 10)
		d.out = append(d.out, ',')
		err := d.attach(b)
		d.out = append(d.out, ']')
		return true, err
	}
	return true, nil
}

// timestampMillis reads a timestamp as milliseconds since 1970, in the floating-point arithmetic of both npm packages.
func timestampMillis(b []byte) float64 {
	var seconds, nanos float64
	switch len(b) {
	case 4:
		seconds = float64(binary.BigEndian.Uint32(b))
	case 8:
		bits := binary.BigEndian.Uint64(b)
		seconds, nanos = float64(bits&(1<<34-1)), float64(bits>>34)
	case 12:
		nanos = float64(binary.BigEndian.Uint32(b))
		seconds = float64(int64(binary.BigEndian.Uint64(b[4:])))
	}
	return seconds*1e3 + nanos/1e6
}

// maxDateMillis is the largest distance of a JavaScript Date from 1970 (ECMAScript, "Time Values and Time Range").
const maxDateMillis = 8_640_000_000_000_000

// date writes a Date as JSON.stringify does.
func (d *decoder) date(millis float64) {
	if !(math.Abs(millis) <= maxDateMillis) {
		d.null()
		return
	}
	p, err := parser.Marshal(time.UnixMilli(int64(millis)))
	if err != nil {
		d.null() // unreachable: Marshal knows every time.Time
		return
	}
	d.out = append(d.out, p.JSON...)
}
