package seldom

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Gate
		for round := range 3 {
			var passed atomic.Int32
			var callers sync.WaitGroup
			for range 50 {
				callers.Go(func() {
					if g.Pass(time.Minute) {
						passed.Add(1)
					}
				})
			}
			callers.Wait()
			if n := passed.Load(); n != 1 {
				t.Errorf("round %d: %d passed", round, n)
			}
			time.Sleep(59 * time.Second)
			if g.Pass(time.Minute) {
				t.Errorf("round %d: passed within the time", round)
			}
			time.Sleep(time.Second)
		}
	})
}
