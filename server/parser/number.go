package parser

import (
	"math"
	"strconv"
	"time"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

// appendFloat appends f as JSON.stringify writes it; a float32 with the fewest digits that identify it as one.
func appendFloat(dst []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	return jsontext.AppendNumber(dst, f, bits)
}

// maxDateMillis is the largest distance of a JavaScript Date from 1970 (ECMAScript, "Time Values and Time Range").
const maxDateMillis = 8_640_000_000_000_000

// appendTime appends t as the JSON form of a JavaScript Date: UTC, milliseconds, six-digit signed years outside of 0 to
// 9999, null outside of what a Date can hold.
func appendTime(dst []byte, t time.Time) []byte {
	// The range is checked in seconds first: UnixMilli overflows for the most distant times.
	if s := t.Unix(); s > maxDateMillis/1000 || s < -maxDateMillis/1000 || t.UnixMilli() > maxDateMillis {
		return append(dst, "null"...)
	}
	t = t.UTC()
	dst = append(dst, '"')
	year := t.Year()
	if year < 0 || year > 9999 {
		if year < 0 {
			dst = append(dst, '-')
			year = -year
		} else {
			dst = append(dst, '+')
		}
		dst = appendPadded(dst, year, 6)
	} else {
		dst = appendPadded(dst, year, 4)
	}
	dst = t.AppendFormat(dst, "-01-02T15:04:05.000Z")
	return append(dst, '"')
}

func appendPadded(dst []byte, n, width int) []byte {
	for limit, digits := 10, 1; digits < width; digits++ {
		if n < limit {
			dst = append(dst, '0')
		}
		limit *= 10
	}
	return strconv.AppendInt(dst, int64(n), 10)
}
