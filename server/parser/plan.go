package parser

import (
	"encoding"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

// plan says how values of one type are written. Plans are made once for each type and then shared.
type plan struct {
	encode func(e *encoder, v reflect.Value) error
	// undefined is set for types whose values JSON.stringify leaves out of objects.
	undefined bool
}

var plans sync.Map // reflect.Type -> *plan

var (
	timeType          = reflect.TypeFor[time.Time]()
	rawType           = reflect.TypeFor[json.RawMessage]()
	numberType        = reflect.TypeFor[json.Number]()
	payloadType       = reflect.TypeFor[Payload]()
	marshalerType     = reflect.TypeFor[json.Marshaler]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
)

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	b := planner{}
	p := b.plan(t)
	// Only now are the plans that b made complete, down to the recursive ones.
	for t, p := range b {
		plans.LoadOrStore(t, p)
	}
	return p
}

// planner holds the plans under construction, so that a recursive type finds its own.
type planner map[reflect.Type]*plan

func (b planner) plan(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	if p, ok := b[t]; ok {
		return p
	}
	p := new(plan)
	b[t] = p
	p.undefined = t.Kind() == reflect.Func || t.Kind() == reflect.Chan
	p.encode = b.encoding(t)
	return p
}

// encoding chooses, in encoding/json's order: types with a meaning of their own, methods, the kind.
func (b planner) encoding(t reflect.Type) func(*encoder, reflect.Value) error {
	switch t {
	case timeType:
		return func(e *encoder, v reflect.Value) error {
			e.buf = appendTime(e.buf, v.Interface().(time.Time))
			return nil
		}
	case rawType:
		return func(e *encoder, v reflect.Value) error { return e.raw(v.Bytes()) }
	case payloadType:
		return func(e *encoder, v reflect.Value) error { return e.payload(v.Interface().(Payload)) }
	case numberType:
		return encodeNumber
	}
	if t.Kind() == reflect.Pointer {
		switch t.Elem() {
		case timeType, rawType, payloadType:
			return b.pointer(t)
		}
	}
	if t.Implements(marshalerType) {
		return encodeMarshaler
	}
	if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(marshalerType) {
		return addressed(encodeMarshaler, b.textOrKind(t))
	}
	return b.textOrKind(t)
}

func (b planner) textOrKind(t reflect.Type) func(*encoder, reflect.Value) error {
	if t.Implements(textMarshalerType) {
		return encodeTextMarshaler
	}
	if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(textMarshalerType) {
		return addressed(encodeTextMarshaler, b.kind(t))
	}
	return b.kind(t)
}

// addressed uses a method of the pointer type where there is a pointer, as encoding/json does.
func addressed(method, otherwise func(*encoder, reflect.Value) error) func(*encoder, reflect.Value) error {
	return func(e *encoder, v reflect.Value) error {
		if v.CanAddr() {
			return method(e, v.Addr())
		}
		return otherwise(e, v)
	}
}

func (b planner) kind(t reflect.Type) func(*encoder, reflect.Value) error {
	switch t.Kind() {
	case reflect.Bool, reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64:
		return encodeScalar
	case reflect.Func, reflect.Chan:
		return func(e *encoder, _ reflect.Value) error {
			e.null()
			return nil
		}
	case reflect.Interface:
		return func(e *encoder, v reflect.Value) error {
			if v.IsNil() {
				e.null()
				return nil
			}
			return e.value(v.Elem().Interface())
		}
	case reflect.Pointer:
		return b.pointer(t)
	case reflect.Slice, reflect.Array:
		return b.list(t)
	case reflect.Map:
		return b.mapping(t)
	case reflect.Struct:
		return b.structure(t)
	}
	return func(*encoder, reflect.Value) error { return &json.UnsupportedTypeError{Type: t} }
}

func (b planner) pointer(t reflect.Type) func(*encoder, reflect.Value) error {
	elem := b.plan(t.Elem())
	return func(e *encoder, v reflect.Value) error {
		if v.IsNil() {
			e.null()
			return nil
		}
		at, err := e.enterValue(v)
		if err != nil {
			return err
		}
		if err := elem.encode(e, v.Elem()); err != nil {
			return err
		}
		e.leave(at)
		return nil
	}
}

func encodeScalar(e *encoder, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Bool:
		e.buf = strconv.AppendBool(e.buf, v.Bool())
	case reflect.String:
		e.buf = appendString(e.buf, v.String())
	case reflect.Float32:
		e.buf = appendFloat(e.buf, v.Float(), 32)
	case reflect.Float64:
		e.buf = appendFloat(e.buf, v.Float(), 64)
	default:
		if v.CanInt() {
			e.buf = strconv.AppendInt(e.buf, v.Int(), 10)
		} else {
			e.buf = strconv.AppendUint(e.buf, v.Uint(), 10)
		}
	}
	return nil
}

func encodeNumber(e *encoder, v reflect.Value) error {
	text := v.String()
	if text == "" {
		text = "0" // as encoding/json has it
	}
	if (text[0] != '-' && !jsontext.IsDigit(text[0])) || jsontext.ScanNumber([]byte(text), 0) != len(text) {
		return errMarshaler(v.Type(), errNumber)
	}
	e.buf = append(e.buf, text...)
	return nil
}

func encodeMarshaler(e *encoder, v reflect.Value) error {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		e.null()
		return nil
	}
	text, err := v.Interface().(json.Marshaler).MarshalJSON()
	if err == nil {
		err = e.verbatim(text)
	}
	if err != nil {
		return errMarshaler(v.Type(), err)
	}
	return nil
}

func encodeTextMarshaler(e *encoder, v reflect.Value) error {
	if v.Kind() == reflect.Pointer && v.IsNil() {
		e.null()
		return nil
	}
	text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return errMarshaler(v.Type(), err)
	}
	e.buf = appendString(e.buf, string(text))
	return nil
}

// isBytes tells whether values of t are binary: slices of a byte type without marshalling methods of its own.
func isBytes(t reflect.Type) bool {
	if t.Kind() != reflect.Slice || t.Elem().Kind() != reflect.Uint8 {
		return false
	}
	p := reflect.PointerTo(t.Elem())
	return !p.Implements(marshalerType) && !p.Implements(textMarshalerType)
}

func (b planner) list(t reflect.Type) func(*encoder, reflect.Value) error {
	if isBytes(t) {
		return func(e *encoder, v reflect.Value) error {
			e.binary(v.Bytes())
			return nil
		}
	}
	elem := b.plan(t.Elem())
	return func(e *encoder, v reflect.Value) error {
		if v.Kind() == reflect.Slice && v.IsNil() {
			e.null()
			return nil
		}
		at, err := e.enterValue(v)
		if err != nil {
			return err
		}
		e.buf = append(e.buf, '[')
		for i := range v.Len() {
			if i > 0 {
				e.buf = append(e.buf, ',')
			}
			if err := elem.encode(e, v.Index(i)); err != nil {
				return err
			}
		}
		e.buf = append(e.buf, ']')
		e.leave(at)
		return nil
	}
}

// mapEntry is an entry of a map with its key as text.
type mapEntry struct {
	key   string
	value reflect.Value
}

func (b planner) mapping(t reflect.Type) func(*encoder, reflect.Value) error {
	keyText := mapKeyText(t.Key())
	if keyText == nil {
		return func(*encoder, reflect.Value) error { return &json.UnsupportedTypeError{Type: t} }
	}
	elem := b.plan(t.Elem())
	return func(e *encoder, v reflect.Value) error {
		if v.IsNil() {
			e.null()
			return nil
		}
		at, err := e.enterValue(v)
		if err != nil {
			return err
		}
		entries := make([]mapEntry, 0, v.Len())
		for it := v.MapRange(); it.Next(); {
			key, err := keyText(it.Key())
			if err != nil {
				return errMarshaler(t.Key(), err)
			}
			entries = append(entries, mapEntry{key, it.Value()})
		}
		slices.SortFunc(entries, func(a, b mapEntry) int { return strings.Compare(a.key, b.key) })
		if err := e.entries(entries, elem); err != nil {
			return err
		}
		e.leave(at)
		return nil
	}
}

func (e *encoder) entries(entries []mapEntry, elem *plan) error {
	start := len(e.buf)
	e.buf = append(e.buf, '{')
	for _, entry := range entries {
		if elem.undefined || holdsUndefined(entry.value) {
			continue
		}
		e.key(start, entry.key)
		if err := elem.encode(e, entry.value); err != nil {
			return err
		}
	}
	e.buf = append(e.buf, '}')
	return nil
}

// holdsUndefined tells whether v is an interface around a func or chan.
func holdsUndefined(v reflect.Value) bool {
	if v.Kind() != reflect.Interface || v.IsNil() {
		return false
	}
	kind := v.Elem().Kind()
	return kind == reflect.Func || kind == reflect.Chan
}

// mapKeyText returns the function that makes an object's key of a map's key, by encoding/json's rules, or nil.
func mapKeyText(t reflect.Type) func(reflect.Value) (string, error) {
	switch {
	case t.Kind() == reflect.String:
		return func(v reflect.Value) (string, error) { return v.String(), nil }
	case t.Implements(textMarshalerType):
		return func(v reflect.Value) (string, error) {
			if v.Kind() == reflect.Pointer && v.IsNil() {
				return "", nil
			}
			text, err := v.Interface().(encoding.TextMarshaler).MarshalText()
			return string(text), err
		}
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64:
		return func(v reflect.Value) (string, error) { return strconv.FormatInt(v.Int(), 10), nil }
	case t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uintptr:
		return func(v reflect.Value) (string, error) { return strconv.FormatUint(v.Uint(), 10), nil }
	}
	return nil
}
