package load

import "testing"

func TestSeen(t *testing.T) {
	for _, tc := range []struct {
		name              string
		numbers           []int64
		got, late, double int64
	}{
		{"in order", []int64{1, 2, 3}, 3, 0, 0},
		{"one lost", []int64{1, 3}, 2, 0, 0},
		{"twice", []int64{1, 2, 2}, 2, 0, 1},
		{"overtaken", []int64{2, 1, 3}, 3, 1, 0},
		{"one lost and another twice", []int64{1, 2, 4, 2}, 3, 0, 1},
		{"far apart", []int64{1, 1000, 64, 1000}, 3, 1, 1},
	} {
		var s seen
		for _, n := range tc.numbers {
			s.add(n)
		}
		if s.got != tc.got || s.late != tc.late || s.double != tc.double {
			t.Errorf("%s: got %d, late %d, double %d, want %d, %d, %d", tc.name, s.got, s.late, s.double, tc.got, tc.late, tc.double)
		}
	}
}
