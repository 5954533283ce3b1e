package load

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"time"
)

// A stamp is what a message says about itself: <tag>.<number>.<time in nanoseconds>. with padding up to the wanted size.
// It contains nothing that JSON escapes.
type stamp struct {
	number int64     // counts the messages of one sender from 1
	sent   time.Time // by the wall clock
}

// MinSize is the smallest payload in bytes, which the stamp needs.
const MinSize = 48

var (
	errForeign = errors.New("not a message of this run")
	padding    = strings.Repeat("x", 1<<10)
)

// appendStamp appends a payload of size bytes.
func appendStamp(dst []byte, tag string, number int64, sent time.Time, size int) []byte {
	start := len(dst)
	dst = append(append(dst, tag...), '.')
	dst = append(strconv.AppendInt(dst, number, 10), '.')
	dst = append(strconv.AppendInt(dst, sent.UnixNano(), 10), '.')
	for missing := size - (len(dst) - start); missing > 0; missing = size - (len(dst) - start) {
		dst = append(dst, padding[:min(missing, len(padding))]...)
	}
	return dst
}

// parseStamp reads the payload at the start of p.
func parseStamp(p []byte, tag string) (stamp, error) {
	rest, ok := bytes.CutPrefix(p, []byte(tag))
	if !ok || len(rest) == 0 || rest[0] != '.' {
		return stamp{}, errForeign
	}
	number, rest, ok := cutInt(rest[1:])
	if !ok {
		return stamp{}, errForeign
	}
	nanos, _, ok := cutInt(rest)
	if !ok {
		return stamp{}, errForeign
	}
	return stamp{number: number, sent: time.Unix(0, nanos)}, nil
}

// cutInt cuts digits and the dot after them off the front, without the garbage that strconv and a string would make.
func cutInt(p []byte) (n int64, rest []byte, ok bool) {
	for i, d := range p {
		switch {
		case d == '.':
			return n, p[i+1:], i > 0 && n >= 0 // 19 digits may be too many by one bit
		case d < '0' || d > '9' || i == 19:
			return 0, nil, false
		}
		n = 10*n + int64(d-'0')
	}
	return 0, nil, false
}

// payloadOf returns the first argument of an event with the name, if it is a string, without the opening quotation mark.
func payloadOf(args []byte, name string) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(args, []byte(`["`))
	if !ok {
		return nil, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(name)); !ok {
		return nil, false
	}
	return bytes.CutPrefix(rest, []byte(`","`))
}
