package msgpack

import (
	"math"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/jsontext"
	"github.com/tinylib/msgp/msgp"
)

// The Append functions write the parts of an envelope, in the forms that both npm packages write.

// AppendMap appends the head of a map of n entries. Its keys and values have to follow, each key with [AppendKey] or [AppendString].
func AppendMap(dst []byte, n int) []byte { return msgp.AppendMapHeader(dst, uint32(n)) }

// AppendArray appends the head of an array of n elements, which have to follow.
func AppendArray(dst []byte, n int) []byte { return msgp.AppendArrayHeader(dst, uint32(n)) }

// AppendNil appends nil.
func AppendNil(dst []byte) []byte { return msgp.AppendNil(dst) }

// AppendBool appends a boolean.
func AppendBool(dst []byte, b bool) []byte { return msgp.AppendBool(dst, b) }

// AppendInt appends n in its smallest form. Node reads numbers beyond 2^53 as the nearest double.
func AppendInt(dst []byte, n int64) []byte {
	if n >= 0 {
		return msgp.AppendUint64(dst, uint64(n))
	}
	return msgp.AppendInt64(dst, n)
}

// AppendString appends s as UTF-8, with U+FFFD for what is invalid in it, but lone surrogates.
func AppendString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		return msgp.AppendStringFromBytes(dst, jsontext.AppendKeepingLone(nil, []byte(s)))
	}
	return msgp.AppendString(dst, s)
}

// AppendKey appends a map key of less than 32 ASCII characters.
func AppendKey(dst []byte, key string) []byte {
	return append(append(dst, 0xa0|byte(len(key))), key...)
}

// AppendStrings appends an array of strings; nil is an empty one.
func AppendStrings(dst []byte, s []string) []byte {
	dst = AppendArray(dst, len(s))
	for _, item := range s {
		dst = AppendString(dst, item)
	}
	return dst
}

// AppendBinary appends b as bin; nil is empty.
func AppendBinary(dst, b []byte) []byte { return msgp.AppendBytes(dst, b) }

// maxSafeInteger is JavaScript's Number.MAX_SAFE_INTEGER.
const maxSafeInteger = 1<<53 - 1

// appendNumber appends a JavaScript number.
func appendNumber(dst []byte, d Dialect, f float64) []byte {
	switch {
	case math.Floor(f) != f || math.IsInf(f, 0):
	case d == MessagePack && math.Abs(f) > maxSafeInteger:
	case f >= 0 && f < 1<<64:
		return msgp.AppendUint64(dst, uint64(f))
	case f < 0 && f >= -1<<63:
		return msgp.AppendInt64(dst, int64(f))
	}
	return msgp.AppendFloat64(dst, f)
}
