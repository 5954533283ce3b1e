package server

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Callbacks are quick after many quick calls, or some over a long time, until a slow one.
func TestTempo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := func(p *tempo, times int) {
			for range times {
				p.goodLocked(usualCall / 2)
			}
		}
		for _, c := range []struct {
			name  string
			calls func(p *tempo)
			quick bool
		}{
			{"none", func(*tempo) {}, false},
			{"few", func(p *tempo) { good(p, quickCalls-1) }, false},
			{"many", func(p *tempo) { good(p, quickCalls) }, true},
			{"a slow one", func(p *tempo) { good(p, 2*quickCalls); p.badLocked() }, false},
			{"many after a slow one", func(p *tempo) { p.badLocked(); good(p, quickCalls) }, true},
			{"a doubt", func(p *tempo) { good(p, quickCalls); p.doubtLocked() }, false},
			{"some after a doubt", func(p *tempo) { good(p, quickCalls); p.doubtLocked(); good(p, someCalls) }, true},
			{"too few after a doubt", func(p *tempo) { p.doubtLocked(); good(p, someCalls-1); time.Sleep(time.Hour) }, false},
			{"some in a long time", func(p *tempo) { good(p, someCalls); time.Sleep(quickTime) }, true},
			{"a long time after a doubt", func(p *tempo) { p.doubtLocked(); time.Sleep(time.Hour) }, false},
			{"a slow one after a doubt", func(p *tempo) {
				p.doubtLocked()
				p.badLocked()
				good(p, someCalls)
				time.Sleep(quickTime)
			}, true},
			{"many that wait for a database", func(p *tempo) {
				for range 2 * quickCalls {
					p.goodLocked(slowCall / 3)
				}
			}, false},
			{"many that wait no more", func(p *tempo) { p.usual = int64(slowCall); good(p, 2*quickCalls) }, true},
			{"many, one in ten of which waits", func(p *tempo) {
				for range quickCalls / 10 {
					good(p, 9)
					p.goodLocked(slowCall)
				}
			}, false},
			{"too few in a long time", func(p *tempo) { good(p, someCalls-1); time.Sleep(time.Hour) }, false},
			{"a slow one in a long time", func(p *tempo) {
				good(p, someCalls)
				time.Sleep(quickTime)
				p.badLocked()
				good(p, someCalls)
			}, false},
		} {
			p := new(tempo)
			c.calls(p)
			if p.quick() != c.quick {
				t.Errorf("%s: quick %v, want %v", c.name, p.quick(), c.quick)
			}
		}
	})
}

// A call is judged by how long it took, whether it gave up its thread, and whether anybody looked.
func TestTempoOfCalls(t *testing.T) {
	const before = 5_000 // calls of an event that is not proved
	waited := func(c *timedCall) { c.before.given = -1 }
	preempted := func(c *timedCall) { c.before = switches{taken: -1, given: threadSwitches().given} }
	nothing := func(*timedCall) {}
	for _, c := range []struct {
		name   string
		before int
		took   time.Duration
		what   func(*timedCall)
		after  int
	}{
		{"short", before, 0, nothing, before + 1},
		{"as long as may be", before, slowCall, nothing, before + 1},
		{"short, proved", quickCalls, slowCall, nothing, quickCalls},
		{"slow, waited", before, slowCall + 1, waited, 0},
		{"slow, preempted", before, slowCall + 1, preempted, before},
		{"slow, proved", quickCalls, slowCall + 1, nothing, quickCalls - someCalls},
		{"long, preempted", before, longCall, preempted, 0},
		{"long, proved", quickCalls, longCall, nothing, 0},
	} {
		synctest.Test(t, func(t *testing.T) { // where the clock stands still
			runtime.LockOSThread() // so that the switches are those of the call
			defer runtime.UnlockOSThread()
			p := &tempo{calls: c.before}
			call := p.begin()
			call.began -= int64(c.took)
			c.what(call)
			call.end()
			if p.calls != c.after {
				t.Errorf("%s: %d calls, want %d", c.name, p.calls, c.after)
			}
		})
	}
	one := switches{taken: 1, given: 1}
	for now, want := range map[switches]bool{{1, 1}: false, {2, 1}: true, {2, 2}: false, {1, 2}: false, {9, 0}: false} {
		if got := one.preempted(now); got != want {
			t.Errorf("%v after %v: %v", now, one, got)
		}
	}
}

// While a call takes long its event is not quick, sooner than the engine takes over from whoever runs it.
func TestTempoOfCallsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &tempo{calls: quickCalls}
		var calls []*timedCall
		for range 3 {
			calls = append(calls, p.begin())
			time.Sleep(slowCall / 3)
		}
		if !p.quick() {
			t.Error("not quick though no call is slow")
		}
		time.Sleep(slowCall)
		if p.quick() {
			t.Error("quick though a call is slow")
		}
		calls[0].began = monotonic() // as if it had been short
		calls[1].began = monotonic()
		calls[1].end() // amid the others
		if !p.quick() {
			t.Error("not quick though the two that remain have not taken long")
		}
		time.Sleep(longCall)
		late := p.begin()
		late.end()
		if p.quick() {
			t.Error("quick after a short call, though two take long")
		}
		calls[0].end()
		calls[2].end()
		if p.quick() || p.calls != 0 || p.first != nil || p.last != nil {
			t.Errorf("after a long call: quick %v, %d calls, the first %v, the last %v", p.quick(), p.calls, p.first, p.last)
		}
	})
}

// A slow call beside quick ones counts: whatever their order, the proof of before is gone, and its time.
func TestTempoSlowBesideQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 50 {
			p := &tempo{calls: someCalls, since: monotonic()}
			time.Sleep(time.Hour)
			slow := p.begin()
			time.Sleep(longCall)
			var calls sync.WaitGroup
			for range 4 {
				calls.Go(func() {
					for range someCalls {
						p.begin().end()
					}
				})
			}
			calls.Go(slow.end)
			calls.Wait()
			if p.quick() {
				t.Fatal("quick though a slow call has just ended")
			}
		}
	})
}

func TestPlainName(t *testing.T) {
	for args, want := range map[string]string{
		`["a b",1]`: "a b", `["é"]`: "é", `[""]`: "", `["a\"b"]`: "-", `["a\u0062"]`: "-", `[7]`: "-", `[]`: "-", `["a`: "-", ``: "-",
	} {
		name, ok := plainName([]byte(args))
		if got := string(name); ok != (want != "-") || ok && got != want {
			t.Errorf("%s: %q, %v", args, got, ok)
		}
	}
}
