package msgpack

import (
	"math"
	"strconv"
)

// appendNumberText appends the text that JavaScript gives to the number of a head, an Int or a finite Float.
func appendNumberText(dst []byte, h *head) []byte {
	if h.kind == Int {
		if h.negative && int64(h.bits) >= -maxSafeInteger {
			return strconv.AppendInt(dst, int64(h.bits), 10)
		}
		if !h.negative && h.bits <= maxSafeInteger {
			return strconv.AppendUint(dst, h.bits, 10)
		}
	}
	return appendJSNumber(dst, h.float())
}

// appendJSNumber appends a finite f as JavaScript writes it (ECMAScript, Number::toString).
func appendJSNumber(dst []byte, f float64) []byte {
	abs := math.Abs(f)
	switch {
	case f == 0:
		return append(dst, '0') // minus zero too
	case abs >= 1e-6 && abs < 1e21:
		return strconv.AppendFloat(dst, f, 'f', -1, 64)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	if n := len(dst); dst[n-4] == 'e' && dst[n-2] == '0' {
		// Go pads the exponent to two digits, JavaScript does not.
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// appendJSWord appends the number of a head as String(number) writes it, the infinities included.
func appendJSWord(dst []byte, h *head) []byte {
	switch f := h.float(); {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	return appendNumberText(dst, h)
}
