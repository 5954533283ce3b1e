package parser

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

var textSeeds = []string{
	"", "0", `0/a?b=c,{"x":1}`, "1", `2["a",{"b":[1.5e3,null,true,"\ud83d\u00e9"]}]`, `2/n,12["a"]`, "2[1]", `31[]`, `4{"message":"no"}`, `52-["a",` + slot0 + `,{"x":` + slot1 + `}]`,
	`61-/a,7[{"_placeholder":true,"num":0.5}]`, "50x1-[0]", "2 \u00a07[0]", `2["connect"]`, `2["\u0063onnect"]`, "2[[[[[[", "9", "\xff", "2[\"\xf0\x9f\"]", `29007199254740992["a"]`,
}

// sameAgain checks that an accepted packet, encoded, decodes to itself.
func sameAgain(t *testing.T, p *Packet) {
	t.Helper()
	var d jsonDecoder
	lim := &Limits{MaxAttachments: max(1, len(p.Attachments)), MaxBytes: 1 << 40}
	got, err := d.Text(lim, p.AppendText(nil))
	for _, data := range p.Attachments {
		if err != nil || got != nil {
			t.Fatalf("complete before its attachments: %v, %v", got, err)
		}
		got, err = d.Binary(lim, data)
	}
	if err != nil || !reflect.DeepEqual(got, p) {
		t.Fatalf("decoded again: %+v, %v\nwant %+v", got, err, p)
	}
}

// checkPacket checks what holds for every packet that the Decoder lets pass.
func checkPacket(t *testing.T, p *Packet) {
	t.Helper()
	if p.Type > ConnectError || p.ID < NoID || p.ID > maxSafeInteger || !strings.HasPrefix(p.Namespace, "/") || !utf8.ValidString(p.Namespace) {
		t.Fatalf("header %v %q %d", p.Type, p.Namespace, p.ID)
	}
	if err := p.Check(nil); err != nil {
		t.Fatalf("the decoder lets %+v pass: %v", p, err)
	}
	if p.JSON == nil {
		return
	}
	if !json.Valid(p.JSON) || !utf8.Valid(p.JSON) {
		t.Fatalf("invalid JSON %q", p.JSON)
	}
	if p.Type == Event {
		name, args, err := p.Event()
		if err != nil || ReservedEvent(name) {
			t.Fatalf("event %q, %v", name, err)
		}
		again, err := MarshalEvent(name, args.Values()...)
		if err != nil && !errors.Is(err, ErrAttachments) {
			t.Fatalf("sent on: %v", err)
		}
		if len(again.Attachments) > len(p.Attachments) {
			t.Fatalf("%d attachments became %d", len(p.Attachments), len(again.Attachments))
		}
	}
	var v any
	if err := p.Unmarshal(&v); err != nil {
		var number *json.UnmarshalTypeError
		if !errors.As(err, &number) || !strings.HasPrefix(number.Value, "number") {
			t.Fatalf("unmarshal %s: %v", p.JSON, err)
		}
	}
}

func FuzzDecodeText(f *testing.F) {
	for _, s := range textSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// The scanner's syntax is encoding/json's, which is that of JSON.parse.
		if err := checkJSON(data, maxDepth); !errors.Is(err, ErrTooDeep) && (err == nil) != json.Valid(data) {
			t.Fatalf("JSON %q: %v", data, err)
		}
		original := bytes.Clone(data)
		var d jsonDecoder
		p, err := d.Text(nil, data)
		if !bytes.Equal(data, original) {
			t.Fatal("the borrowed bytes were changed")
		}
		if (d.pending != nil) != (p == nil && err == nil) {
			t.Fatalf("%v, %v, pending %v", p, err, d.pending != nil)
		}
		if p != nil {
			checkPacket(t, p)
			sameAgain(t, p)
		}
	})
}

func FuzzDecodeBinarySequence(f *testing.F) {
	for _, s := range textSeeds {
		f.Add([]byte(s), []byte("firstsecond"), uint8(5))
	}
	f.Add([]byte(`52-["a",{"a":{"_placeholder":true},"\u0061":`+slot1+`}]`), []byte("x"), uint8(0))
	f.Add([]byte(`51-[0,{"_placeholder":true,"num":0,"more":{"_placeholder":true,"num":-1}}]`), []byte{}, uint8(0))
	f.Fuzz(func(t *testing.T, text, binary []byte, size uint8) {
		const limit = 4096
		lim := &Limits{MaxBytes: limit}
		var d jsonDecoder
		p, err := d.Text(lim, text)
		for n := 0; err == nil && p == nil; n++ {
			if n >= defaultMaxAttachments || d.pending == nil {
				t.Fatal("waits for more attachments than allowed")
			}
			part := binary[:min(int(size), len(binary))]
			binary = binary[len(part):]
			p, err = d.Binary(lim, part)
			if q := d.pending; q != nil && q.bytes > limit && err == nil {
				t.Fatalf("%d bytes pinned", q.bytes)
			}
		}
		if err != nil {
			return
		}
		checkPacket(t, p)
		if _, err := findPlaceholders(orNull(p.JSON), len(p.Attachments)); err != nil && len(p.Attachments) > 0 {
			t.Fatalf("placeholders of an accepted packet: %v", err)
		}
		if len(p.Attachments) > 0 {
			sameAgain(t, p)
		}
	})
}

// FuzzCheck makes packets as a decoder without any care would. What Check lets pass must travel in the JSON encoding, and a
// relay must be able to take it apart and put it together again.
func FuzzCheck(f *testing.F) {
	for _, s := range textSeeds {
		if h, err := readHeader([]byte(s), 10); err == nil {
			f.Add(uint8(h.kind), h.namespace, h.id, []byte(s)[h.size:], uint8(h.attachments))
		}
	}
	f.Add(uint8(Event), "/a,b", int64(1), []byte(`["a"]`), uint8(0))
	f.Add(uint8(Event), "", int64(-5), []byte(` ["a",`+slot0+`]`), uint8(1))
	f.Add(uint8(Connect), "a", int64(-1), []byte(slot0), uint8(1))
	f.Fuzz(func(t *testing.T, kind uint8, namespace string, id int64, text []byte, attachments uint8) {
		p := &Packet{Type: Type(kind), Namespace: namespace, ID: max(id, NoID), Payload: Payload{JSON: text}}
		for i := range attachments {
			p.Attachments = append(p.Attachments, []byte{i})
		}
		if p.Check(nil) != nil {
			return
		}
		if p.Namespace == "" {
			p.Namespace = "/"
		}
		if len(p.JSON) == 0 {
			p.JSON = nil
		}
		if len(p.Attachments) > 0 {
			if found, err := findPlaceholders(p.JSON, len(p.Attachments)); err != nil || len(found.found) == 0 {
				p.Attachments = nil // no decoder keeps what nothing names
			}
		}
		checkPacket(t, p)
		sameAgain(t, p)
	})
}

func orNull(text json.RawMessage) json.RawMessage {
	if text == nil {
		return json.RawMessage("null")
	}
	return text
}

// fuzzTarget has a place for binary in every kind of Go value that needs no interface.
type fuzzTarget struct {
	A []byte
	B *[]byte
	C map[string][]byte
	D [][]byte
	E *fuzzTarget
	F []fuzzTarget
	G string
	H int
	I [2]blob
	J map[int]fuzzTarget
}

// FuzzUnmarshal compares with encoding/json, which reads base64 strings where Unmarshal puts attachments.
func FuzzUnmarshal(f *testing.F) {
	for _, s := range []string{
		slot0, `{"A":` + slot0 + `,"b":` + slot1 + `,"C":{"x":` + slot0 + `,"y":"YQ=="}}`, `{"D":[` + slot0 + `,null],"E":{"A":` + slot1 + `},"F":[{"B":` + slot0 + `},{}],"G":"g","H":1}`,
		`{"I":[` + slot1 + `,` + slot0 + `,1],"J":{"5":{"A":` + slot0 + `}}}`, `{"G":` + slot0 + `}`, `{"A":{"_placeholder":true,"num":0.5}}`, `{"H":1e999,"A":` + slot0 + `}`, `{"A":1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if checkJSON(text, 100) != nil || !utf8.Valid(text) || repeatsKey(text) {
			return
		}
		p := Payload{JSON: text, Attachments: [][]byte{[]byte("zero"), {}}}
		var anything any
		anyErr := p.Unmarshal(&anything)
		found, err := findPlaceholders(text, len(p.Attachments))
		if err != nil {
			if !errors.Is(anyErr, ErrAttachments) {
				t.Fatalf("got %v, want %v", anyErr, err)
			}
			return
		}
		exact := finder{text: text, count: len(p.Attachments), exact: true}
		if exact.value(jsontext.SkipSpace(text, 0)); len(exact.found) > len(found.found) {
			return // see FuzzExact
		}
		d := filler{payload: p, finder: found}
		plain := d.base64(span{0, len(text)}, found.found)
		var got, want fuzzTarget
		if err := p.Unmarshal(&got); err != nil {
			return
		}
		if err := json.Unmarshal(plain, &want); err != nil {
			t.Fatalf("%s: %v", plain, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\ngot  %#v\nwant %#v", text, got, want)
		}
	})
}

// repeatsKey tells whether an object in valid JSON has a key twice, apart from case: encoding/json merges such members.
func repeatsKey(text []byte) bool {
	type object struct {
		isArray, isValue bool
		keys             map[string]bool
	}
	stack := []object{{isArray: true}}
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return false
		}
		if err != nil {
			return true
		}
		top := &stack[len(stack)-1]
		if delim, ok := token.(json.Delim); ok && (delim == ']' || delim == '}') {
			stack = stack[:len(stack)-1]
			continue
		}
		if key, ok := token.(string); ok && !top.isArray && !top.isValue {
			key = strings.ToUpper(strings.ToLower(key))
			if top.keys[key] {
				return true
			}
			top.keys[key], top.isValue = true, true
			continue
		}
		top.isValue = false
		if delim, ok := token.(json.Delim); ok {
			stack = append(stack, object{isArray: delim == '[', keys: map[string]bool{}})
		}
	}
}

func FuzzMarshalString(f *testing.F) {
	for _, s := range []string{"", "plain text", "<&>\u2028\u2029", "\"\\\x00\x1f\x7f", "é😀\ufffd", "\xff\xe2\x82", strings.Repeat("x", 17) + "\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for i := range len(s) {
			if _, ok := jsontext.Surrogate(s[i:]); ok {
				return // see FuzzSurrogates
			}
		}
		p, err := MarshalEvent(s, s, map[string]any{s: s}, struct{ S namedText }{namedText(s)})
		if err != nil || !json.Valid(p.JSON) || !utf8.Valid(p.JSON) {
			t.Fatalf("%s, %v", p.JSON, err)
		}
		valid := string([]rune(s)) // U+FFFD for each invalid byte
		want := []any{valid, valid, map[string]any{valid: valid}, map[string]any{"S": valid}}
		var got []any
		if err := json.Unmarshal(p.JSON, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
		name, _, err := (&Packet{Type: Event, Payload: p}).Event()
		if err != nil || name != valid {
			t.Fatalf("event %q, %v", name, err)
		}
		if plain := strings.ContainsAny(s, "\"\\") || strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 }); !plain && string(appendString(nil, s)) != `"`+valid+`"` {
			t.Fatalf("needless escapes in %s", p.JSON)
		}
	})
}

// FuzzSplice puts two payloads and binary of its own into one event, and expects to find all of it there.
func FuzzSplice(f *testing.F) {
	f.Add([]byte(slot1), []byte(`{"a":[`+slot0+`, `+slot1+`],"b":`+slot0+`}`))
	f.Add([]byte(`{"a":`+slot0+`,"a":2}`), []byte(`{"_placeholder":true,"num":0.5}`))
	f.Add([]byte(` [1.0,"\ud800"] `), []byte(`"`+"\xff"+`"`))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		a := Payload{JSON: first, Attachments: [][]byte{[]byte("a0"), {}}}
		b := Payload{JSON: second, Attachments: [][]byte{[]byte("b0"), []byte("b1")}}
		p, err := MarshalEvent("e", a, []byte("own"), b, map[string]any{"again": a})
		var x, y any
		// Repaired text is what the expectation starts from: encoding/json repairs in another way.
		a.JSON, b.JSON = jsontext.AppendValidUTF8(nil, first), jsontext.AppendValidUTF8(nil, second)
		xErr, yErr := a.Unmarshal(&x), b.Unmarshal(&y)
		if len(first) == 0 || len(second) == 0 || xErr != nil || yErr != nil {
			return
		}
		if errors.Is(err, ErrTooDeep) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Attachments) > 5 {
			t.Fatalf("%d attachments", len(p.Attachments))
		}
		var got any
		if err := p.Unmarshal(&got); err != nil {
			t.Fatalf("%s: %v", p.JSON, err)
		}
		want := []any{"e", x, []byte("own"), y, map[string]any{"again": x}}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %v\nwant %v", got, want)
		}
		sameAgain(t, &Packet{Type: Event, Namespace: "/", ID: NoID, Payload: p})
	})
}
