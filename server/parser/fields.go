package parser

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// field is a struct field that takes part in JSON.
type field struct {
	name      string
	tagged    bool
	index     []int // path through embedded structs
	typ       reflect.Type
	omitEmpty bool
	quoted    bool // the tag's option string
	isZero    func(reflect.Value) bool
}

var fieldLists sync.Map // reflect.Type -> []field

// fieldsOf lists the fields of a struct type by encoding/json's rules: of several fields with one name the least deeply
// embedded wins, then the tagged one, and a tie hides them all. The order is that of the declaration.
func fieldsOf(t reflect.Type) []field {
	if list, ok := fieldLists.Load(t); ok {
		return list.([]field)
	}
	all := collectFields(t)
	byName := make(map[string][]field)
	for _, f := range all {
		byName[f.name] = append(byName[f.name], f)
	}
	var list []field
	for _, same := range byName {
		if f, ok := dominant(same); ok {
			list = append(list, f)
		}
	}
	slices.SortFunc(list, func(a, b field) int { return slices.Compare(a.index, b.index) })
	got, _ := fieldLists.LoadOrStore(t, list)
	return got.([]field)
}

func dominant(same []field) (field, bool) {
	slices.SortStableFunc(same, compareRank)
	if len(same) > 1 && compareRank(same[0], same[1]) == 0 {
		return field{}, false
	}
	return same[0], true
}

func compareRank(a, b field) int {
	if c := cmp.Compare(len(a.index), len(b.index)); c != 0 || a.tagged == b.tagged {
		return c
	}
	if a.tagged {
		return -1
	}
	return 1
}

// level is an embedded struct whose fields are still to be listed.
type level struct {
	typ   reflect.Type
	index []int
}

// collectFields walks the embedded structs breadth first, each type at its least depth only; there as often as it occurs, so that
// its fields hide each other.
func collectFields(t reflect.Type) []field {
	var fields []field
	seen := map[reflect.Type]bool{}
	for current := []level{{typ: t}}; len(current) > 0; {
		var next []level
		for _, l := range current {
			if seen[l.typ] {
				continue
			}
			for i := range l.typ.NumField() {
				sf := l.typ.Field(i)
				index := append(slices.Clone(l.index), i)
				if f, embedded, ok := readField(sf, index); ok && embedded != nil {
					next = append(next, level{embedded, index})
				} else if ok {
					fields = append(fields, f)
				}
			}
		}
		for _, l := range current {
			seen[l.typ] = true
		}
		current = next
	}
	return fields
}

// readField reads a field's tag. ok is false when the field takes no part; embedded is set when its own fields do.
func readField(sf reflect.StructField, index []int) (f field, embedded reflect.Type, ok bool) {
	typ := sf.Type
	if typ.Name() == "" && typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	if sf.Anonymous {
		if !sf.IsExported() && typ.Kind() != reflect.Struct {
			return f, nil, false
		}
	} else if !sf.IsExported() {
		return f, nil, false
	}
	tag := sf.Tag.Get("json")
	if tag == "-" {
		return f, nil, false
	}
	name, options, _ := strings.Cut(tag, ",")
	if strings.ContainsAny(name, "\"\\,'`") {
		name = ""
	}
	if name == "" && sf.Anonymous && typ.Kind() == reflect.Struct {
		return f, typ, true
	}
	f = field{name: name, tagged: name != "", index: index, typ: sf.Type}
	if name == "" {
		f.name = sf.Name
	}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.isZero = zeroTest(sf.Type)
		case "string":
			f.quoted = canQuote(typ.Kind())
		}
	}
	return f, nil, true
}

func canQuote(k reflect.Kind) bool {
	return k == reflect.String || k == reflect.Bool || k >= reflect.Int && k <= reflect.Float64
}

// zeroTest returns the test of the option omitzero: the type's IsZero method if it has one.
func zeroTest(t reflect.Type) func(reflect.Value) bool {
	type zeroer interface{ IsZero() bool }
	zeroerType := reflect.TypeFor[zeroer]()
	switch {
	case t.Implements(zeroerType):
		return func(v reflect.Value) bool {
			nilable := v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface
			return nilable && v.IsNil() || v.Interface().(zeroer).IsZero()
		}
	case reflect.PointerTo(t).Implements(zeroerType):
		return func(v reflect.Value) bool {
			if !v.CanAddr() {
				copied := reflect.New(t).Elem()
				copied.Set(v)
				v = copied
			}
			return v.Addr().Interface().(zeroer).IsZero()
		}
	}
	return reflect.Value.IsZero
}

// isEmpty is the test of the option omitempty.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct, reflect.Func, reflect.Chan:
		return false
	}
	return v.IsZero()
}

// plannedField is a field with what is needed to write it.
type plannedField struct {
	field
	key  []byte // with a comma in front and the colon
	plan *plan
}

func (b planner) structure(t reflect.Type) func(*encoder, reflect.Value) error {
	var fields []plannedField
	foreign := false
	for _, f := range fieldsOf(t) {
		p := b.plan(f.typ)
		f.quoted = f.quoted && !f.typ.Implements(marshalerType) && !f.typ.Implements(textMarshalerType)
		if p.undefined {
			continue
		}
		key := append(appendString([]byte{','}, f.name), ':')
		fields = append(fields, plannedField{f, key, p})
		foreign = foreign || f.name == "_placeholder"
	}
	return func(e *encoder, v reflect.Value) error {
		at, err := e.enterValue(v)
		if err != nil {
			return err
		}
		e.foreign = e.foreign || foreign
		start := len(e.buf)
		e.buf = append(e.buf, '{')
		for i := range fields {
			f := &fields[i]
			fv, ok := f.of(v)
			if !ok {
				continue
			}
			key := f.key
			if len(e.buf) == start+1 {
				key = key[1:]
			}
			e.buf = append(e.buf, key...)
			if err := e.field(f, fv); err != nil {
				return err
			}
		}
		e.buf = append(e.buf, '}')
		e.leave(at)
		return nil
	}
}

// of returns the field of v, and whether it is to be written.
func (f *plannedField) of(v reflect.Value) (reflect.Value, bool) {
	for i, x := range f.index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return v, false
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	omitted := f.omitEmpty && isEmpty(v) || f.isZero != nil && f.isZero(v) || holdsUndefined(v)
	return v, !omitted
}

func (e *encoder) field(f *plannedField, v reflect.Value) error {
	if !f.quoted || v.Kind() == reflect.Pointer && v.IsNil() {
		return f.plan.encode(e, v)
	}
	start := len(e.buf)
	if err := f.plan.encode(e, v); err != nil {
		return err
	}
	text := string(e.buf[start:])
	e.buf = appendString(e.buf[:start], text)
	return nil
}
