package seldom

import (
	"strconv"
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

// TestKeyed: each key has a gate of its own, which counts whom it holds back, and those beyond the bound share one.
func TestKeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var k Keyed
		passed := 0
		for range 3 {
			for i := range maxKeys + 100 {
				if held, ok := k.Pass(strconv.Itoa(i), time.Minute); ok {
					passed++
				} else if held != 0 {
					t.Error("one that is held back hears how many were")
				}
			}
		}
		if passed != maxKeys+1 || len(k.gates) != maxKeys {
			t.Errorf("%d passed, %d gates", passed, len(k.gates))
		}
		time.Sleep(time.Minute)
		if held, ok := k.Pass("0", time.Minute); !ok || held != 2 {
			t.Errorf("after a minute: %v, %d were held back", ok, held)
		}
		if held, ok := k.Pass("another", time.Minute); !ok || held != 299 {
			t.Errorf("one of many, after a minute: %v, %d were held back", ok, held)
		}
	})
}
