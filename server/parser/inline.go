package parser

import "strconv"

// Inline returns the payload as JSON alone, each attachment in its place in the form that JSON.stringify gives a Buffer of
// Node: {"type":"Buffer","data":[1,2,3]}. A payload without attachments is returned as it is.
//
// The error is [ErrPayload] or [ErrTooDeep] for JSON that is none, [ErrAttachments] for a placeholder that stands for none
// of the attachments, and [ErrTooLarge] when attachments are named so often that they would be written more than once on
// average; peers name each attachment once.
func (p Payload) Inline() (Payload, error) {
	if len(p.Attachments) == 0 || len(p.JSON) == 0 {
		return Payload{JSON: p.JSON}, nil
	}
	if err := checkJSON(p.JSON, maxDepth); err != nil {
		return Payload{}, err
	}
	f, err := findPlaceholders(p.JSON, len(p.Attachments))
	if err != nil {
		return Payload{}, err
	}
	size, quota := len(p.JSON), 0
	for _, a := range p.Attachments {
		quota += len(a)
		size += 4*len(a) + len(bufferHead)
	}
	out := make([]byte, 0, size)
	from := 0
	for _, place := range f.found {
		out = append(out, p.JSON[from:place.start]...)
		from = place.end
		if place.num < 0 {
			out = append(out, "null"...)
			continue
		}
		a := p.Attachments[place.num]
		if quota -= len(a); quota < 0 {
			return Payload{}, ErrTooLarge
		}
		out = appendBuffer(out, a)
	}
	return Payload{JSON: append(out, p.JSON[from:]...)}, nil
}

const bufferHead = `{"type":"Buffer","data":[`

// appendBuffer appends b as Buffer.prototype.toJSON describes it.
func appendBuffer(dst, b []byte) []byte {
	dst = append(dst, bufferHead...)
	for i, c := range b {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(c), 10)
	}
	return append(dst, "]}"...)
}
