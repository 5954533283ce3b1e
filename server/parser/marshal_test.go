package parser

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

type (
	blob      []byte
	namedText string
	inner     struct {
		X int `json:"x"`
	}
	Embedded struct {
		E    string
		Both int
		Same int `json:"same"`
	}
	other struct {
		Both int
		Same int `json:"same"`
	}
	recursive struct {
		Value any        `json:"v,omitempty"`
		Next  *recursive `json:"next,omitempty"`
	}
	onValue   struct{ S string }
	onPointer struct{ S string }
	asText    struct{ S string }
	badJSON   struct{}
	failing   struct{}
)

func (o onValue) MarshalJSON() ([]byte, error)    { return []byte(`{ "on": "value" }`), nil }
func (o *onPointer) MarshalJSON() ([]byte, error) { return []byte(`"pointer"`), nil }
func (a asText) MarshalText() ([]byte, error)     { return []byte("<" + a.S + ">"), nil }
func (badJSON) MarshalJSON() ([]byte, error)      { return []byte("{"), nil }
func (failing) MarshalJSON() ([]byte, error)      { return nil, errFailing }

var errFailing = errors.New("cannot")

const slot0 = `{"_placeholder":true,"num":0}`
const slot1 = `{"_placeholder":true,"num":1}`

func TestMarshal(t *testing.T) {
	n := 5
	tests := []struct {
		name  string
		value any
		json  string
		atts  []string
	}{
		{"nil", nil, "null", nil},
		{"scalars", []any{true, 1, int8(-2), uint16(3), int64(math.MaxInt64), uint64(math.MaxUint64), uintptr(4), namedText("x"), &n}, `[true,1,-2,3,9223372036854775807,18446744073709551615,4,"x",5]`, nil},
		{"floats", []float64{0, math.Copysign(0, -1), 1e21, 1e20, 1e-6, 1e-7, math.NaN(), math.Inf(1), math.Inf(-1), 0.1}, "[0,0,1e+21,100000000000000000000,0.000001,1e-7,null,null,null,0.1]", nil},
		{"float32", []any{float32(0.1), float32(1e21), float32(1e-7), float32(16777216)}, "[0.1,1e+21,1e-7,16777216]", nil},
		{"no HTML escapes", "<a href='x'>&\u2028\u2029\x7f</a>", "\"<a href='x'>&\u2028\u2029\x7f</a>\"", nil},
		{"escapes", "\"\\/\b\f\n\r\t\x00\x1f", `"\"\\/\b\f\n\r\t\u0000\u001f"`, nil},
		{"invalid UTF-8", "a\xffb\xe2\x82", "\"a\ufffdb\ufffd\ufffd\"", nil},
		{"bytes", []byte("x"), slot0, []string{"x"}},
		{"empty bytes", []byte{}, slot0, []string{""}},
		{"nil bytes", []byte(nil), "null", nil},
		{"named bytes", blob("x"), slot0, []string{"x"}},
		{"nested bytes", map[string]any{"b": []any{[]byte("1")}, "a": [][]byte{[]byte("0")}}, `{"a":[` + slot0 + `],"b":[` + slot1 + `]}`, []string{"0", "1"}},
		{"array of bytes", [2]byte{1, 2}, "[1,2]", nil},
		{"raw", json.RawMessage(` {"b":1, "a":1.0} `), ` {"b":1, "a":1.0} `, nil},
		{"nil raw", json.RawMessage(nil), "null", nil},
		{"raw with invalid UTF-8", json.RawMessage("\"\xff\""), "\"\ufffd\"", nil},
		{"nil collections", []any{[]int(nil), map[string]int(nil), (*int)(nil), map[string]any(nil), []any(nil), []string(nil)}, "[null,null,null,null,null,null]", nil},
		{"strings", []string{"a", "b"}, `["a","b"]`, nil},
		{"undefined in an array", []any{func() {}, make(chan int), []func(){nil}}, "[null,null,[null]]", nil},
		{"undefined in a map", map[string]any{"f": func() {}, "c": make(chan int), "n": nil}, `{"n":null}`, nil},
		{"map of undefined", map[string]func(){"f": nil}, "{}", nil},
		{"map of interfaces", map[int]any{2: func() {}, 10: 1}, `{"10":1}`, nil},
		{"undefined in a struct", struct {
			F func()
			C chan int
			I any
			N any
		}{I: func() {}}, `{"N":null}`, nil},
		{"undefined", func() {}, "null", nil},
		{"map keys", []any{map[int]int{2: 1, -1: 2}, map[uint8]int{7: 1}, map[netip.Addr]int{netip.MustParseAddr("::1"): 1}, map[namedText]bool{"b": true, "a": false}}, `[{"-1":2,"2":1},{"7":1},{"::1":1},{"a":false,"b":true}]`, nil},
		{"methods", []any{onValue{}, &onValue{}, (*onValue)(nil), onPointer{"v"}, &onPointer{}, []onPointer{{}}, asText{"x"}, &asText{"y"}, (*asText)(nil)}, `[{ "on": "value" },{ "on": "value" },null,{"S":"v"},"pointer",["pointer"],"<x>","<y>",null]`, nil},
		{"library types", []any{big.NewInt(7), json.Number("1.0"), json.Number(""), time.Second}, "[7,1.0,0,1000000000]", nil},
		{"recursive type", recursive{Value: 1, Next: &recursive{Value: []byte("x")}}, `{"v":1,"next":{"v":` + slot0 + `}}`, []string{"x"}},
		{"pointers to what has a meaning", []any{&Payload{JSON: []byte("1")}, &json.RawMessage{'2'}, new(time.Time), (*Payload)(nil)}, `[1,2,"0001-01-01T00:00:00.000Z",null]`, nil},
	}
	for _, tt := range tests {
		got, err := Marshal(tt.value)
		if err != nil || string(got.JSON) != tt.json {
			t.Errorf("%s: %s, %v\nwant %s", tt.name, got.JSON, err, tt.json)
		}
		if fmt.Sprintf("%s", got.Attachments) != fmt.Sprintf("%s", tt.atts) {
			t.Errorf("%s: attachments %q", tt.name, got.Attachments)
		}
	}
}

// Where JavaScript has no say, encoding/json has.
func TestMarshalStructsLikeEncodingJSON(t *testing.T) {
	type unexported struct{ U, Both int }
	type tags struct {
		A      int            `json:"a"`
		Skip   int            `json:"-"`
		Empty  string         `json:"empty,omitempty"`
		None   []int          `json:",omitempty"`
		Zero   time.Duration  `json:"zero,omitzero"`
		Struct inner          `json:"struct,omitempty"`
		ZeroIn inner          `json:"zi,omitzero"`
		Quoted int            `json:"quoted,string"`
		QStr   string         `json:"qs,string"`
		QPtr   *bool          `json:"qp,string"`
		Odd    int            `json:"a b/é"`
		Ptr    *inner         `json:"ptr"`
		Iface  any            `json:"iface"`
		Map    map[string]int `json:"map"`
		Arr    [2]bool        `json:"arr"`
		hidden int
		Embedded
		*other
		unexported
		*inner
	}
	yes := true
	full := tags{A: 1, Skip: 2, Empty: "e", None: []int{1}, Zero: 1, ZeroIn: inner{1}, Quoted: 4, QStr: `a"b`, QPtr: &yes, Odd: 5,
		Ptr: &inner{7}, Iface: inner{8}, Map: map[string]int{"b": 1, "a": 2}, hidden: 9, Embedded: Embedded{"e", 1, 2}, other: &other{3, 4}, unexported: unexported{5, 6}, inner: &inner{7}}
	for _, v := range []any{tags{}, full, &full, []tags{full}, map[string]tags{"x": full}, struct{ *recursive }{}, struct {
		Embedded
		Both string
	}{}, struct {
		namedText
		inner `json:"named"`
	}{}} {
		var want bytes.Buffer
		e := json.NewEncoder(&want)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		got, err := Marshal(v)
		if err != nil || string(got.JSON) != strings.TrimSuffix(want.String(), "\n") {
			t.Errorf("%T: %v\ngot  %s\nwant %s", v, err, got.JSON, want.String())
		}
	}
}

// Tags that are a mistake in a program still have a meaning.
func TestMarshalOddTagsLikeEncodingJSON(t *testing.T) {
	var fields []reflect.StructField
	for i, tag := range []reflect.StructTag{`json:"-,"`, `json:"qi,string"`, `json:"a\"b"`, `json:",unknown,omitempty"`, `json`} {
		fields = append(fields, reflect.StructField{Name: "F" + string(rune('A'+i)), Type: reflect.TypeFor[[]int](), Tag: tag})
	}
	v := reflect.New(reflect.StructOf(fields)).Elem()
	v.Field(0).Set(reflect.ValueOf([]int{1}))
	want, err := json.Marshal(v.Interface())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Marshal(v.Interface()); err != nil || string(got.JSON) != string(want) {
		t.Errorf("%v: got %s, want %s", err, got.JSON, want)
	}
}

type zeroByMethod struct{ V int }

func (z *zeroByMethod) IsZero() bool { return z.V == 7 }

func TestMarshalOmitZeroMethod(t *testing.T) {
	type holder struct {
		T  time.Time     `json:"t,omitzero"`
		P  *time.Time    `json:"p,omitzero"`
		M  zeroByMethod  `json:"m,omitzero"`
		MP *zeroByMethod `json:"mp,omitzero"`
	}
	for _, v := range []any{holder{}, holder{M: zeroByMethod{7}}, &holder{M: zeroByMethod{7}, MP: &zeroByMethod{7}}} {
		want, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Marshal(v); err != nil || string(got.JSON) != string(want) {
			t.Errorf("%v: got %s, want %s", err, got.JSON, want)
		}
	}
}

func TestMarshalTime(t *testing.T) {
	zone := time.FixedZone("", 3*3600)
	for _, tt := range []struct {
		in   time.Time
		want string
	}{
		{time.Date(2024, 2, 29, 1, 2, 3, 4_999_999, zone), `"2024-02-28T22:02:03.004Z"`},
		{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), `"+010000-01-01T00:00:00.000Z"`},
		{time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), `"-000001-01-01T00:00:00.000Z"`},
		{time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), `"0000-01-01T00:00:00.000Z"`},
		{time.Unix(8_640_000_000_000, 0), `"+275760-09-13T00:00:00.000Z"`},
		{time.Unix(8_640_000_000_000, 1), `"+275760-09-13T00:00:00.000Z"`},
		{time.Unix(8_640_000_000_000, 1e6), "null"},
		{time.Unix(-8_640_000_000_000, 0), `"-271821-04-20T00:00:00.000Z"`},
		{time.Unix(-8_640_000_000_001, 0), "null"},
		{time.Unix(math.MaxInt64>>8, 0), "null"},
	} {
		for _, v := range []any{tt.in, &tt.in, struct{ T time.Time }{tt.in}} {
			got, err := Marshal(v)
			if err != nil || !strings.Contains(string(got.JSON), tt.want) {
				t.Errorf("%v: %s, %v, want %s", tt.in, got.JSON, err, tt.want)
			}
		}
	}
}

func TestMarshalArgsAndEvent(t *testing.T) {
	for _, tt := range []struct {
		got  func() (Payload, error)
		want string
	}{
		{func() (Payload, error) { return MarshalArgs() }, "[]"},
		{func() (Payload, error) { return MarshalArgs(nil) }, "[null]"},
		{func() (Payload, error) { return MarshalArgs(nil, 1) }, "[null,1]"},
		{func() (Payload, error) { return MarshalEvent("") }, `[""]`},
		{func() (Payload, error) { return MarshalEvent("a\"", nil, "x") }, `["a\"",null,"x"]`},
		{func() (Payload, error) { return MarshalEvent("a", Payload{}, Payload{JSON: []byte(" 1")}) }, `["a",null, 1]`},
	} {
		if p, err := tt.got(); err != nil || string(p.JSON) != tt.want || p.Attachments != nil {
			t.Errorf("%s, %v, want %s", p.JSON, err, tt.want)
		}
	}
}

func TestMarshalSplicesPayloads(t *testing.T) {
	p := mustDecode(t, `53-["a",{"_placeholder":true,"num":2},[{"_placeholder":true,"num":0} ],{"num":2,"_placeholder":true},1.0]`, []byte("0"), []byte("1"), []byte("2"))
	_, args, err := p.Event()
	if err != nil {
		t.Fatal(err)
	}
	got, err := MarshalEvent("b", append([]any{[]byte("own"), struct{ P Payload }{args.At(1)}}, args.Values()...)...)
	if err != nil {
		t.Fatal(err)
	}
	want := `["b",` + slot0 + `,{"P":[` + slot1 + ` ]},{"_placeholder":true,"num":2},[` + slot1 + ` ],{"_placeholder":true,"num":2},1.0]`
	if string(got.JSON) != want {
		t.Errorf("got  %s\nwant %s", got.JSON, want)
	}
	if a := fmt.Sprintf("%s", got.Attachments); a != "[own 0 2]" {
		t.Errorf("attachments %s", a)
	}
	if &got.Attachments[2][0] != &p.Attachments[2][0] {
		t.Error("the attachment of a Payload was copied")
	}
}

func TestMarshalCopiesBytes(t *testing.T) {
	data := []byte("abc")
	p, err := MarshalEvent("a", data)
	if err != nil {
		t.Fatal(err)
	}
	clear(data)
	if string(p.Attachments[0]) != "abc" {
		t.Error("the attachment changed with the caller's slice")
	}
}

// Data from one client in the shape of a placeholder must not make another client's decoder take it for one.
func TestMarshalRefusesForgedPlaceholders(t *testing.T) {
	forged := map[string]any{"_placeholder": true, "num": 99}
	type inStruct struct {
		P bool `json:"_placeholder"`
		N int  `json:"num"`
	}
	for _, v := range []any{
		forged, []any{forged}, inStruct{true, 0}, json.RawMessage(slot0), json.RawMessage(`{"\u005fplaceholder":true,"num":1}`), Payload{JSON: []byte(slot0)},
		map[string]json.RawMessage{"_placeholder": json.RawMessage("true"), "num": json.RawMessage("0")},
	} {
		if p, err := MarshalEvent("a", v); err != nil || len(p.Attachments) != 0 {
			t.Errorf("%v alone: %v", v, err)
		}
		if p, err := MarshalEvent("a", v, []byte("x")); !errors.Is(err, ErrAttachments) {
			t.Errorf("%v beside binary: %s, %v", v, p.JSON, err)
		}
	}
	for _, v := range []any{map[string]any{"_placeholder": false}, inStruct{false, 5}, json.RawMessage(`["_placeholder"]`)} {
		if _, err := MarshalEvent("a", v, []byte("x")); err != nil {
			t.Errorf("%v: %v", v, err)
		}
	}
}

func TestMarshalErrors(t *testing.T) {
	cyclicMap := map[string]any{}
	cyclicMap["a"] = cyclicMap
	cyclicSlice := make([]any, 1)
	cyclicSlice[0] = cyclicSlice
	cyclicStruct := &recursive{Value: strings.Repeat("x", 1000)}
	cyclicStruct.Next = cyclicStruct
	deep := []any{}
	for range maxDepth {
		deep = []any{deep}
	}
	for _, v := range []any{cyclicMap, cyclicSlice, cyclicStruct, deep, []any{deep[0]}, Payload{JSON: []byte(strings.Repeat("[", maxDepth+1))}} {
		if _, err := Marshal(v); !errors.Is(err, ErrTooDeep) {
			t.Errorf("%T: %v", v, err)
		}
	}
	if p, err := Marshal(deep[0]); err != nil || len(p.JSON) != 2*maxDepth {
		t.Errorf("the deepest value: %d bytes, %v", len(p.JSON), err)
	}
	var unsupported *json.UnsupportedTypeError
	for _, v := range []any{complex(1, 1), map[float64]int{1: 1}, []any{struct{ C complex64 }{}}} {
		if _, err := Marshal(v); !errors.As(err, &unsupported) {
			t.Errorf("%T: %v", v, err)
		}
	}
	for _, v := range []any{json.RawMessage("{"), json.RawMessage(""), json.RawMessage("1 2"), badJSON{}, &badJSON{}, []any{Payload{JSON: []byte("x")}}, Payload{JSON: []byte("["), Attachments: [][]byte{{}}}} {
		if _, err := Marshal(v); !errors.Is(err, ErrPayload) {
			t.Errorf("%T: %v", v, err)
		}
	}
	if _, err := Marshal(failing{}); !errors.Is(err, errFailing) {
		t.Errorf("error of MarshalJSON: %v", err)
	}
	if _, err := Marshal(json.Number("1x")); err == nil {
		t.Error("a json.Number that is none")
	}
	if _, err := Marshal(Payload{JSON: []byte(slot1), Attachments: [][]byte{{}}}); !errors.Is(err, ErrAttachments) {
		t.Errorf("placeholder out of range: %v", err)
	}
}

// A value may occur many times as long as it does not contain itself, at any depth.
func TestMarshalSharedValues(t *testing.T) {
	shared := map[string]any{"a": []int{1}}
	var v any = []any{shared, shared}
	for range 2 * cycleDepth {
		v = []any{v, &shared, shared}
	}
	if _, err := Marshal(v); err != nil {
		t.Error(err)
	}
}

func TestPayloadInEncodingJSON(t *testing.T) {
	type envelope struct {
		P Payload  `json:"p"`
		Q *Payload `json:"q"`
		R Payload  `json:"r"`
	}
	text, err := json.Marshal(envelope{P: Payload{JSON: []byte(`{"b":1,"a":2}`)}})
	if err != nil || string(text) != `{"p":{"b":1,"a":2},"q":null,"r":null}` {
		t.Errorf("%s, %v", text, err)
	}
	var got envelope
	if err := json.Unmarshal([]byte(`{"p":[1, 2],"q":3}`), &got); err != nil || string(got.P.JSON) != "[1, 2]" || string(got.Q.JSON) != "3" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := json.Marshal(Payload{JSON: []byte(slot0), Attachments: [][]byte{{}}}); !errors.Is(err, errPayloadBinary) {
		t.Errorf("binary through encoding/json: %v", err)
	}
}

func TestEncodeAllocations(t *testing.T) {
	var dst []byte
	for name, value := range map[string]any{"string": "hello", "struct": &chatValue, "raw": Payload{JSON: []byte(`{"a":1}`)}, "float": 1.5} {
		if n := testing.AllocsPerRun(100, func() {
			payload, err := MarshalEvent("send", value)
			if err != nil {
				t.Fatal(err)
			}
			p := Packet{Type: Event, ID: NoID, Payload: payload}
			dst = p.AppendText(dst[:0])
		}); n > 2 {
			t.Errorf("encoding an event with a %s allocates %v times", name, n)
		}
	}
}

func TestPlansAreSharedByGoroutines(t *testing.T) {
	type local struct {
		Next  *local
		Items []map[string]local
	}
	want, err := json.Marshal(local{Items: []map[string]local{{"a": {}}}})
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan string)
	for range 8 {
		go func() {
			p, err := Marshal(local{Items: []map[string]local{{"a": {}}}})
			results <- fmt.Sprint(string(p.JSON), err)
		}()
	}
	for range 8 {
		if got := <-results; got != string(want)+"<nil>" {
			t.Error(got)
		}
	}
	if _, ok := plans.Load(reflect.TypeFor[local]()); !ok {
		t.Error("the plan of a type was not kept")
	}
}
