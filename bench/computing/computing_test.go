package computing

import (
	"testing"
	"testing/synctest"
)

func TestSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails if a goroutine is left
		var s Set
		if n := s.Set(2); n != 0 {
			t.Errorf("%d units before anything computes", n)
		}
		for s.done.Load() == 0 {
		}
		if n := s.Set(1); n == 0 {
			t.Error("nothing was done")
		}
		s.Set(0)
		if n := s.Set(0); n != 0 {
			t.Errorf("%d units after the end", n)
		}
	})
}
