package server

import (
	"testing"
	"testing/synctest"
	"time"
)

// Callbacks are quick after many quick calls, or some over a long time, until a slow one.
func TestTempo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		good := func(p *tempo, times int) {
			for range times {
				p.good()
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
			{"a slow one", func(p *tempo) { good(p, 2*quickCalls); p.bad() }, false},
			{"many after a slow one", func(p *tempo) { p.bad(); good(p, quickCalls) }, true},
			{"a doubt", func(p *tempo) { good(p, quickCalls); p.doubt() }, false},
			{"some after a doubt", func(p *tempo) { good(p, quickCalls); p.doubt(); good(p, someCalls) }, true},
			{"some in a long time", func(p *tempo) { good(p, someCalls); time.Sleep(quickTime) }, true},
			{"a long time after a doubt", func(p *tempo) { time.Sleep(time.Hour); p.doubt(); time.Sleep(quickTime) }, true},
			{"a short time after a doubt", func(p *tempo) { time.Sleep(time.Hour); p.doubt(); time.Sleep(quickTime - 1) }, false},
			{"too few in a long time", func(p *tempo) { good(p, someCalls-1); time.Sleep(time.Hour) }, false},
			{"a slow one in a long time", func(p *tempo) {
				good(p, someCalls)
				time.Sleep(quickTime)
				p.bad()
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

// A long call is slow if it gave up its thread, and doubtful where nobody looked; one that has only lost its processor is not slow.
func TestTempoOfCalls(t *testing.T) {
	p := new(tempo)
	long := func(c timedCall) {
		c.began -= int64(2 * slowCall)
		c.end()
	}
	p.good()
	call := p.begin()
	call.before.given-- // as if the thread had waited
	long(call)
	if p.calls.Load() != 0 {
		t.Error("a call that waited is not slow")
	}
	p.calls.Store(quickCalls)
	long(p.begin())
	if p.quick() || p.calls.Load() == 0 {
		t.Errorf("a long call where there were only quick ones: %d", p.calls.Load())
	}
	before := switches{taken: 1, given: 1}
	for now, want := range map[switches]bool{{1, 1}: false, {2, 1}: true, {2, 2}: false, {1, 2}: false, {9, 0}: false} {
		if got := before.preempted(now); got != want {
			t.Errorf("%v after %v: %v", now, before, got)
		}
	}
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
