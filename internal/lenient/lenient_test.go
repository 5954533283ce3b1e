package lenient

import (
	"encoding/json"
	"slices"
	"testing"
)

// TestRooms compares with what Node.js has of new Set(JSON.parse(text)): the texts and numbers in it.
func TestRooms(t *testing.T) {
	for text, want := range map[string][]string{
		"": nil, "null": nil, "[]": {}, `""`: {},
		`["a","b","a"]`: {"a", "b", "a"}, `[43,"43",-0,1.50,1e2,1e21]`: {"43", "43", "0", "1.5", "100", "1e+21"},
		`[null,"a",{},[],true]`: {"a"}, `[null]`: {Nobody}, `[{"a":1},[["b"]]]`: {Nobody}, `"aé😀"`: {"a", "é", "😀"},
		`[""]`: {""}, `["u\ud800"]`: {"u\xed\xa0\x80"},
	} {
		got, err := Rooms(text)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"5", "0", "true", "false", "{}", `{"a":1}`} {
		if got, err := Rooms(text); err == nil {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestNames(t *testing.T) {
	for text, want := range map[string][]string{
		"": nil, "null": nil, "[]": {}, `""`: {""}, `"room"`: {"room"}, "43": {"43"}, `["a",null,43,{}]`: {"a", "43"}, "{}": {}, "true": {}, "[null]": {},
	} {
		if got, err := Names(text); err != nil || !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
}

func TestTruth(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "null": false, "false": false, `""`: false, "0": false, "-0": false, "0.0": false, "0e9": false,
		"true": true, "1": true, "-0.5": true, `"0"`: true, `"false"`: true, "[]": true, "{}": true, "1e999": true,
	} {
		if got := Truth(text); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// FuzzRooms reads valid JSON of every kind: lists that are not empty are never for everybody.
func FuzzRooms(f *testing.F) {
	for _, s := range []string{`[null,"a",5]`, `"ab"`, `{}`, `[[]]`, `1e400`, `[1e400]`, `["\ud800"]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) {
			return
		}
		var compact json.RawMessage
		if json.Unmarshal([]byte(text), &compact) != nil || len(compact) == 0 {
			return
		}
		text = string(compact)
		var list []any
		isList := json.Unmarshal(compact, &list) == nil && compact[0] == '['
		if rooms, err := Rooms(text); err == nil && isList && len(list) > 0 && len(rooms) == 0 {
			t.Fatalf("%s became everybody", text)
		}
		if names, err := Names(text); err == nil && slices.Contains(names, Nobody) {
			t.Fatalf("%s named nobody", text)
		}
		Truth(text)
	})
}
