package websocket

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Parser holds the read side of one connection between two calls of Feed. The zero value is ready. It is not safe for
// concurrent use, and no method may be called from within a Handler callback.
//
// UTF-8 is checked when a message is complete, not earlier: ws goes on answering pings between the fragments of a bad
// text, and a protocol violation that follows decides the close code.
type Parser struct {
	msg *buffer // payload of the unfinished message so far: unmasked, still compressed
	ctl *buffer // payload of a control frame that came in pieces

	inflated  int64  // bytes spent on looking ahead into an unfinished compressed message
	remaining int32  // payload bytes of the current frame still to come
	total     int32  // announced payload bytes of the current message
	fragments int32  // complete frames of the current message
	key       uint32 // masking key of the current frame, rotated to the next byte; little endian

	head    [maxHeader]byte
	headLen uint8

	first      byte   // first byte of the current frame
	op         Opcode // opcode of the unfinished message, 0 when there is none
	compressed bool   // that message has RSV1
	inFrame    bool   // a header has been read, its payload not yet
	done       bool
}

// Partial returns the bytes of memory that an unfinished message or control frame pins.
func (p *Parser) Partial() int {
	n := 0
	if p.msg != nil {
		n += cap(p.msg.b)
	}
	if p.ctl != nil {
		n += cap(p.ctl.b)
	}
	return n
}

// Release gives partial buffers back to the pools. The parser ignores everything from now on.
func (p *Parser) Release() {
	p.msg.free()
	p.ctl.free()
	*p = Parser{done: true}
}

type (
	stopper  interface{ Stop() bool }
	reserver interface{ Reserve(n int) bool }
)

// Feed parses data, the next bytes of the connection, and calls h for each complete item, in order. d is nil when
// permessage-deflate was not negotiated. The consumed part of data may be overwritten (payloads are unmasked in place),
// the rest is untouched: the caller owns data and passes data[n:] again, followed by later bytes.
//
// n is len(data), or less when h asked to stop. The error, if any, is a *CloseError. After an error or a close frame the
// parser holds no buffer and ignores everything.
func (p *Parser) Feed(cfg *Config, d *Deflate, h Handler, data []byte) (n int, err error) {
	stop, _ := h.(stopper)
	for n < len(data) && !p.done {
		if !p.inFrame {
			used, err := p.readHead(cfg, d, data[n:])
			n += used
			if err != nil {
				p.Release()
				return len(data), err
			}
			if !p.inFrame {
				break
			}
		}
		used, called, err := p.readPayload(cfg, d, h, data[n:])
		n += used
		if err != nil {
			p.Release()
			return len(data), err
		}
		if called && stop != nil && stop.Stop() {
			return n, nil
		}
	}
	if p.done {
		return len(data), nil
	}
	return n, nil
}

// readHead reads as much of a frame header as b holds, and judges each part as soon as it is there, before any payload
// is waited for.
func (p *Parser) readHead(cfg *Config, d *Deflate, b []byte) (n int, err error) {
	n = p.fill(b, 2)
	if p.headLen < 2 {
		return n, nil
	}
	mask := uint8(4)
	if cfg.fromServer() {
		mask = 0
	}
	if err := p.checkBits(d != nil, mask > 0); err != nil {
		return n, err
	}
	length, ext := uint64(p.head[1]&^bitMask), uint8(0)
	switch length {
	case 126:
		ext = 2
	case 127:
		ext = 8
	}
	n += p.fill(b[n:], 2+ext)
	if p.headLen < 2+ext {
		return n, nil
	}
	switch ext {
	case 2:
		length = uint64(binary.BigEndian.Uint16(p.head[2:]))
	case 8:
		length = binary.BigEndian.Uint64(p.head[2:])
	}
	control := Opcode(p.head[0]&0x0f) >= OpClose
	if limit := uint64(cfg.maxMessageSize()); !control && (length > limit || length+uint64(p.total) > limit) {
		return n, errTooBig
	}
	n += p.fill(b[n:], 2+ext+mask)
	if p.headLen < 2+ext+mask {
		return n, nil
	}
	if mask > 0 {
		p.key = binary.LittleEndian.Uint32(p.head[2+ext:])
	}
	p.begin(int32(length))
	return n, nil
}

// fill copies bytes from b until the header has want of them.
func (p *Parser) fill(b []byte, want uint8) int {
	if p.headLen >= want {
		return 0
	}
	n := copy(p.head[p.headLen:want], b)
	p.headLen += uint8(n)
	return n
}

// checkBits judges the first two bytes of a frame; RFC 6455 sections 5.2, 5.4 and 5.5, RFC 7692 section 6.
func (p *Parser) checkBits(deflate, masked bool) error {
	first, second := p.head[0], p.head[1]
	rsv1 := first&BitRSV1 != 0
	if first&bitsRSV23 != 0 || rsv1 && !deflate {
		return errReservedBits
	}
	switch op := Opcode(first & 0x0f); op {
	case OpContinuation:
		if rsv1 {
			return errReservedBits
		}
		if p.op == 0 {
			return errOpcode
		}
	case OpText, OpBinary:
		if p.op != 0 {
			return errOpcode
		}
	case OpClose, OpPing, OpPong:
		length := second &^ bitMask
		if first&BitFin == 0 || length > maxControlPayload || op == OpClose && length == 1 {
			return errControlFrame
		}
		if rsv1 {
			return errReservedBits
		}
	default:
		return errOpcode
	}
	switch {
	case masked && second&bitMask == 0:
		return errNotMasked
	case !masked && second&bitMask != 0:
		return errMasked
	}
	return nil
}

// begin starts the frame whose complete header is in p.head.
func (p *Parser) begin(length int32) {
	p.first, p.headLen = p.head[0], 0
	p.remaining, p.inFrame = length, true
	switch op := Opcode(p.first & 0x0f); op {
	case OpText, OpBinary:
		p.op, p.compressed = op, p.first&BitRSV1 != 0
		p.total = length
	case OpContinuation:
		p.total += length
	}
}

// readPayload consumes payload bytes of the current frame; called says whether a callback ran.
func (p *Parser) readPayload(cfg *Config, d *Deflate, h Handler, b []byte) (n int, called bool, err error) {
	n = min(int(p.remaining), len(b))
	b = b[:n]
	whole := n == int(p.remaining)
	if op := Opcode(p.first & 0x0f); op >= OpClose {
		if !whole || p.ctl != nil {
			p.ctl = p.ctl.grow(maxControlPayload, 0)
			if b = p.take(p.ctl, b); !whole {
				return n, false, nil
			}
		} else {
			p.unmask(b)
		}
		p.inFrame = false
		err = p.control(h, op, b)
		p.ctl.free()
		p.ctl = nil
		return n, true, err
	}
	if whole && p.first&BitFin != 0 && p.msg == nil && p.fragments == 0 && !p.compressed {
		p.unmask(b)
		p.inFrame = false
		return n, true, p.message(h, b)
	}
	if n > 0 {
		if !p.makeRoom(h, n) {
			return n, false, errNoRoom
		}
		p.take(p.msg, b)
	}
	if !whole {
		return n, false, nil
	}
	p.inFrame = false
	called, err = p.endFrame(cfg, d, h)
	return n, called, err
}

// makeRoom grows the unfinished message by n bytes, if h lets it.
func (p *Parser) makeRoom(h Handler, n int) bool {
	if p.msg != nil {
		n += len(p.msg.b)
	}
	// The announced total bounds the doubling; it has passed the size limit.
	more := p.msg.growth(n, int(p.total))
	if more == 0 {
		return true
	}
	if r, ok := h.(reserver); ok && !r.Reserve(more) {
		return false
	}
	p.msg = p.msg.grow(n, int(p.total))
	return true
}

// take appends b to dst, which has room, and unmasks it there. It returns the whole content.
func (p *Parser) take(dst *buffer, b []byte) []byte {
	have := len(dst.b)
	dst.b = append(dst.b, b...)
	p.unmask(dst.b[have:])
	return dst.b
}

func (p *Parser) unmask(b []byte) {
	p.remaining -= int32(len(b))
	if p.key == 0 {
		return
	}
	var key [4]byte
	binary.LittleEndian.PutUint32(key[:], p.key)
	ws.Cipher(b, key, 0)
	shift := 8 * (len(b) & 3)
	p.key = p.key>>shift | p.key<<(32-shift)
}

// endFrame handles the end of a data frame that did not qualify for delivery without a copy.
func (p *Parser) endFrame(cfg *Config, d *Deflate, h Handler) (called bool, err error) {
	p.fragments++
	if int(p.fragments) > cfg.maxFragments() {
		return false, errFragments
	}
	limit := int(cfg.maxMessageSize())
	fin := p.first&BitFin != 0
	if !p.compressed {
		if !fin {
			return false, nil
		}
		msg := p.msg
		p.msg = nil
		var payload []byte
		if msg != nil {
			payload = msg.b
		}
		err = p.message(h, payload)
		msg.free()
		return true, err
	}
	if !fin {
		return false, p.lookAhead(d, limit)
	}
	p.msg = p.msg.withTrailer()
	out, err := d.inflate(p.msg.b, limit)
	p.msg.free()
	p.msg = nil
	if err != nil {
		return false, err
	}
	err = p.message(h, out.b)
	out.free()
	return true, err
}

// lookAhead inflates an unfinished compressed message, as far as it has come, only to find out whether it is corrupt
// or too big, because ws inflates each fragment as it arrives. Each time starts from the beginning, so the effort is
// bounded; what it misses is found at the end of the message.
func (p *Parser) lookAhead(d *Deflate, limit int) error {
	if p.msg == nil || p.inflated > 4*int64(limit) {
		return nil
	}
	out, _, err := d.decompress(p.msg.b, limit)
	if err != nil {
		return err
	}
	p.inflated += int64(len(p.msg.b) + len(out.b))
	out.free()
	return nil
}

// message delivers a complete message and resets the message state.
func (p *Parser) message(h Handler, payload []byte) error {
	op := p.op
	p.op, p.compressed, p.total, p.fragments, p.inflated = 0, false, 0, 0, 0
	if op == OpText && !utf8.Valid(payload) {
		return errUTF8
	}
	h.OnMessage(op, payload)
	return nil
}

func (p *Parser) control(h Handler, op Opcode, payload []byte) error {
	switch op {
	case OpPing:
		h.OnPing(payload)
	case OpPong:
		h.OnPong(payload)
	default:
		return p.close(h, payload)
	}
	return nil
}

// close handles the peer's close frame; RFC 6455 sections 5.5.1 and 7.4. It may interrupt a fragmented message.
func (p *Parser) close(h Handler, payload []byte) error {
	code, reason := CloseNoStatus, payload
	if len(payload) >= 2 {
		code, reason = int(binary.BigEndian.Uint16(payload)), payload[2:]
		if !ValidCloseCode(code) {
			return errCloseCode
		}
		if !utf8.Valid(reason) {
			return errUTF8
		}
	}
	h.OnClose(code, reason)
	p.msg.free()
	p.msg, p.done = nil, true
	return nil
}
