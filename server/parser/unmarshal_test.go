package parser

import (
	"encoding/json"
	"errors"
	"net"
	"reflect"
	"strings"
	"testing"
)

// viaInner has an UnmarshalJSON that leaves the work to encoding/json.
type viaInner struct{ Data []byte }

func (v *viaInner) UnmarshalJSON(text []byte) error {
	var in struct{ Data []byte }
	err := json.Unmarshal(text, &in)
	v.Data = in.Data
	return err
}

type upperKey string

func (k *upperKey) UnmarshalText(text []byte) error {
	*k = upperKey(strings.ToUpper(string(text)))
	return nil
}

type hiddenEmbedded struct{ Data []byte }

type Outer struct {
	Name string `json:"name"`
	Data []byte `json:"data"`
	*Embedded2
}

type Embedded2 struct {
	Extra any `json:"extra"`
}

func TestUnmarshalPlain(t *testing.T) {
	tests := []struct {
		text   string
		target any
		want   any
	}{
		{`"a\u00e9"`, new(string), "aé"}, {` "x" `, new(string), "x"}, {"null", new(string), ""},
		{"true", new(bool), true}, {" false ", new(bool), false},
		{"-12", new(int), -12}, {"0", new(int), 0}, {"9007199254740993", new(int64), int64(9007199254740993)}, {"1e2", new(float64), 100.0},
		{`{"b":1.5,"a":null}`, new(any), map[string]any{"b": 1.5, "a": nil}}, {"null", new(any), nil},
		{`{"a": 1}`, new(json.RawMessage), json.RawMessage(`{"a": 1}`)}, {"[1 ]", new(Payload), Payload{JSON: json.RawMessage("[1 ]")}},
		{`"YQ=="`, new([]byte), []byte("a")}, {"null", new([]byte), []byte(nil)},
		{slot0, new(any), map[string]any{"_placeholder": true, "num": 0.0}},
		{`{"TO":"x","seq":3}`, new(chatMessage), chatMessage{To: "x", Seq: 3}},
	}
	for _, tt := range tests {
		err := Payload{JSON: []byte(tt.text)}.Unmarshal(tt.target)
		if got := reflect.ValueOf(tt.target).Elem().Interface(); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %#v, %v", tt.text, got, err)
		}
	}
	for text, target := range map[string]any{
		`"x`: new(string), "1": new(string), "01": new(int), "1.5": new(int), "-": new(int), "truex": new(bool), "{": new(any), "[": new(Payload), "1 2": new(json.RawMessage), "99999999999999999999": new(int), "1e999": new(any), " ": new(any),
		`"not base64!"`: new([]byte),
	} {
		if err := (Payload{JSON: []byte(text)}).Unmarshal(target); err == nil {
			t.Errorf("%s into %T: no error", text, target)
		}
	}
	text := "unchanged"
	if err := (Payload{}).Unmarshal(&text); err != nil || text != "unchanged" {
		t.Errorf("undefined: %q, %v", text, err)
	}
	var invalid *json.InvalidUnmarshalError
	for _, target := range []any{nil, "x", (*string)(nil)} {
		if err := (Payload{}).Unmarshal(target); !errors.As(err, &invalid) {
			t.Errorf("%#v: %v", target, err)
		}
	}
}

func TestUnmarshalBinary(t *testing.T) {
	one, two := []byte("one"), []byte("two")
	type pair struct {
		A []byte
		B *[]byte
		C blob
		D any
		E [][]byte
		F map[string][]byte
		G [2]any
		H Payload
		I viaInner
		J net.IP
		K int `json:",string"`
		L map[int][]byte
		M map[upperKey]any
	}
	tests := []struct {
		text   string
		target any
		want   any
	}{
		{slot0, new([]byte), one}, {slot1, new(blob), blob("two")}, {slot0, new(any), one}, {slot1, new(*[]byte), &two},
		{" " + slot0 + " ", new([]byte), one},
		{slot0, new(Payload), Payload{JSON: []byte(slot0), Attachments: [][]byte{one, two}}},
		{`{"_placeholder":true,"num":0.5}`, &[]byte{1}, []byte(nil)}, {`{"_placeholder":true,"num":0.5}`, new(string), ""},
		{`[` + slot1 + `,1,{"a":` + slot0 + `,"b":[]}]`, new(any), []any{two, 1.0, map[string]any{"a": one, "b": []any{}}}},
		{`[` + slot1 + `,` + slot1 + `]`, new([][]byte), [][]byte{two, two}},
		{`[` + slot1 + `]`, new([2][]byte), [2][]byte{two}}, {`[` + slot1 + `,` + slot0 + `]`, new([1][]byte), [1][]byte{two}},
		{`{"a":1,"x":` + slot0 + `}`, new(map[string]any), map[string]any{"a": 1.0, "x": one}},
		{`{"a":` + slot0 + `,"a":1}`, new(any), map[string]any{"a": 1.0}}, {`{"a":1,"a":` + slot0 + `}`, new(any), map[string]any{"a": one}},
		{`{"A":"not base64","A":` + slot0 + `}`, new(pair), pair{A: one}},
		{`{"a":` + slot0 + `,"B":` + slot1 + `,"C":` + slot0 + `,"D":` + slot1 + `,"unknown":` + slot0 + `,"K":"5"}`, new(pair), pair{A: one, B: &two, C: blob("one"), D: two, K: 5}},
		{`{"E":[` + slot0 + `,null],"F":{"x":` + slot1 + `,"y":"YQ=="},"G":[{"g":` + slot0 + `},2]}`, new(pair), pair{E: [][]byte{one, nil}, F: map[string][]byte{"x": two, "y": []byte("a")}, G: [2]any{map[string]any{"g": one}, 2.0}}},
		{`{"H":[` + slot1 + ` ],"I":{"Data":` + slot0 + `},"J":` + slot1 + `}`, new(pair), pair{H: Payload{JSON: []byte("[" + slot1 + " ]"), Attachments: [][]byte{one, two}}, I: viaInner{one}, J: net.IP("two")}},
		{`{"L":{"7":` + slot0 + `},"M":{"k":` + slot1 + `,"l":1}}`, new(pair), pair{L: map[int][]byte{7: one}, M: map[upperKey]any{"K": two, "L": 1.0}}},
		{`{"name":"n","data":` + slot0 + `,"extra":[` + slot1 + `]}`, new(Outer), Outer{"n", one, &Embedded2{[]any{two}}}},
		{`{"name":"n","data":` + slot0 + `}`, new(*Outer), &Outer{Name: "n", Data: one}},
		{"5", new(int), 5}, {`"x"`, new(any), "x"},
	}
	for _, tt := range tests {
		err := Payload{JSON: []byte(tt.text), Attachments: [][]byte{one, two}}.Unmarshal(tt.target)
		if got := reflect.ValueOf(tt.target).Elem().Interface(); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s into %T: %v\ngot  %#v\nwant %#v", tt.text, tt.target, err, got, tt.want)
		}
	}
}

func TestUnmarshalBinaryIntoWhatAnInterfacePointsTo(t *testing.T) {
	var data []byte
	var target any = &data
	if err := (Payload{JSON: []byte(slot0), Attachments: [][]byte{{7}}}).Unmarshal(&target); err != nil || len(data) != 1 || data[0] != 7 {
		t.Errorf("%v, %v", data, err)
	}
}

func TestUnmarshalBinaryErrors(t *testing.T) {
	atts := [][]byte{[]byte("one")}
	var mismatch *json.UnmarshalTypeError
	for text, targets := range map[string][]any{
		slot0:                       {new(string), new(int), new([]string), new(map[string]any), new(struct{ Num int }), new([3]byte), new(json.RawMessage), new(error), new(upperKey)},
		`[` + slot0 + `]`:           {new([]byte), new([]string), new(string), new(map[string]any), new(struct{}), new(json.RawMessage), new([]json.RawMessage), new(error)},
		`{"data":` + slot0 + `}`:    {new([]any), new(string), new(map[string]string), new(struct{ Data string }), new(struct{ Data json.RawMessage }), new(struct{ *hiddenEmbedded })},
		`[1,{"a":[` + slot0 + `]}]`: {new([]int), new([]map[string][]string)},
	} {
		for _, target := range targets {
			if err := (Payload{JSON: []byte(text), Attachments: atts}).Unmarshal(target); !errors.As(err, &mismatch) {
				t.Errorf("%s into %T: %v", text, target, err)
			}
		}
	}
	for text, want := range map[string]error{slot1: ErrAttachments, "[" + slot0: ErrPayload, slot0 + "x": ErrPayload, strings.Repeat("[", maxDepth+1): ErrTooDeep} {
		var v any
		if err := (Payload{JSON: []byte(text), Attachments: atts}).Unmarshal(&v); !errors.Is(err, want) {
			t.Errorf("%.40s: %v", text, err)
		}
	}
	if err := (Payload{JSON: []byte(`{"x":` + slot0 + `}`), Attachments: atts}).Unmarshal(new(map[int]any)); err == nil {
		t.Error("a key that is no number: no error")
	}
	// What encoding/json says of the members without binary is passed on.
	if err := (Payload{JSON: []byte(`{"name":1,"data":` + slot0 + `}`), Attachments: atts}).Unmarshal(new(Outer)); !errors.As(err, &mismatch) || mismatch.Field != "name" {
		t.Errorf("number into a string: %v", err)
	}
}

func TestArgs(t *testing.T) {
	p := mustDecode(t, `31["a",`+slot0+`,{"b":`+slot0+`},4,5,[6]]`)
	args, err := p.Args()
	if err != nil || args.Len() != 6 {
		t.Fatalf("%d arguments, %v", args.Len(), err)
	}
	var last []int
	var missing string
	if err := errors.Join(args.Unmarshal(5, &last), args.Unmarshal(6, &missing), args.Unmarshal(-1, &missing)); err != nil || last[0] != 6 || missing != "" {
		t.Errorf("%v, %q, %v", last, missing, err)
	}
	back, err := MarshalArgs(args.Values()...)
	if err != nil || string(back.JSON) != string(p.JSON) {
		t.Errorf("%s, %v", back.JSON, err)
	}
	for _, text := range []string{"{}", "1", "[", "[1", "[1,", "[1,]", "[,]", "[1 2]", "[1]x", "[]]", " ", strings.Repeat("[", maxDepth+1)} {
		if a, err := (Payload{JSON: []byte(text)}).Args(); err == nil || a.Len() != 0 {
			t.Errorf("%.20s: %d arguments, %v", text, a.Len(), err)
		}
	}
	for _, text := range []string{"", "[]", " [ ] "} {
		if a, err := (Payload{JSON: []byte(text)}).Args(); err != nil || a.Len() != 0 {
			t.Errorf("%q: %d arguments, %v", text, a.Len(), err)
		}
	}
}

// A slice taken out of a payload must not let its user write into the rest of it.
func TestPartsCannotGrowIntoThePayload(t *testing.T) {
	p := mustDecode(t, `2["a",[1],2]`)
	_, args, err := p.Event()
	if err != nil {
		t.Fatal(err)
	}
	var raw json.RawMessage
	if err := args.Unmarshal(0, &raw); err != nil {
		t.Fatal(err)
	}
	_ = append(raw, 'x')
	if string(p.JSON) != `["a",[1],2]` {
		t.Errorf("the payload became %s", p.JSON)
	}
}
