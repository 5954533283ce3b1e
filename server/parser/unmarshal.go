package parser

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"sort"
	"strings"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

// Unmarshal stores the payload in the value that v points to, by encoding/json's rules. Each placeholder gives its
// attachment to a target of type []byte (or any, which then holds a []byte); a target that can hold no binary is
// an error of type *json.UnmarshalTypeError. In an any, null is nil, a number a float64, an object a map[string]any.
//
// In two things it is closer to JavaScript than encoding/json. A lone surrogate in a string or key, which Go's strings have
// no character for, gets the three bytes that UTF-8 would give it if it were one, so that strings that differ stay
// different; [Marshal] turns them back. Such a string is not valid UTF-8, which utf8.ValidString tells. And a number
// whose fraction is zero (3.0, 1e2, -0), or a key that is one, is an integer for a target that is one, if it fits exactly.
//
// Two choices where JavaScript has no counterpart: a []byte target that meets a JSON string reads it as base64, as
// encoding/json does; and a json.Unmarshaler with binary inside its part of the JSON sees base64 strings there, but a
// json.RawMessage, which could not be sent on, is an error: use a [Payload] for that.
//
// What unmarshalers get is bounded: attachments named so often that their base64 forms would be longer than all
// attachments together are [ErrTooLarge]; peers name each attachment once.
//
// Attachments are not copied, and neither is the JSON for a target that is itself a json.RawMessage or a Payload: they
// must not be changed while others use the same payload.
//
// A payload without JSON is undefined and leaves the target as it is.
func (p Payload) Unmarshal(v any) error {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Pointer || rv.IsNil() {
		return &json.InvalidUnmarshalError{Type: reflect.TypeOf(v)}
	}
	if len(p.JSON) == 0 {
		return nil
	}
	if len(p.Attachments) == 0 {
		return unmarshalPlain(p.JSON, v)
	}
	if target, ok := v.(*Payload); ok {
		*target = p
		return nil
	}
	if err := checkJSON(p.JSON, maxDepth); err != nil {
		return err
	}
	return p.fill(rv.Elem())
}

// fill stores a checked payload in v.
func (p Payload) fill(v reflect.Value) error {
	d := filler{payload: p, finder: finder{text: p.JSON, count: len(p.Attachments), exact: true}}
	start := jsontext.SkipSpace(p.JSON, 0)
	end, ok := d.value(start)
	if !ok {
		return ErrAttachments
	}
	for _, a := range p.Attachments {
		d.quota += len(a)
	}
	return d.fill(v, span{start, end})
}

// unmarshalPlain is json.Unmarshal with short cuts for the targets that most handlers have.
func unmarshalPlain(text json.RawMessage, v any) error {
	switch v := v.(type) {
	case *string:
		if text[0] == '"' {
			if s, err := unquote(text); err == nil {
				*v = s
				return nil
			}
		}
	case *bool:
		if s := string(text); s == "true" || s == "false" {
			*v = s == "true"
			return nil
		}
	case *int:
		if n, ok := smallInt(text); ok {
			*v = n
			return nil
		}
	case *Payload:
		if err := checkJSON(text, maxDepth); err != nil {
			return err
		}
		*v = Payload{JSON: text}
		return nil
	case *json.RawMessage:
		if err := checkJSON(text, maxDepth); err != nil {
			return err
		}
		*v = text
		return nil
	}
	if jsontext.HoldsLone(text) {
		return unmarshalExact(text, v)
	}
	err := json.Unmarshal(text, v)
	if mismatch, ok := err.(*json.UnmarshalTypeError); ok && strings.HasPrefix(mismatch.Value, "number") {
		return unmarshalExact(text, v)
	}
	return err
}

// smallInt reads an integer of up to nine digits, which fits any int.
func smallInt(text []byte) (int, bool) {
	unsigned := text
	if len(text) > 0 && text[0] == '-' {
		unsigned = text[1:]
	}
	if len(unsigned) == 0 || len(unsigned) > 9 || digits(unsigned) != len(unsigned) || unsigned[0] == '0' && len(unsigned) > 1 {
		return 0, false
	}
	n := 0
	for _, c := range unsigned {
		n = n*10 + int(c-'0')
	}
	if len(unsigned) < len(text) {
		n = -n
	}
	return n, true
}

// filler stores a payload with attachments. It goes itself down to where the placeholders are, and leaves all JSON
// without a placeholder to encoding/json.
type filler struct {
	payload Payload
	finder
	quota int // attachment bytes that may still be written out as base64
}

func (d *filler) span(s span) json.RawMessage { return d.text[s.start:s.end:s.end] }

// end returns the position after the value at i. It does not read what a holder contains, so that the time for nested
// arrays does not grow with the square of their depth.
func (d *filler) end(i int) int {
	switch d.text[i] {
	case '"':
		return jsontext.SkipString(d.text, i)
	case '{', '[':
		n := sort.Search(len(d.holders), func(n int) bool { return d.holders[n].start >= i })
		if n < len(d.holders) && d.holders[n].start == i {
			return d.holders[n].end
		}
		return jsontext.ScanValue(d.text, i, maxDepth)
	}
	return jsontext.SkipScalar(d.text, i)
}

// within lists the placeholders inside of s.
func (d *filler) within(s span) []placeholder {
	from := sort.Search(len(d.found), func(i int) bool { return d.found[i].start >= s.start })
	to := sort.Search(len(d.found), func(i int) bool { return d.found[i].start >= s.end })
	return d.found[from:to]
}

// fill stores the JSON at s in v, which can be set.
func (d *filler) fill(v reflect.Value, s span) error {
	inside := d.within(s)
	if len(inside) == 0 {
		return json.Unmarshal(d.span(s), v.Addr().Interface())
	}
	if inside[0].start == s.start && inside[0].kind == kindBinary && inside[0].num < 0 {
		return json.Unmarshal([]byte("null"), v.Addr().Interface())
	}
	if v.Kind() == reflect.Interface && !v.IsNil() && v.Elem().Kind() == reflect.Pointer && !v.Elem().IsNil() {
		return d.fill(v.Elem().Elem(), s)
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return d.fill(v.Elem(), s)
	}
	switch v.Type() {
	case payloadType:
		v.Set(reflect.ValueOf(Payload{JSON: d.span(s), Attachments: d.payload.Attachments}))
		return nil
	case rawType:
		if holdsBinary(inside) {
			return d.mismatch(v, s)
		}
		v.SetBytes(append([]byte(nil), d.span(s)...))
		return nil
	}
	if inside[0].start == s.start {
		return d.fillFound(v, s, inside[0])
	}
	if u, ok := v.Addr().Interface().(json.Unmarshaler); ok {
		return d.fillCustom(u, s, inside)
	}
	if d.text[s.start] == '[' {
		return d.fillArray(v, s)
	}
	return d.fillObject(v, s)
}

// mismatch is the error of a target that cannot take the JSON at s.
func (d *filler) mismatch(v reflect.Value, s span) error {
	what := "number " + string(d.span(s))
	in := d.within(s)
	switch c := d.text[s.start]; {
	case len(in) > 0 && in[0].start == s.start && in[0].kind == kindBinary:
		what = "binary attachment"
	case c == '"':
		what = "string"
	case c == '{':
		what = "object"
	case c == '[':
		what = "array"
	}
	if v.Type() == rawType && what != "binary attachment" {
		what += " with binary attachment"
	}
	return &json.UnmarshalTypeError{Value: what, Type: v.Type(), Offset: int64(s.start)}
}

func (d *filler) fillBinary(v reflect.Value, s span, f placeholder) error {
	if u, ok := v.Addr().Interface().(json.Unmarshaler); ok {
		return d.fillCustom(u, s, []placeholder{f})
	}
	switch {
	case isBytes(v.Type()):
		v.SetBytes(d.payload.Attachments[f.num])
	case v.Kind() == reflect.Interface && v.NumMethod() == 0:
		v.Set(reflect.ValueOf(d.payload.Attachments[f.num]))
	default:
		return d.mismatch(v, s)
	}
	return nil
}

// fillCustom hands the JSON at s to a json.Unmarshaler. A few bytes of JSON can name one long attachment thousands of
// times, so that all unmarshalers together get no more than the attachments are long.
func (d *filler) fillCustom(u json.Unmarshaler, s span, inside []placeholder) error {
	for _, f := range inside {
		if f.kind == kindBinary && f.num >= 0 {
			d.quota -= len(d.payload.Attachments[f.num])
		}
	}
	if d.quota < 0 {
		return ErrTooLarge
	}
	return u.UnmarshalJSON(d.base64(s, inside))
}

// base64 returns the JSON at s with strings in the place of its placeholders.
func (d *filler) base64(s span, inside []placeholder) []byte {
	var out []byte
	from := s.start
	for _, f := range inside {
		if f.kind != kindBinary {
			continue
		}
		out = append(out, d.text[from:f.start]...)
		from = f.end
		if f.num < 0 {
			out = append(out, "null"...)
			continue
		}
		out = append(out, '"')
		out = base64.StdEncoding.AppendEncode(out, d.payload.Attachments[f.num])
		out = append(out, '"')
	}
	return append(out, d.text[from:s.end]...)
}

func (d *filler) fillArray(v reflect.Value, s span) error {
	items := d.items(s)
	target := v
	switch {
	case v.Kind() == reflect.Interface && v.NumMethod() == 0:
		target = reflect.ValueOf(new([]any)).Elem()
		target.Set(reflect.MakeSlice(target.Type(), items.n, items.n))
	case v.Kind() == reflect.Slice:
		target.Set(reflect.MakeSlice(v.Type(), items.n, items.n))
	case v.Kind() == reflect.Array:
		v.SetZero()
	default:
		return d.mismatch(v, s)
	}
	if err := d.fillItems(target, items); err != nil {
		return err
	}
	if target != v {
		v.Set(target)
	}
	return nil
}

// items are the items of an array: those with placeholders, and an array of the others.
type items struct {
	n       int
	plain   []byte
	holders []holder
}

// holder is an item with placeholders.
type holder struct {
	index int
	span
}

func (d *filler) items(s span) items {
	list := items{plain: append(make([]byte, 0, d.plainSize(s)), '[')}
	for i := jsontext.SkipSpace(d.text, s.start+1); d.text[i] != ']'; list.n++ {
		item := span{i, d.end(i)}
		if len(d.within(item)) > 0 {
			list.holders = append(list.holders, holder{list.n, item})
		} else {
			if len(list.plain) > 1 {
				list.plain = append(list.plain, ',')
			}
			list.plain = append(list.plain, d.span(item)...)
		}
		i = jsontext.NextItem(d.text, item.end)
	}
	list.plain = append(list.plain, ']')
	return list
}

// plainSize returns an upper bound for the text at s without the arrays and objects in it that have placeholders inside.
func (d *filler) plainSize(s span) int {
	n := s.end - s.start
	for at := s.start + 1; ; {
		i := sort.Search(len(d.holders), func(i int) bool { return d.holders[i].start >= at })
		if i == len(d.holders) || d.holders[i].start >= s.end {
			return n
		}
		n -= d.holders[i].end - d.holders[i].start
		at = d.holders[i].end
	}
}

// fillItems stores items in list, the ones without a placeholder by a single call of encoding/json. An array may be
// shorter than its items.
func (d *filler) fillItems(list reflect.Value, in items) error {
	decoded := reflect.New(reflect.SliceOf(list.Type().Elem()))
	if err := json.Unmarshal(in.plain, decoded.Interface()); err != nil {
		return err
	}
	next, holders := 0, in.holders
	for i := range min(in.n, list.Len()) {
		if len(holders) == 0 || holders[0].index != i {
			list.Index(i).Set(decoded.Elem().Index(next))
			next++
			continue
		}
		if err := d.fill(list.Index(i), holders[0].span); err != nil {
			return err
		}
		holders = holders[1:]
	}
	return nil
}

// member is a member of an object. It starts with its key.
type member struct {
	name  string
	start int
	value span
}

func (d *filler) fillObject(v reflect.Value, s span) error {
	members, plain := d.members(s)
	switch {
	case v.Kind() == reflect.Interface && v.NumMethod() == 0:
		m := make(map[string]any)
		target := reflect.ValueOf(&m).Elem()
		if err := d.fillMap(target, members, plain); err != nil {
			return err
		}
		v.Set(target)
		return nil
	case v.Kind() == reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMap(v.Type()))
		}
		return d.fillMap(v, members, plain)
	case v.Kind() == reflect.Struct:
		return d.fillStruct(v, members, plain)
	}
	return d.mismatch(v, s)
}

// members splits an object: the members with something found, and an object of the others. Of equal keys the last counts.
func (d *filler) members(s span) (members []member, plain []byte) {
	text := d.text
	var all []member
	last := make(map[string]int)
	for i := jsontext.SkipSpace(text, s.start+1); text[i] != '}'; {
		key, at := readKey(text, i)
		name, _ := unquote(key)
		m := member{name, i, span{at, d.end(at)}}
		last[name] = len(all)
		all = append(all, m)
		i = jsontext.NextItem(text, m.value.end)
	}
	plain = append(plain, '{')
	for i, m := range all {
		switch {
		case last[m.name] != i:
		case len(d.within(span{m.start, m.value.end})) > 0:
			members = append(members, m)
		default:
			if len(plain) > 1 {
				plain = append(plain, ',')
			}
			plain = append(plain, text[m.start:m.value.end]...)
		}
	}
	return members, append(plain, '}')
}

func (d *filler) fillMap(v reflect.Value, members []member, plain []byte) error {
	if err := json.Unmarshal(plain, v.Addr().Interface()); err != nil {
		return err
	}
	for _, m := range members {
		key, err := mapKey(v.Type().Key(), m.name)
		if err != nil {
			return err
		}
		elem := reflect.New(v.Type().Elem()).Elem()
		if err := d.fill(elem, m.value); err != nil {
			return err
		}
		v.SetMapIndex(key, elem)
	}
	return nil
}

// mapKey makes a map's key of an object's key. Keys that are numbers are left to encoding/json.
func mapKey(t reflect.Type, name string) (reflect.Value, error) {
	if reflect.PointerTo(t).Implements(textUnmarshalerType) {
		key := reflect.New(t)
		err := key.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(name))
		return key.Elem(), err
	}
	if t.Kind() == reflect.String {
		return reflect.ValueOf(name).Convert(t), nil
	}
	if whole, ok := wholeText([]byte(name)); ok {
		name = whole
	}
	m := reflect.New(reflect.MapOf(t, reflect.TypeFor[struct{}]()))
	text := append(appendString([]byte{'{'}, name), ":{}}"...)
	if err := json.Unmarshal(text, m.Interface()); err != nil {
		return reflect.Value{}, err
	}
	return m.Elem().MapKeys()[0], nil
}

func (d *filler) fillStruct(v reflect.Value, members []member, plain []byte) error {
	if err := json.Unmarshal(plain, v.Addr().Interface()); err != nil {
		return err
	}
	for _, m := range members {
		f, ok := findField(v.Type(), m.name)
		if !ok {
			continue
		}
		fv, err := fieldByIndex(v, f.index)
		if err != nil {
			return err
		}
		if f.quoted {
			return d.mismatch(fv, m.value)
		}
		if err := d.fill(fv, m.value); err != nil {
			return err
		}
	}
	return nil
}

// findField finds the field for a key: by its exact name, else without regard to case.
func findField(t reflect.Type, key string) (field, bool) {
	folded := -1
	fields := fieldsOf(t)
	for i, f := range fields {
		if f.name == key {
			return f, true
		}
		if folded < 0 && strings.EqualFold(f.name, key) {
			folded = i
		}
	}
	if folded < 0 {
		return field{}, false
	}
	return fields[folded], true
}

// fieldByIndex goes to a field through embedded pointers, which it fills.
func fieldByIndex(v reflect.Value, index []int) (reflect.Value, error) {
	for i, x := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				if !v.CanSet() {
					return v, &json.UnmarshalTypeError{Value: "object", Type: v.Type()}
				}
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v, nil
}
