package timerwheel

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tick = 10 * time.Millisecond

type probe struct {
	Entry
	fired []time.Time
	then  func()
}

func (p *probe) Expired(*Entry) {
	p.fired = append(p.fired, time.Now())
	if p.then != nil {
		p.then()
	}
}

func TestEntrySize(t *testing.T) {
	if size := unsafe.Sizeof(Entry{}); size > 48 {
		t.Errorf("an entry takes %d bytes", size)
	}
}

func TestFiresOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(tick, nil)
		start := time.Now()
		time.Sleep(3 * time.Millisecond)
		for _, d := range []time.Duration{0, 1, tick, 95 * time.Millisecond, time.Second, 41 * time.Second, 200 * time.Second} {
			p := &probe{}
			set := time.Since(start)
			w.Set(&p.Entry, p, d)
			time.Sleep(d + 2*tick)
			synctest.Wait()
			if len(p.fired) != 1 {
				t.Fatalf("%v: fired %d times", d, len(p.fired))
			}
			if late := p.fired[0].Sub(start) - set - d; late < 0 || late > tick {
				t.Errorf("%v: fired %v after its deadline", d, late)
			}
		}
	})
}

// Late is exact, however the entry's own time is rounded.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(tick, nil)
		time.Sleep(3 * time.Millisecond)
		var p, twin probe
		var fired, again time.Duration
		p.then = func() {
			fired = w.Late(&p.Entry)
			p.then = func() { again = w.Late(&p.Entry) }
			w.Set(&p.Entry, &p, time.Second-fired)
		}
		w.Set(&p.Entry, &p, time.Second)
		w.Set(&twin.Entry, &twin, time.Hour)
		if late := w.Late(&p.Entry); late != -time.Second {
			t.Errorf("%v after its setting", late)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		// Set 3 ms after a tick, the entry is due 3 ms after one too.
		if want := 7 * time.Millisecond; fired != want || again != want {
			t.Errorf("%v and %v late, want %v", fired, again, want)
		}
		if late := w.Late(&p.Entry); late != 58*time.Second {
			t.Errorf("%v late after it has fired", late)
		}
		w.Cancel(&twin.Entry)
	})
}

func TestCancelAndMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(tick, nil)
		var gone, moved probe
		w.Set(&gone.Entry, &gone, time.Second)
		w.Set(&moved.Entry, &moved, 10*time.Second)
		w.Set(&moved.Entry, &moved, time.Second)
		w.Set(&moved.Entry, &moved, 3*time.Second)
		if !w.Cancel(&gone.Entry) || w.Cancel(&gone.Entry) {
			t.Error("Cancel does not tell whether the entry was set")
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if len(gone.fired) != 0 || len(moved.fired) != 1 {
			t.Errorf("cancelled entry fired %d times, moved one %d times", len(gone.fired), len(moved.fired))
		}
		if n := w.Len(); n != 0 {
			t.Errorf("%d entries left", n)
		}
	})
}

func TestPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(tick, nil)
		var p probe
		var states [5]bool
		states[0] = w.Pending(&p.Entry)
		p.then = func() {
			p.then = nil
			states[2] = w.Pending(&p.Entry)
			w.Set(&p.Entry, &p, time.Second)
			states[3] = w.Pending(&p.Entry)
		}
		w.Set(&p.Entry, &p, time.Second)
		states[1] = w.Pending(&p.Entry)
		time.Sleep(time.Minute)
		synctest.Wait()
		states[4] = w.Pending(&p.Entry)
		if want := [...]bool{false, true, false, true, false}; states != want {
			t.Errorf("got %v, want %v", states, want)
		}
	})
}

// A delay that is not meant to pass does not fire.
func TestEndlessDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(tick, nil)
		var p probe
		w.Set(&p.Entry, &p, math.MaxInt64)
		time.Sleep(time.Hour)
		synctest.Wait()
		if len(p.fired) != 0 || !w.Cancel(&p.Entry) {
			t.Errorf("fired %d times", len(p.fired))
		}
	})
}

// An entry that is due in the same tick as one that cancels or moves it must follow the newer will.
func TestExpiredTouchesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(tick, nil)
		entries := make([]*probe, 3)
		for i := range entries {
			p := &probe{}
			entries[i] = p
			p.then = func() {
				for _, other := range entries {
					if other != p {
						w.Set(&other.Entry, other, time.Second)
					}
					other.then = nil
				}
			}
			w.Set(&p.Entry, p, time.Second)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		for i, p := range entries {
			if len(p.fired) != 1 {
				t.Errorf("entry %d fired %d times", i, len(p.fired))
			}
		}
	})
}

func TestPeriodic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(tick, nil)
		p := &probe{}
		p.then = func() {
			if len(p.fired) < 100 {
				w.Set(&p.Entry, p, 100*time.Millisecond)
			}
		}
		start := time.Now()
		w.Set(&p.Entry, p, 100*time.Millisecond)
		time.Sleep(time.Minute)
		synctest.Wait()
		if took := p.fired[99].Sub(start); took != 10*time.Second {
			t.Errorf("100 periods of 100 ms took %v", took)
		}
	})
}

type counting struct {
	Entry
	mu    sync.Mutex
	fires int
}

func (c *counting) Expired(*Entry) {
	c.mu.Lock()
	c.fires++
	c.mu.Unlock()
}

func TestConcurrent(t *testing.T) {
	w := New(time.Millisecond, nil)
	entries := make([]counting, 64)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 5000 {
				e := &entries[r.IntN(len(entries))]
				if r.IntN(3) == 0 {
					w.Cancel(&e.Entry)
				} else {
					w.Set(&e.Entry, e, time.Duration(r.IntN(5000))*time.Microsecond)
				}
			}
		})
	}
	wg.Wait()
	for i := range entries {
		w.Cancel(&entries[i].Entry)
	}
	if n := w.Len(); n != 0 {
		t.Errorf("%d entries left", n)
	}
}

func BenchmarkSetCancel(b *testing.B) {
	w := New(tick, nil)
	var keep, p probe
	w.Set(&keep.Entry, &keep, time.Hour)
	b.ReportAllocs()
	for b.Loop() {
		w.Set(&p.Entry, &p, 25*time.Second)
	}
	w.Cancel(&p.Entry)
	w.Cancel(&keep.Entry)
}
