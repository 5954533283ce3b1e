package parser

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// placeholder is an object {"_placeholder":true,"num":n} in a JSON text. num is negative when n is inside the range of
// the attachments but no whole number.
type placeholder struct {
	start, end int
	num        int
}

// findPlaceholders lists the placeholders of a valid JSON text with count attachments. As in the reference's
// reconstructPacket the last of equal keys decides, what else a placeholder contains is not looked at, and one without a
// num in the range is an error.
func findPlaceholders(text json.RawMessage, count int) (finder, error) {
	f := finder{text: text, count: count}
	if _, ok := f.value(skipSpace(text, 0)); !ok {
		return f, ErrAttachments
	}
	return f, nil
}

// finder goes through a JSON text once. Both lists are in the order in which their items start.
type finder struct {
	text    json.RawMessage
	count   int
	found   []placeholder
	holders []span // the arrays and objects with placeholders inside
}

// value returns the position after the value at i, and whether it is free of illegal placeholders.
func (f *finder) value(i int) (end int, ok bool) {
	c := f.text[i]
	switch {
	case c == '"':
		return skipString(f.text, i), true
	case c != '{' && c != '[':
		return skipScalar(f.text, i), true
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
	for i = skipSpace(f.text, i+1); f.text[i] != ']'; i = nextItem(f.text, i) {
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
	i := skipSpace(f.text, start+1)
	for f.text[i] != '}' {
		key, at := readKey(f.text, i)
		valueEnd, legal := f.value(at)
		value := f.text[at:valueEnd]
		switch {
		case keyIs(key, "_placeholder"):
			isPlaceholder = string(value) == "true"
		case keyIs(key, "num"):
			num = value
		}
		if !legal || len(illegal) > 0 {
			illegal = noteIllegal(illegal, key, legal)
		}
		i = nextItem(f.text, valueEnd)
	}
	if !isPlaceholder {
		return i + 1, len(illegal) == 0
	}
	n, ok := placeholderIndex(num, f.count)
	f.found = append(f.found[:mark], placeholder{start: start, end: i + 1, num: n})
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

// placeholderIndex reads the num of a placeholder.
func placeholderIndex(num []byte, count int) (int, bool) {
	if len(num) == 0 || num[0] != '-' && !isDigit(num[0]) {
		return 0, false
	}
	n := parseJSONNumber(num)
	if !(n >= 0 && n < float64(count)) {
		return 0, false
	}
	if float64(int(n)) != n {
		return -1, true
	}
	return int(n), true
}

// readKey reads the key at i of a valid object and the position of its value.
func readKey(b []byte, i int) (key []byte, value int) {
	end := skipString(b, i)
	return b[i:end], skipSpace(b, skipSpace(b, end)+1)
}

// nextItem returns the position of the item after the one that ends at i, or of the closing bracket.
func nextItem(b []byte, i int) int {
	if i = skipSpace(b, i); b[i] == ',' {
		i = skipSpace(b, i+1)
	}
	return i
}

// skipScalar returns the position after the valid number, true, false or null at i.
func skipScalar(b []byte, i int) int {
	for i < len(b) {
		switch b[i] {
		case ',', ']', '}', ' ', '\n', '\r', '\t':
			return i
		}
		i++
	}
	return i
}

// keyIs compares a key in its JSON form with a name.
func keyIs(key []byte, name string) bool {
	if len(key) == len(name)+2 {
		return string(key[1:len(key)-1]) == name
	}
	if len(key) > 6*len(name)+2 || bytes.IndexByte(key, '\\') < 0 {
		return false
	}
	s, err := unquote(key)
	return err == nil && s == name
}

// appendPlaceholder appends the object that stands for attachment num.
func appendPlaceholder(dst []byte, num int) []byte {
	dst = append(dst, `{"_placeholder":true,"num":`...)
	dst = strconv.AppendInt(dst, int64(num), 10)
	return append(dst, '}')
}
