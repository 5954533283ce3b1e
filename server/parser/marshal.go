package parser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

// Marshal turns v into a payload as JSON.stringify would write its JavaScript counterpart, with encoding/json's rules
// (tags, omitempty, omitzero, embedded structs, json.Marshaler, encoding.TextMarshaler) for what JavaScript has no word on.
// In particular:
//
//   - a non-nil []byte at any depth becomes an attachment; it is copied, so that the caller may use it again at once;
//   - a [Payload] is put in as it is, its attachments included and not copied, each of them once;
//   - json.RawMessage and the output of a json.Marshaler are kept as they are once their syntax has been checked;
//   - a func or chan is JavaScript's undefined: null in an array, left out of an object;
//   - a nil pointer, map, slice or interface is null; NaN and the infinities are null;
//   - time.Time is written as Date.prototype.toISOString does: UTC with milliseconds;
//   - numbers are spelled as in JavaScript, integers with all their digits; map keys are sorted;
//   - only what JSON requires is escaped; invalid UTF-8 becomes U+FFFD.
//
// Values that contain themselves or are nested deeper than 4096 levels are [ErrTooDeep]. Plain data in the shape of a
// placeholder beside attachments, which every receiver would take for one, is [ErrAttachments].
func Marshal(v any) (Payload, error) {
	e := newEncoder()
	defer e.release()
	return e.finish(e.value(v))
}

// MarshalArgs is [Marshal] for the JSON array of args, the data of an acknowledgement.
func MarshalArgs(args ...any) (Payload, error) {
	e := newEncoder()
	defer e.release()
	e.buf, e.depth = append(e.buf, '['), 1
	return e.finish(e.items(args))
}

// MarshalEvent is [Marshal] for the JSON array of event and args, the data of an event. It does not refuse reserved
// names, see [ReservedEvent].
func MarshalEvent(event string, args ...any) (Payload, error) {
	e := newEncoder()
	defer e.release()
	e.buf, e.depth = appendString(append(e.buf, '['), event), 1
	if len(args) > 0 {
		e.buf = append(e.buf, ',')
	}
	return e.finish(e.items(args))
}

// cycleDepth is the nesting from which on the encoder remembers where it has been.
const cycleDepth = 128

// Buffers up to this size are used again.
const (
	maxPooledBytes = 64 << 10
	maxPooledKeys  = 64
)

// encoder writes one payload.
type encoder struct {
	buf         []byte
	attachments [][]byte
	depth       int
	placed      int      // placeholders written
	foreign     bool     // buf may hold objects in the shape of a placeholder that are none
	keys        []string // keys of the maps being written, innermost last
	visited     map[visit]struct{}
}

// visit identifies a pointer, map or slice that is being written.
type visit struct {
	kind reflect.Type
	at   unsafe.Pointer
	n    int
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

func newEncoder() *encoder { return encoders.Get().(*encoder) }

func (e *encoder) release() {
	if cap(e.buf) > maxPooledBytes || cap(e.keys) > maxPooledKeys {
		return
	}
	clear(e.keys[:cap(e.keys)])
	*e = encoder{buf: e.buf[:0], keys: e.keys[:0]}
	encoders.Put(e)
}

func (e *encoder) finish(err error) (Payload, error) {
	if err != nil {
		return Payload{}, err
	}
	if e.foreign && len(e.attachments) > 0 {
		f, err := findPlaceholders(e.buf, len(e.attachments))
		if err != nil || len(f.found) != e.placed {
			return Payload{}, fmt.Errorf("%w: data in the shape of a placeholder", ErrAttachments)
		}
	}
	return Payload{JSON: bytes.Clone(e.buf), Attachments: e.attachments}, nil
}

// items writes the elements of an array and its closing bracket.
func (e *encoder) items(items []any) error {
	for i, v := range items {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		if err := e.value(v); err != nil {
			return err
		}
	}
	e.buf = append(e.buf, ']')
	return nil
}

// value writes v. The types that most messages are made of need no reflection.
func (e *encoder) value(v any) error {
	switch v := v.(type) {
	case nil:
		e.null()
	case string:
		e.buf = appendString(e.buf, v)
	case bool:
		e.buf = strconv.AppendBool(e.buf, v)
	case int:
		e.buf = strconv.AppendInt(e.buf, int64(v), 10)
	case int64:
		e.buf = strconv.AppendInt(e.buf, v, 10)
	case uint64:
		e.buf = strconv.AppendUint(e.buf, v, 10)
	case float64:
		e.buf = appendFloat(e.buf, v, 64)
	case float32:
		e.buf = appendFloat(e.buf, float64(v), 32)
	case []byte:
		e.binary(v)
	case json.RawMessage:
		return e.raw(v)
	case Payload:
		return e.payload(v)
	case time.Time:
		e.buf = appendTime(e.buf, v)
	case map[string]any:
		return e.object(v)
	case []any:
		return e.array(v)
	case []string:
		e.strings(v)
	default:
		rv := reflect.ValueOf(v)
		return planOf(rv.Type()).encode(e, rv)
	}
	return nil
}

func (e *encoder) null() { e.buf = append(e.buf, "null"...) }

// binary makes b an attachment.
func (e *encoder) binary(b []byte) {
	if b == nil {
		e.null()
		return
	}
	e.attach(append(make([]byte, 0, len(b)), b...))
}

func (e *encoder) attach(b []byte) {
	e.place(len(e.attachments))
	e.attachments = append(e.attachments, b)
}

func (e *encoder) place(num int) {
	e.buf = appendPlaceholder(e.buf, num)
	e.placed++
}

// raw writes JSON that was not made here.
func (e *encoder) raw(text json.RawMessage) error {
	if text == nil {
		e.null()
		return nil
	}
	return e.verbatim(text)
}

func (e *encoder) verbatim(text json.RawMessage) error {
	if err := checkJSON(text, maxDepth-e.depth); err != nil {
		return err
	}
	e.foreign = true
	start := len(e.buf)
	e.buf = append(e.buf, text...)
	e.repair(start)
	return nil
}

// repair makes what was written from start on valid UTF-8.
func (e *encoder) repair(start int) {
	if text := e.buf[start:]; !utf8.Valid(text) {
		e.buf = append(e.buf[:start], jsontext.AppendValidUTF8(nil, text)...)
	}
}

// payload writes p with its placeholders renumbered.
func (e *encoder) payload(p Payload) error {
	if len(p.JSON) == 0 {
		e.null()
		return nil
	}
	if len(p.Attachments) == 0 {
		return e.verbatim(p.JSON)
	}
	if err := checkJSON(p.JSON, maxDepth-e.depth); err != nil {
		return err
	}
	f, err := findPlaceholders(p.JSON, len(p.Attachments))
	if err != nil {
		return err
	}
	e.foreign = true
	from := 0
	for _, hole := range f.found {
		e.text(p.JSON[from:hole.start])
		from = hole.end
		if hole.num < 0 {
			e.null()
		} else {
			e.share(p.Attachments[hole.num])
		}
	}
	e.text(p.JSON[from:])
	return nil
}

// share makes b an attachment unless it is one already. A client that names one attachment a thousand times must not be
// sent on with a thousand attachments.
func (e *encoder) share(b []byte) {
	for i, a := range e.attachments {
		if len(a) == len(b) && (len(b) == 0 || &a[0] == &b[0]) {
			e.place(i)
			return
		}
	}
	e.attach(b)
}

func (e *encoder) text(text []byte) {
	start := len(e.buf)
	e.buf = append(e.buf, text...)
	e.repair(start)
}

func (e *encoder) array(items []any) error {
	if items == nil {
		e.null()
		return nil
	}
	v, err := e.enter(items)
	if err != nil {
		return err
	}
	e.buf = append(e.buf, '[')
	if err := e.items(items); err != nil {
		return err
	}
	e.leave(v)
	return nil
}

func (e *encoder) strings(items []string) {
	if items == nil {
		e.null()
		return
	}
	e.buf = append(e.buf, '[')
	for i, s := range items {
		if i > 0 {
			e.buf = append(e.buf, ',')
		}
		e.buf = appendString(e.buf, s)
	}
	e.buf = append(e.buf, ']')
}

func (e *encoder) object(m map[string]any) error {
	if m == nil {
		e.null()
		return nil
	}
	v, err := e.enter(m)
	if err != nil {
		return err
	}
	base := len(e.keys)
	for k := range m {
		e.keys = append(e.keys, k)
	}
	slices.Sort(e.keys[base:])
	top := len(e.keys)
	start := len(e.buf)
	e.buf = append(e.buf, '{')
	for i := base; i < top; i++ {
		k := e.keys[i]
		value := m[k]
		if isUndefined(value) {
			continue
		}
		e.key(start, k)
		if err := e.value(value); err != nil {
			return err
		}
	}
	e.buf = append(e.buf, '}')
	e.keys = e.keys[:base]
	e.leave(v)
	return nil
}

// key writes a key of the object whose opening brace is at start.
func (e *encoder) key(start int, k string) {
	if len(e.buf) > start+1 {
		e.buf = append(e.buf, ',')
	}
	if k == "_placeholder" {
		e.foreign = true
	}
	e.buf = append(appendString(e.buf, k), ':')
}

// isUndefined tells whether v is something that JSON.stringify leaves out of an object.
func isUndefined(v any) bool {
	switch v.(type) {
	case nil, string, bool, int, float64, []byte, map[string]any, []any:
		return false
	}
	kind := reflect.TypeOf(v).Kind()
	return kind == reflect.Func || kind == reflect.Chan
}

// enter begins a level of nesting. v is the slice, map or pointer that is entered, if it is one.
func (e *encoder) enter(v any) (visit, error) {
	if e.depth++; e.depth <= cycleDepth {
		return visit{}, nil
	}
	return e.enterDeep(reflect.ValueOf(v))
}

func (e *encoder) enterValue(v reflect.Value) (visit, error) {
	if e.depth++; e.depth <= cycleDepth {
		return visit{}, nil
	}
	return e.enterDeep(v)
}

func (e *encoder) enterDeep(v reflect.Value) (visit, error) {
	if e.depth > maxDepth {
		return visit{}, ErrTooDeep
	}
	at := visit{kind: v.Type()}
	switch v.Kind() {
	case reflect.Slice:
		at.at, at.n = v.UnsafePointer(), v.Len()
	case reflect.Map, reflect.Pointer:
		at.at = v.UnsafePointer()
	default:
		return visit{}, nil
	}
	if _, again := e.visited[at]; again && (v.Kind() != reflect.Slice || at.n > 0) {
		return visit{}, fmt.Errorf("%w: %s contains itself", ErrTooDeep, at.kind)
	}
	if e.visited == nil {
		e.visited = make(map[visit]struct{})
	}
	e.visited[at] = struct{}{}
	return at, nil
}

func (e *encoder) leave(v visit) {
	e.depth--
	if v.kind != nil {
		delete(e.visited, v)
	}
}

// errMarshaler wraps what a MarshalJSON or MarshalText method returned.
func errMarshaler(t reflect.Type, err error) error {
	return fmt.Errorf("marshal %s: %w", t, err)
}

var errNumber = errors.New("not a JSON number")
