package servertest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

const (
	// maxMessage bounds what a client takes, in bytes; it keeps a broken length from becoming an allocation.
	maxMessage = 64 << 20
	maxControl = 125 // RFC 6455 section 5.5
)

var errFrame = errors.New("websocket violation by the server")

// readMessage reads one message or control frame from the server, RFC 6455 section 5. Control frames between the
// fragments of a message are given to control, which may end the reading with an error.
func readMessage(r *bufio.Reader, control func(op websocket.Opcode, payload []byte) error) (op websocket.Opcode, message []byte, err error) {
	for {
		first, payload, err := readFrame(r, maxMessage-len(message))
		if err != nil {
			return 0, nil, err
		}
		frameOp := websocket.Opcode(first &^ websocket.BitFin)
		switch {
		case frameOp >= websocket.OpClose:
			if err := control(frameOp, payload); err != nil {
				return 0, nil, err
			}
			continue
		case (frameOp == websocket.OpContinuation) != (op != 0):
			return 0, nil, fmt.Errorf("%w: opcode %d in or outside a fragmented message", errFrame, frameOp)
		case frameOp != websocket.OpContinuation:
			op = frameOp
		}
		message = append(message, payload...)
		if first&websocket.BitFin != 0 {
			return op, message, nil
		}
	}
}

// readFrame reads one frame and checks what a client must check. The first byte has no reserved bit set.
func readFrame(r *bufio.Reader, limit int) (first byte, payload []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	first, second := head[0], head[1]
	n := uint64(second & 0x7f)
	extended := 0
	switch n {
	case 126:
		extended = 2
	case 127:
		extended = 8
	}
	if extended > 0 {
		if _, err := io.ReadFull(r, head[8-extended:]); err != nil {
			return 0, nil, unexpected(err)
		}
		clear(head[:8-extended])
		n = binary.BigEndian.Uint64(head[:])
	}
	op := websocket.Opcode(first & 0x0f)
	switch {
	case first&0x70 != 0:
		return 0, nil, fmt.Errorf("%w: reserved bit in %#x", errFrame, first)
	case second&0x80 != 0:
		return 0, nil, fmt.Errorf("%w: masked frame", errFrame)
	case op > websocket.OpBinary && op < websocket.OpClose || op > websocket.OpPong:
		return 0, nil, fmt.Errorf("%w: opcode %d", errFrame, op)
	case op >= websocket.OpClose && (n > maxControl || first&websocket.BitFin == 0):
		return 0, nil, fmt.Errorf("%w: long or fragmented control frame", errFrame)
	case n > uint64(limit):
		return 0, nil, fmt.Errorf("%w: message longer than %d bytes", errFrame, maxMessage)
	}
	payload = make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, unexpected(err)
	}
	return first, payload, nil
}

// unexpected makes an end in the middle of a frame different from one between two frames.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
