package engine

import (
	"io"
	"math"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
)

// encodings is what polling answers can be compressed with, best first.
var encodings = [...]string{"gzip", "deflate"}

// acceptedEncoding is one element of an Accept-Encoding header.
type acceptedEncoding struct {
	name string
	q    float64
}

// negotiateEncoding picks gzip, deflate or "" for an Accept-Encoding header, with the preferences of the npm package
// negotiator: quality, then an exact name before "*", then the client's order, then ours.
func negotiateEncoding(header []string) string {
	accepted := parseAcceptEncoding(header)
	best, bestQ, bestExact, bestOrder := "", 0.0, false, 0
	for _, name := range encodings {
		q, exact, order := matchEncoding(name, accepted)
		if !(q > 0) { // not a number never wins
			continue
		}
		better := q > bestQ || q == bestQ && (exact && !bestExact || exact == bestExact && order < bestOrder)
		if best == "" || better {
			best, bestQ, bestExact, bestOrder = name, q, exact, order
		}
	}
	return best
}

func parseAcceptEncoding(header []string) []acceptedEncoding {
	var accepted []acceptedEncoding
	for element := range strings.SplitSeq(strings.Join(header, ","), ",") {
		name, params, _ := strings.Cut(element, ";")
		if name = strings.TrimSpace(name); name == "" || strings.ContainsAny(name, " \t") {
			accepted = append(accepted, acceptedEncoding{})
			continue
		}
		accepted = append(accepted, acceptedEncoding{strings.ToLower(name), quality(params)})
	}
	return accepted
}

// quality reads the q parameter as JavaScript's parseFloat does: the longest numeric prefix, and nothing at all is not
// a number, which never wins.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if name != "q" {
			continue
		}
		value = strings.TrimSpace(value)
		end := 0
		for end < len(value) && (value[end] >= '0' && value[end] <= '9' || value[end] == '.' || end == 0 && value[end] == '-') {
			end++
		}
		for ; end > 0; end-- {
			if q, err := strconv.ParseFloat(value[:end], 64); err == nil {
				return q
			}
		}
		return math.NaN()
	}
	return 1
}

// matchEncoding finds the element that decides about name.
func matchEncoding(name string, accepted []acceptedEncoding) (q float64, exact bool, order int) {
	found := false
	for i, a := range accepted {
		match := a.name == name
		if !match && a.name != "*" {
			continue
		}
		if !found || match && !exact || match == exact && a.q > q {
			q, exact, order, found = a.q, match, i, true
		}
	}
	return q, exact, order
}

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
