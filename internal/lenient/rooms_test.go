package lenient

import (
	"reflect"
	"slices"
	"testing"
)

func TestDistinct(t *testing.T) {
	long := make([]string, 0, 2*fewRooms)
	for i := range 2 * fewRooms {
		long = append(long, string(rune('a'+i%fewRooms)))
	}
	for _, tt := range []struct{ in, want []string }{
		{nil, []string{}}, {[]string{"a", "b"}, []string{"a", "b"}}, {[]string{"b", "a", "b", "c", "a"}, []string{"b", "a", "c"}},
		{long, long[:fewRooms]},
	} {
		before := slices.Clone(tt.in)
		if got := Distinct(tt.in); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%v: %v", tt.in, got)
		}
		if !slices.Equal(before, tt.in) {
			t.Errorf("%v was changed into %v", before, tt.in)
		}
	}
}

// TestWhole compares with the names for which Node.js has String(Number(name)) === name and Number.isSafeInteger(Number(name)).
func TestWhole(t *testing.T) {
	for name, want := range map[string]int64{"0": 0, "43": 43, "-5": -5, "9007199254740991": maxWhole, "-9007199254740991": -maxWhole} {
		if n, ok := Whole(name); !ok || n != want {
			t.Errorf("%q: %d, %v", name, n, ok)
		}
	}
	for _, name := range []string{"", "-", "-0", "+1", "043", "1.5", "1e3", "1_000", " 1", "1 ", "0x10", "9007199254740992", "99999999999999999999", "a", "\u0664"} {
		if n, ok := Whole(name); ok {
			t.Errorf("%q: %d", name, n)
		}
	}
}

func TestBothForms(t *testing.T) {
	for _, tt := range []struct {
		in   []string
		want any
	}{
		{[]string{"a", "1.5"}, []string{"a", "1.5"}}, {nil, []string(nil)}, {[]string{"a", "43", "-1"}, []any{"a", "43", int64(43), "-1", int64(-1)}},
	} {
		if got := BothForms(tt.in); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: %v", tt.in, got)
		}
	}
}
