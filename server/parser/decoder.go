package parser

import (
	"bytes"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

// Limits bound what one packet of a client may cost. Nil and zero fields mean the defaults.
type Limits struct {
	// MaxAttachments is the highest number of attachments of a packet. Default 10, as in the reference.
	MaxAttachments int
	// MaxBytes bounds the text and the attachments of a packet with attachments together, in bytes. Default 11,000,000:
	// the text and ten attachments at Engine.IO's default limit of a message.
	MaxBytes int64
	// MaxDepth is the deepest nesting of JSON arrays and objects. Default and upper bound 4096.
	MaxDepth int
}

const (
	defaultMaxAttachments = 10
	defaultMaxBytes       = 11_000_000
	maxDepth              = 4096
)

func (l *Limits) maxAttachments() int {
	if l == nil || l.MaxAttachments <= 0 {
		return defaultMaxAttachments
	}
	return l.MaxAttachments
}

func (l *Limits) maxBytes() int64 {
	if l == nil || l.MaxBytes <= 0 {
		return defaultMaxBytes
	}
	return l.MaxBytes
}

func (l *Limits) maxDepth() int {
	if l == nil || l.MaxDepth <= 0 || l.MaxDepth > maxDepth {
		return maxDepth
	}
	return l.MaxDepth
}

// WithDefaults returns the limits with every field filled in, as a [Decoder] is given them.
func (l Limits) WithDefaults() Limits {
	return Limits{MaxAttachments: l.maxAttachments(), MaxBytes: l.maxBytes(), MaxDepth: l.maxDepth()}
}

// jsonDecoder is the [Decoder] of [JSON]. The zero value is ready, and costs one pointer until a packet with attachments is
// under way.
type jsonDecoder struct {
	pending *pending
}

// pending is a packet that lacks attachments.
type pending struct {
	packet *Packet
	want   int
	bytes  int64
}

// Text returns the text's packet, or nil and no error when attachments have to follow.
func (d *jsonDecoder) Text(lim *Limits, data []byte) (*Packet, error) {
	if d.pending != nil {
		return nil, ErrUnexpectedText
	}
	if !utf8.Valid(data) {
		data = jsontext.AppendValidUTF8(nil, data)
	}
	h, err := readHeader(data, lim.maxAttachments())
	if err != nil {
		return nil, err
	}
	if h.attachments > 0 && int64(len(data)) > lim.maxBytes() {
		return nil, ErrTooLarge
	}
	body := data[h.size:]
	if len(body) > 0 {
		if err := checkPayload(h.kind, body, lim.maxDepth()); err != nil {
			return nil, err
		}
	}
	p := NewPacket()
	p.Type, p.Namespace, p.ID = h.kind, h.namespace, h.id
	switch {
	case h.kind == Ack && h.attachments == 0 && string(body) == string(emptyArgs):
		p.JSON = emptyArgs
	case len(body) > 0:
		p.JSON = bytes.Clone(body)
	}
	if h.attachments == 0 {
		return p, nil
	}
	d.pending = &pending{packet: p, want: h.attachments, bytes: int64(len(data))}
	return nil, nil
}

// emptyArgs is the payload of every acknowledgement without arguments, the most frequent of all.
var emptyArgs = []byte("[]")

// Binary returns the packet that the attachment completes, or nil and no error when more have to follow.
func (d *jsonDecoder) Binary(lim *Limits, data []byte) (*Packet, error) {
	q := d.pending
	if q == nil {
		return nil, ErrUnexpectedBinary
	}
	if q.bytes += int64(len(data)); q.bytes > lim.maxBytes() {
		return nil, ErrTooLarge
	}
	p := q.packet
	p.Attachments = append(p.Attachments, append(make([]byte, 0, len(data)), data...))
	if len(p.Attachments) < q.want {
		return nil, nil
	}
	if err := settlePlaceholders(p); err != nil {
		return nil, err
	}
	d.pending = nil
	return p, nil
}

// Incomplete tells of the packet whose attachments are awaited.
func (d *jsonDecoder) Incomplete() (namespace string, bytes int64) {
	if d.pending == nil {
		return "", 0
	}
	return d.pending.packet.Namespace, d.pending.bytes
}

// settlePlaceholders checks the placeholders of a completed packet. One that stands for no whole number, undefined in
// the reference, becomes null in place.
func settlePlaceholders(p *Packet) error {
	if p.JSON == nil {
		p.Attachments = nil
		return nil
	}
	f, err := findPlaceholders(p.JSON, len(p.Attachments))
	if err != nil {
		return err
	}
	used := false
	for _, hole := range f.found {
		if hole.num >= 0 {
			used = true
			continue
		}
		n := copy(p.JSON[hole.start:hole.end], "null")
		for i := hole.start + n; i < hole.end; i++ {
			p.JSON[i] = ' '
		}
	}
	if !used {
		p.Attachments = nil
	}
	return nil
}

// checkPayload checks the syntax of a packet's JSON and its kind, as the reference's isPayloadValid does.
func checkPayload(t Type, body []byte, depth int) error {
	start := jsontext.SkipSpace(body, 0)
	end := jsontext.ScanValue(body, start, depth)
	if end < 0 {
		return scanError(end)
	}
	if jsontext.SkipSpace(body, end) != len(body) {
		return ErrPayload
	}
	c := body[start]
	ok := false
	switch t {
	case Connect:
		ok = c == '{'
	case ConnectError:
		ok = c == '{' || c == '"'
	case Ack:
		ok = c == '['
	case Event:
		ok = c == '[' && startsWithEventName(body[start:])
	}
	if !ok {
		return ErrPayload
	}
	return nil
}

// startsWithEventName tells whether a valid JSON array begins with a number or a string that is not reserved.
func startsWithEventName(array []byte) bool {
	i := jsontext.SkipSpace(array, 1)
	switch c := array[i]; {
	case c == '"':
		return !reservedText(array[i:jsontext.SkipString(array, i)])
	default:
		return c == '-' || jsontext.IsDigit(c)
	}
}
