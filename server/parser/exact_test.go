package parser

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sockeye-io/sockeye/internal/jsontext"
)

type exactTarget struct {
	S     string            `json:"s"`
	N     int               `json:"n"`
	P     *int64            `json:"p"`
	U     uint8             `json:"u"`
	F     float64           `json:"f"`
	Raw   json.RawMessage   `json:"raw"`
	Keys  map[string]int    `json:"keys"`
	Ints  map[int]string    `json:"ints"`
	Text  map[namedKey]bool `json:"text"`
	Any   any               `json:"any"`
	List  []int32           `json:"list"`
	Named namedKey          `json:"named"`
	Inner *exactTarget      `json:"inner"`
	Bytes []byte            `json:"bytes"`
}

// namedKey keeps its text in brackets.
type namedKey struct{ text string }

func (k *namedKey) UnmarshalText(text []byte) error {
	k.text = "[" + string(text) + "]"
	return nil
}

const high, low = "\xed\xa0\xbd", "\xed\xb8\x80" // the halves of a character, each by itself

func TestUnmarshalExact(t *testing.T) {
	big := int64(9007199254740993)
	tests := []struct {
		text string
		want any
	}{
		{`"u\ud83d"`, "u" + high}, {`"\ud83d\ude00"`, "😀"}, {`"\ude00\ud83d"`, low + high}, {`"\\ud83d"`, `\ud83d`}, {`"\uD83Dx"`, high + "x"},
		{`["\ud83d","\ude00"]`, []string{high, low}}, {`{"\ud83d":1,"\ude00":2,"\ufffd":3}`, map[string]int{high: 1, low: 2, "\ufffd": 3}},
		{`{"\ud83d":{"a":["\ude00"]}}`, map[string]any{high: map[string]any{"a": []any{low}}}},
		{`{"\ud83d":true,"\ude00":true}`, map[namedKey]bool{{"[" + high + "]"}: true, {"[" + low + "]"}: true}},
		{"3.0", 3}, {"1e2", 100}, {"-0", 0}, {"-0.0", uint(0)}, {"-0", uint(0)}, {"12.50e1", 125}, {"0.001E+3", 1}, {"0e99999999999999999999", 0},
		{"9007199254740993.0", big}, {"9223372036854775807.0", int64(math.MaxInt64)}, {"-9223372036854775808e0", int64(math.MinInt64)},
		{"18446744073709551615.0", uint64(math.MaxUint64)}, {"1.8446744073709551615e19", uint64(math.MaxUint64)},
		{"3.0", 3.0}, {"-0", math.Copysign(0, -1)}, {"1e2", json.Number("1e2")}, {"1e2", any(100.0)}, {"1.0", json.RawMessage("1.0")},
		{"[1.0,2,3e0]", []int8{1, 2, 3}}, {"[1.0,2,3e0]", [2]int8{1, 2}}, {`{"5.0":1e0,"1e1":2,"-0":3}`, map[int]int{5: 1, 10: 2, 0: 3}}, {`{"5.0":1.5}`, map[string]float64{"5.0": 1.5}},
		{`{"s":"\ud83d","n":3.0,"p":9007199254740993.0,"u":255.0,"f":1e2,"raw":[1.0,"\ud83d"],"keys":{"\ud83d":1.0},"ints":{"2.0":"x"},"text":{"\ude00":true},
			"any":{"\ud83d":1.0},"list":[1.0,null,2],"named":"\ude00","inner":{"n":1e1},"bytes":"YQ==","other":"\ud83d"}`,
			exactTarget{high, 3, &big, 255, 100, json.RawMessage(`[1.0,"\ud83d"]`), map[string]int{high: 1}, map[int]string{2: "x"}, map[namedKey]bool{{"[" + low + "]"}: true},
				map[string]any{high: 1.0}, []int32{1, 0, 2}, namedKey{"[" + low + "]"}, &exactTarget{N: 10}, []byte("a")}},
	}
	for _, tt := range tests {
		v := reflect.New(reflect.TypeOf(tt.want))
		err := Payload{JSON: []byte(tt.text)}.Unmarshal(v.Interface())
		if got := v.Elem().Interface(); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %#v, %v", tt.text, got, err)
		}
	}
}

// TestUnmarshalExactBinary has them beside attachments.
func TestUnmarshalExactBinary(t *testing.T) {
	var v struct {
		Name string
		N    int
		Data []byte
		Any  any
	}
	p := Payload{JSON: []byte(`{"name":"\ud83d","n":2.0,"data":` + slot0 + `,"any":["\ude00",` + slot0 + `,4.0]}`), Attachments: [][]byte{{1}}}
	if err := p.Unmarshal(&v); err != nil || v.Name != high || v.N != 2 || string(v.Data) != "\x01" || !reflect.DeepEqual(v.Any, []any{low, []byte{1}, 4.0}) {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestUnmarshalExactErrors(t *testing.T) {
	for _, tt := range []struct {
		text   string
		target any
		want   string
	}{
		{"3.5", new(int), "number 3.5"}, {"256.0", new(uint8), "number 256.0"}, {"-1.0", new(uint), "number -1.0"}, {"1e19", new(int64), "number 1e19"},
		{"1e400", new(int), "number 1e400"}, {"12345678901234567890123.0", new(uint64), "number 12345678901234567890123.0"}, {`{"a":3.5}`, new(map[string]int), "number 3.5"}, {`{"3.5":1}`, new(map[int]int), "number 3.5"},
		{"3.0", new(string), "number"}, {"3.0", new(bool), "number"}, {`"\ud83d"`, new(int), "string"}, {`["\ud83d"]`, new(string), "array"}, {`{"\ud83d":1.0}`, new([]int), "object"},
		{`{"a":"\ud83d"}`, new(struct {
			A string `json:"a,string"`
		}), "string"},
	} {
		err := Payload{JSON: []byte(tt.text)}.Unmarshal(tt.target)
		if mismatch, ok := err.(*json.UnmarshalTypeError); !ok || mismatch.Value != tt.want {
			t.Errorf("%s: %v, want %q", tt.text, err, tt.want)
		}
	}
	for _, text := range []string{`"\ud83d`, `["\ud83d"`, `"\ud83d"x`, "1.0x", "01.0", "1.e2", `{"1.0":1.0`} {
		for _, v := range []any{new(any), new(int), new(string), new(map[int]int)} {
			if err := (Payload{JSON: []byte(text)}).Unmarshal(v); err == nil {
				t.Errorf("%s into %T: no error", text, v)
			}
		}
	}
}

// TestMarshalSurrogates sends on what Unmarshal gave.
func TestMarshalSurrogates(t *testing.T) {
	for text, want := range map[string]string{
		`["\ud83d",{"\ude00":"x\udfff"}]`: `["\ud83d",{"\ude00":"x\udfff"}]`, `["\ud83d\ude00","\ufffd"]`: "[\"😀\",\"\ufffd\"]",
	} {
		var v any
		if err := (Payload{JSON: []byte(text)}).Unmarshal(&v); err != nil {
			t.Fatal(err)
		}
		if p, err := Marshal(v); err != nil || string(p.JSON) != want {
			t.Errorf("%s: got %s, %v", text, p.JSON, err)
		}
	}
	if got := string(appendString(nil, high+low+"\xed\xa0\xff\xed")); got != `"\ud83d\ude00`+strings.Repeat("\ufffd", 4)+`"` {
		t.Errorf("got %s", got)
	}
}

// jsonUnits reads a checked JSON string as JavaScript does.
func jsonUnits(text []byte) (units []uint16) {
	for text = text[1 : len(text)-1]; len(text) > 0; {
		r, n := utf8.DecodeRune(text)
		if text[0] == '\\' {
			r, n = jsontext.ReadEscape(text)
		}
		text = text[n:]
		if utf16.IsSurrogate(r) {
			units = append(units, uint16(r))
		} else {
			units = utf16.AppendRune(units, r)
		}
	}
	return units
}

// FuzzSurrogates takes any string that JavaScript can have through Go and back. It must be the same again, as a value and as a key:
// so no two become one.
func FuzzSurrogates(f *testing.F) {
	f.Add("a\xd8\x3d\xde\x00")
	f.Add("\xde\x00\xd8\x3d\xd8\x3d\xde\x00\xff\xfd")
	f.Fuzz(func(t *testing.T, raw string) {
		var units []uint16
		text := []byte{'"'}
		for i := 0; i+1 < len(raw); i += 2 {
			u := uint16(raw[i])<<8 | uint16(raw[i+1])
			units, text = append(units, u), jsontext.AppendUnit(text, u)
		}
		text = append(text, '"')
		var s string
		keys := make(map[string]bool)
		if err := (Payload{JSON: text}).Unmarshal(&s); err != nil {
			t.Fatal(err)
		}
		if err := (Payload{JSON: fmt.Appendf(nil, "{%s:true}", text)}).Unmarshal(&keys); err != nil || !keys[s] {
			t.Fatalf("keys %v, %v, want %q", keys, err, s)
		}
		p, err := Marshal(s)
		if err != nil || !utf8.Valid(p.JSON) || !slices.Equal(jsonUnits(p.JSON), units) {
			t.Fatalf("%s became %q and %s, %v", text, s, p.JSON, err)
		}
	})
}

// FuzzWhole compares with exact arithmetic.
func FuzzWhole(f *testing.F) {
	for _, s := range []string{"3.0", "1e2", "-0", "0.5e1", "100.00e-2", "1e-1", "12345678901234567890.0", "0.0e-5", "5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		whole, ok := wholeText([]byte(text))
		exact, valid := new(big.Rat), isNumber([]byte(text))
		if valid {
			if _, exponent := splitNumber(text); len(text) > 100 || exponent > 1000 || exponent < -1000 {
				return
			}
			exact.SetString(text)
		}
		if !ok {
			if _, err := strconv.ParseInt(text, 10, 64); valid && exact.IsInt() && exact.Num().IsInt64() && (err != nil || text == "-0") {
				t.Fatalf("%s is no integer", text)
			}
			return
		}
		if !valid || !exact.IsInt() || exact.Num().String() != whole {
			t.Fatalf("%s: %s, want %s", text, whole, exact)
		}
	})
}

// FuzzExact compares with encoding/json where that decodes what this package decodes otherwise.
func FuzzExact(f *testing.F) {
	f.Add([]byte(`{"s":"\ud83d","n":3.0,"p":1e2,"keys":{"\ud83d":1.0},"any":[1.0,"\ud83d"],"list":[1.0]}`))
	f.Add([]byte(`{"ints":{"2.0":"x"},"inner":{"n":1e1,"raw":"\ud83d"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if checkJSON(text, 100) != nil || !utf8.Valid(text) || repeatsKey(text) {
			return
		}
		var want, got exactTarget
		if json.Unmarshal(text, &want) != nil || jsontext.HoldsLone(text) {
			_ = Payload{JSON: text}.Unmarshal(&got)
			return
		}
		if err := unmarshalExact(text, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func isNumber(text []byte) bool {
	return len(text) > 0 && (text[0] == '-' || jsontext.IsDigit(text[0])) && json.Valid(text) && text[len(text)-1] > ' '
}
