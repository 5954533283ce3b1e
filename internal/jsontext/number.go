package jsontext

import (
	"math"
	"strconv"
)

// ParseNumber reads a checked JSON number as JSON.parse does: beyond the range it is an infinity.
func ParseNumber(text []byte) float64 {
	f, _ := strconv.ParseFloat(string(text), 64)
	return f
}

// AppendNumber appends a finite f as JavaScript writes it (ECMAScript, Number::toString). With 32 bits it takes the fewest
// digits that identify f as a float32.
func AppendNumber(dst []byte, f float64, bits int) []byte {
	if f == 0 {
		return append(dst, '0') // minus zero too
	}
	abs := math.Abs(f)
	small, large := abs < 1e-6, abs >= 1e21
	if bits == 32 {
		small, large = float32(abs) < 1e-6, float32(abs) >= 1e21
	}
	if !small && !large {
		return strconv.AppendFloat(dst, f, 'f', -1, bits)
	}
	dst = strconv.AppendFloat(dst, f, 'e', -1, bits)
	if n := len(dst); dst[n-4] == 'e' && dst[n-2] == '0' {
		// Go pads the exponent to two digits, JavaScript does not.
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst
}

// AppendWord appends f as JavaScript's String(f) writes it, NaN and the infinities included.
func AppendWord(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "NaN"...)
	case math.IsInf(f, 1):
		return append(dst, "Infinity"...)
	case math.IsInf(f, -1):
		return append(dst, "-Infinity"...)
	}
	return AppendNumber(dst, f, 64)
}
