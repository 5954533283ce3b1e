package msgpack

import (
	"math"
	"strconv"

	"github.com/sockeye-io/sockeye/internal/jsontext"
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
	return jsontext.AppendNumber(dst, h.float(), 64)
}

// appendJSWord appends the number of a head as String(number) writes it, the infinities included.
func appendJSWord(dst []byte, h *head) []byte {
	if f := h.float(); math.IsNaN(f) || math.IsInf(f, 0) {
		return jsontext.AppendWord(dst, f)
	}
	return appendNumberText(dst, h)
}
