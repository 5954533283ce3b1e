// Package websocket is the server side of RFC 6455 with permessage-deflate (RFC 7692), and with Config.FromServer the
// reading half of the client side, written as a push parser: bytes go in, messages come out of callbacks. It starts no
// goroutine, reads from no connection and holds no buffer between messages, so one implementation serves a parked reader
// goroutine, a poller and TLS alike.
//
// Its outcomes (what is accepted, which close code answers which violation, what a refused handshake looks like) are
// those of the npm package ws 8.21, which the Engine.IO reference uses. Known differences:
//
//   - Context takeover is off in both directions unless asked for.
//   - A peer that uses context takeover and ends a message in the middle of a deflate block continues that block in its
//     next message under ws; here the next message starts a new block.
//   - Fragments that follow a final deflate block within the same message are ignored; ws inflates some of them as a
//     stream of their own.
package websocket

import (
	"errors"
	"fmt"
	"math"
)

// Opcode is the frame type of RFC 6455 section 5.2.
type Opcode byte

// The opcodes that RFC 6455 defines.
const (
	OpContinuation Opcode = 0
	OpText         Opcode = 1
	OpBinary       Opcode = 2
	OpClose        Opcode = 8
	OpPing         Opcode = 9
	OpPong         Opcode = 10
)

// Bits of the first byte of a frame beside the opcode.
const (
	BitFin  byte = 0x80
	BitRSV1 byte = 0x40

	bitsRSV23 byte = 0x30
	bitMask   byte = 0x80 // of the second byte
)

// Close codes that this package reports; RFC 6455 section 7.4.1.
const (
	CloseProtocolError   = 1002
	CloseNoStatus        = 1005 // never on the wire: the peer's close frame carried no code
	CloseInvalidPayload  = 1007
	ClosePolicyViolation = 1008
	CloseTooBig          = 1009
	CloseTryAgainLater   = 1013 // registered with IANA after the RFC
)

const (
	maxControlPayload     = 125
	maxHeader             = 14
	defaultMaxMessageSize = 1_000_000
	defaultMaxFragments   = 16384
)

// Config holds the limits of a connection. One value is shared by all connections with the same settings; it is only
// read. The zero value means the defaults.
type Config struct {
	// MaxMessageSize is the largest message in bytes, before and after inflation. 0 means 1,000,000. A longer one ends
	// the connection with 1009. Values above 1 GiB count as that.
	MaxMessageSize int64
	// MaxFragments is the largest number of frames of one message. 0 means 16384. More end the connection with 1008.
	MaxFragments int
	// FromServer says that the bytes come from a server, as a client reads them: frames must not be masked.
	FromServer bool
}

func (c *Config) fromServer() bool { return c != nil && c.FromServer }

func (c *Config) maxMessageSize() int64 {
	if c == nil || c.MaxMessageSize <= 0 {
		return defaultMaxMessageSize
	}
	return min(c.MaxMessageSize, 1<<30)
}

func (c *Config) maxFragments() int {
	if c == nil || c.MaxFragments <= 0 {
		return defaultMaxFragments
	}
	return min(c.MaxFragments, math.MaxInt32)
}

// Handler receives what Feed finds, in wire order, on Feed's goroutine. Payloads are valid only during the call.
//
// A Handler that also has the method Stop() bool is asked after each callback whether Feed shall return early. One that
// has Reserve(n int) bool is asked before Feed takes n more bytes of memory for an unfinished message; without its consent
// the connection ends with 1013. What is held is in Partial.
type Handler interface {
	// OnMessage gets a complete message: op is OpText (valid UTF-8) or OpBinary, the payload unmasked and inflated.
	OnMessage(op Opcode, payload []byte)
	// OnPing gets a ping; the handler answers it with a pong that carries the same payload.
	OnPing(payload []byte)
	// OnPong gets a pong, asked for or not.
	OnPong(payload []byte)
	// OnClose gets the peer's close frame: its code, CloseNoStatus when it carried none, and its reason in UTF-8.
	// Nothing follows it.
	OnClose(code int, reason []byte)
}

// CloseError says that the peer broke the protocol or a limit, and which close code tells it so.
type CloseError struct {
	Code int   // to be sent in the close frame
	Err  error // one of the errors of this package
}

// Error describes the violation for a log.
func (e *CloseError) Error() string { return fmt.Sprintf("websocket close %d: %v", e.Code, e.Err) }

// Unwrap returns the violation.
func (e *CloseError) Unwrap() error { return e.Err }

// The violations; a CloseError wraps one of them.
var (
	ErrReservedBits  = errors.New("reserved bit set")
	ErrOpcode        = errors.New("unexpected opcode")
	ErrControlFrame  = errors.New("fragmented or overlong control frame")
	ErrNotMasked     = errors.New("frame not masked")
	ErrMasked        = errors.New("frame of a server masked")
	ErrTooBig        = errors.New("message too big")
	ErrFragments     = errors.New("too many fragments")
	ErrCloseCode     = errors.New("close code not allowed on the wire")
	ErrUTF8          = errors.New("text is not UTF-8")
	ErrCorruptStream = errors.New("corrupt deflate stream")
	ErrNoRoom        = errors.New("no memory for an unfinished message")
)

// Preallocated, so that a hostile peer costs no allocation for its violation.
var (
	errReservedBits = &CloseError{CloseProtocolError, ErrReservedBits}
	errOpcode       = &CloseError{CloseProtocolError, ErrOpcode}
	errControlFrame = &CloseError{CloseProtocolError, ErrControlFrame}
	errNotMasked    = &CloseError{CloseProtocolError, ErrNotMasked}
	errMasked       = &CloseError{CloseProtocolError, ErrMasked}
	errTooBig       = &CloseError{CloseTooBig, ErrTooBig}
	errFragments    = &CloseError{ClosePolicyViolation, ErrFragments}
	errCloseCode    = &CloseError{CloseProtocolError, ErrCloseCode}
	errUTF8         = &CloseError{CloseInvalidPayload, ErrUTF8}
	errCorrupt      = &CloseError{CloseInvalidPayload, ErrCorruptStream}
	errNoRoom       = &CloseError{CloseTryAgainLater, ErrNoRoom}
)

// ValidCloseCode reports whether a close frame may carry code, as ws decides it: 1000 to 1014 without 1004, 1005 and
// 1006, and 3000 to 4999.
func ValidCloseCode(code int) bool {
	switch {
	case code >= 1000 && code <= 1014:
		return code != 1004 && code != 1005 && code != 1006
	default:
		return code >= 3000 && code <= 4999
	}
}
