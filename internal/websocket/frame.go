package websocket

import (
	"encoding/binary"
	"math"

	"github.com/gobwas/ws"
)

// AppendHeader appends the header of an unfragmented server frame (not masked) whose payload of length bytes follows.
// compressed sets RSV1 and belongs to data frames only.
func AppendHeader(dst []byte, op Opcode, compressed bool, length int) []byte {
	first := BitFin | byte(op)
	if compressed {
		first |= BitRSV1
	}
	return appendLength(append(dst, first), 0, length)
}

// AppendFrame appends a complete unfragmented server frame.
func AppendFrame(dst []byte, op Opcode, compressed bool, payload []byte) []byte {
	return append(AppendHeader(dst, op, compressed, len(payload)), payload...)
}

// AppendClose appends a close frame. Code 0 gives one without a payload. A reason that does not fit a control frame is
// cut at 123 bytes, at the start of a UTF-8 sequence.
func AppendClose(dst []byte, code int, reason string) []byte {
	if code == 0 {
		return AppendHeader(dst, OpClose, false, 0)
	}
	if limit := maxControlPayload - 2; len(reason) > limit {
		for limit > 0 && reason[limit]&0xc0 == 0x80 {
			limit--
		}
		reason = reason[:limit]
	}
	dst = AppendHeader(dst, OpClose, false, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, uint16(code))
	return append(dst, reason...)
}

// AppendMasked appends a client frame. first is the first byte as it goes on the wire: the opcode and any of BitFin and
// BitRSV1; nothing is checked, so that bad frames can be built too.
func AppendMasked(dst []byte, first byte, key [4]byte, payload []byte) []byte {
	dst = appendLength(append(dst, first), bitMask, len(payload))
	dst = append(dst, key[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	ws.Cipher(dst[start:], key, 0)
	return dst
}

// appendLength appends the mask bit and the shortest form of a length; RFC 6455 section 5.2.
func appendLength(dst []byte, mask byte, length int) []byte {
	switch {
	case length <= maxControlPayload:
		return append(dst, mask|byte(length))
	case length <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, mask|126), uint16(length))
	default:
		return binary.BigEndian.AppendUint64(append(dst, mask|127), uint64(length))
	}
}
