package parser

import (
	"encoding/json"
	"strconv"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

// placeholder is an object {"_placeholder":true,"num":n} in a JSON text. num is negative when n is inside the range of
// the attachments but no whole number. A finder that is exact also finds what is in no object of this kind.
type placeholder struct {
	start, end int
	num        int
	kind       kind
}

// kind says what a finder has found.
type kind uint8

const (
	kindBinary kind = iota
	kindText        // a string with a lone surrogate
	kindWhole       // a number that is whole although it is spelled with a fraction or an exponent
	kindKey         // a key that is one of these
)

// findPlaceholders lists the placeholders of a valid JSON text with count attachments. As in the reference's
// reconstructPacket the last of equal keys decides, what else a placeholder contains is not looked at, and one without a
// num in the range is an error.
func findPlaceholders(text json.RawMessage, count int) (finder, error) {
	f := finder{text: text, count: count}
	if _, ok := f.value(jsontext.SkipSpace(text, 0)); !ok {
		return f, ErrAttachments
	}
	return f, nil
}

// finder goes through a JSON text once. Both lists are in the order in which their items start.
type finder struct {
	text    json.RawMessage
	count   int
	exact   bool // finds every kind
	found   []placeholder
	holders []span // the arrays and objects with something found inside
}

// value returns the position after the value at i, and whether it is free of illegal placeholders.
func (f *finder) value(i int) (end int, ok bool) {
	c := f.text[i]
	switch {
	case c == '"':
		end = jsontext.SkipString(f.text, i)
		if f.exact && jsontext.HoldsLone(f.text[i:end]) {
			f.found = append(f.found, placeholder{i, end, 0, kindText})
		}
		return end, true
	case c != '{' && c != '[':
		end = jsontext.SkipScalar(f.text, i)
		if f.exact && isWhole(f.text[i:end]) {
			f.found = append(f.found, placeholder{i, end, 0, kindWhole})
		}
		return end, true
	}
	found, holder := len(f.found), len(f.holders)
	f.holders = append(f.holders, span{start: i})
	if c == '[' {
		end, ok = f.array(i)
	} else {
		end, ok = f.object(i)
	}
	f.holders[holder].end = end
	if len(f.found) == found || f.found[found].start == i {
		f.holders = f.holders[:holder]
	}
	return end, ok
}

func (f *finder) array(i int) (end int, ok bool) {
	ok = true
	for i = jsontext.SkipSpace(f.text, i+1); f.text[i] != ']'; i = jsontext.NextItem(f.text, i) {
		var legal bool
		i, legal = f.value(i)
		ok = ok && legal
	}
	return i + 1, ok
}

func (f *finder) object(start int) (end int, ok bool) {
	mark := len(f.found)
	isPlaceholder := false
	var num []byte
	var illegal map[string]struct{} // keys whose value, so far the last one, holds an illegal placeholder
	i := jsontext.SkipSpace(f.text, start+1)
	for f.text[i] != '}' {
		key, at := readKey(f.text, i)
		if f.exact && (jsontext.HoldsLone(key) || isWhole(key[1:len(key)-1])) {
			f.found = append(f.found, placeholder{i, i + len(key), 0, kindKey})
		}
		valueEnd, legal := f.value(at)
		value := f.text[at:valueEnd]
		switch {
		case jsontext.KeyIs(key, "_placeholder"):
			isPlaceholder = string(value) == "true"
		case jsontext.KeyIs(key, "num"):
			num = value
		}
		if !legal || len(illegal) > 0 {
			illegal = noteIllegal(illegal, key, legal)
		}
		i = jsontext.NextItem(f.text, valueEnd)
	}
	if !isPlaceholder || f.count == 0 {
		return i + 1, len(illegal) == 0
	}
	n, ok := jsontext.Placeholder(num, f.count)
	f.found = append(f.found[:mark], placeholder{start: start, end: i + 1, num: n, kind: kindBinary})
	return i + 1, ok
}

func noteIllegal(illegal map[string]struct{}, key []byte, legal bool) map[string]struct{} {
	name, _ := unquote(key)
	if legal {
		delete(illegal, name)
		return illegal
	}
	if illegal == nil {
		illegal = make(map[string]struct{})
	}
	illegal[name] = struct{}{}
	return illegal
}

// readKey reads the key at i of a valid object and the position of its value.
func readKey(b []byte, i int) (key []byte, value int) {
	end := jsontext.SkipString(b, i)
	return b[i:end], jsontext.SkipSpace(b, jsontext.SkipSpace(b, end)+1)
}

// appendPlaceholder appends the object that stands for attachment num.
func appendPlaceholder(dst []byte, num int) []byte {
	dst = append(dst, `{"_placeholder":true,"num":`...)
	dst = strconv.AppendInt(dst, int64(num), 10)
	return append(dst, '}')
}
