package load

import "testing"

func TestTally(t *testing.T) {
	for _, tc := range []struct {
		name              string
		copies            int64
		numbers           []int64
		got, late, double int64
		completed         int
	}{
		{"in order", 1, []int64{1, 2, 3}, 3, 0, 0, 3},
		{"copies", 3, []int64{1, 1, 1, 2, 2, 2}, 6, 0, 0, 2},
		{"one lost", 1, []int64{1, 3}, 2, 0, 0, 2},
		{"a copy lost", 2, []int64{1, 1, 2}, 3, 0, 0, 1},
		{"the first lost", 1, []int64{2}, 1, 0, 0, 1},
		{"twice", 1, []int64{1, 2, 2}, 2, 0, 1, 2},
		{"a copy too many", 2, []int64{1, 1, 1}, 2, 0, 1, 1},
		{"overtaken", 1, []int64{2, 1, 3}, 3, 1, 0, 2},
		{"an old one again", 1, []int64{1, 2, 1}, 2, 1, 1, 2},
		{"lost, and an old one again", 1, []int64{1, 3, 1}, 3, 1, 0, 2}, // taken for the missing one, but out of order
	} {
		tally, completed := tally{copies: tc.copies}, 0
		for _, n := range tc.numbers {
			if tally.add(n) {
				completed++
			}
		}
		if tally.got != tc.got || tally.late != tc.late || tally.double != tc.double || completed != tc.completed {
			t.Errorf("%s: %+v, %d complete, want got %d, late %d, double %d, %d complete",
				tc.name, tally, completed, tc.got, tc.late, tc.double, tc.completed)
		}
	}
}
