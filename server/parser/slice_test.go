package parser

import (
	"fmt"
	"testing"
)

func TestSlice(t *testing.T) {
	for n := range 8 {
		list := make([]any, n)
		for i := range list {
			list[i] = i
		}
		p, err := MarshalArgs(list...)
		if err != nil {
			t.Fatal(err)
		}
		args, err := p.Args()
		if err != nil {
			t.Fatal(err)
		}
		for i := -2; i < 10; i++ {
			for j := -2; j < 10; j++ {
				from := min(max(i, 0), n)
				want := list[from:min(max(j, from), n)]
				got := args.Slice(i, j)
				if text := texts(got); text != fmt.Sprint(want) || got.Len() != len(want) {
					t.Errorf("%v [%d:%d]: %s, want %v", list, i, j, text, want)
				}
				if inner := texts(got.Slice(1, 3)); inner != texts(args.Slice(from+1, min(from+3, max(j, from)))) {
					t.Errorf("%v [%d:%d][1:3]: %s", list, i, j, inner)
				}
			}
		}
	}
}

func texts(a Args) string {
	list := make([]string, a.Len())
	for i := range list {
		list[i] = string(a.At(i).JSON)
	}
	return fmt.Sprint(list)
}
