package api

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"

	"github.com/sockeye-io/sockeye/server/parser"
)

const (
	// binaryKey is the only key of an object that stands for binary data, in base64.
	binaryKey = "$binary"
	// placeholderKey is what such an object is on the wire.
	placeholderKey = "_placeholder"
	// maxAttachments is how many attachments the decoders of current clients take.
	maxAttachments = 10
)

// arguments makes the arguments of an event. The text of each stays as it is, but for what stands for binary.
func arguments(list []json.RawMessage) ([]any, error) {
	out := make([]any, len(list))
	attachments := 0
	for i, raw := range list {
		p, err := argument(raw)
		if err != nil {
			return nil, err
		}
		if attachments += len(p.Attachments); attachments > maxAttachments {
			return nil, invalid("an event has at most %d binary values", maxAttachments)
		}
		out[i] = p
	}
	return out, nil
}

// argument replaces each {"$binary": "base64"} in a JSON text by a placeholder.
func argument(raw json.RawMessage) (parser.Payload, error) {
	p := parser.Payload{JSON: raw}
	// A key can be written with escapes, which have a backslash.
	if !bytes.Contains(raw, []byte(binaryKey)) && !bytes.ContainsRune(raw, '\\') {
		return p, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var w window
	var text []byte
	copied, placeholder := 0, false
	for {
		token, err := d.Token()
		if err != nil {
			break // the text is valid JSON: this is its end
		}
		w.push(token, int(d.InputOffset()))
		placeholder = placeholder || token == placeholderKey
		encoded, start, ok := w.binary()
		if !ok {
			continue
		}
		data, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return p, invalid("the value of %s is no base64: %v", binaryKey, err)
		}
		text = append(text, raw[copied:start]...)
		text = append(text, `{"_placeholder":true,"num":`+strconv.Itoa(len(p.Attachments))+`}`...)
		copied = int(d.InputOffset())
		p.Attachments = append(p.Attachments, data)
	}
	if len(p.Attachments) == 0 {
		return p, nil
	}
	if placeholder {
		return p, invalid("%q must not stand beside binary, which it would be taken for", placeholderKey)
	}
	p.JSON = append(text, raw[copied:]...)
	return p, nil
}

// window is the last four tokens of a text, with where they end: an object with one text is "{", key, text, "}".
type window struct {
	tokens [4]json.Token
	ends   [4]int
}

func (w *window) push(token json.Token, end int) {
	copy(w.tokens[:], w.tokens[1:])
	copy(w.ends[:], w.ends[1:])
	w.tokens[3], w.ends[3] = token, end
}

// binary returns the text of an object that stands for binary and has just ended, and where it starts. Behind "{" stands a key.
func (w *window) binary() (encoded string, start int, ok bool) {
	text, isText := w.tokens[2].(string)
	if w.tokens[0] != json.Delim('{') || w.tokens[1] != binaryKey || !isText || w.tokens[3] != json.Delim('}') {
		return "", 0, false
	}
	return text, w.ends[0] - 1, true
}
