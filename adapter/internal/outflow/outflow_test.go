package outflow

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
)

// TestQueue compares a queue with a slice through its whole life: growing, tidying up, putting back, taking out.
func TestQueue(t *testing.T) {
	var q Queue[int]
	var want []int
	check := func(what string) {
		t.Helper()
		if q.Len() != len(want) || !slices.Equal(q.All(), want) {
			t.Fatalf("%s: %d items wait of %d", what, q.Len(), len(want))
		}
	}
	for i := range 3 * keptSpace {
		q.Push(i)
		want = append(want, i)
		if i%3 != 0 {
			if got := q.Pop(); got != want[0] {
				t.Fatalf("took %d instead of %d", got, want[0])
			}
			want = want[1:]
		}
	}
	check("pushed and popped")
	q.PutBack([]int{-2, -1})
	want = append([]int{-2, -1}, want...)
	check("put back")
	if got := q.TakeLast(3); !slices.Equal(got, want[len(want)-3:]) {
		t.Errorf("took %v as the last", got)
	}
	want = want[:len(want)-3]
	check("without the last")
	odd := func(i int) bool { return i%2 != 0 }
	gone := q.TakeIf([]int{7}, odd)
	if slices.ContainsFunc(gone, func(i int) bool { return !odd(i) }) || gone[0] != 7 || len(gone) < 2 {
		t.Errorf("took %d items out", len(gone))
	}
	want = slices.DeleteFunc(want, odd)
	check("without odd ones")
	if first := q.First(); first != want[0] {
		t.Errorf("%d is the first", first)
	}
	if all := q.TakeAll(); !slices.Equal(all, want) || q.Len() != 0 {
		t.Errorf("took all %d of %d", len(all), len(want))
	}
	if got := q.TakeLast(1); len(got) != 0 {
		t.Errorf("took %v from an empty queue", got)
	}
}

// TestQueueNeverEmpty: a queue in which something always waits gives up the space of what was taken.
func TestQueueNeverEmpty(t *testing.T) {
	var q Queue[int]
	q.Push(0)
	for i := range 100_000 {
		q.Push(i + 1)
		if got := q.Pop(); got != i {
			t.Fatalf("took %d instead of %d", got, i)
		}
	}
	if q.Len() != 1 || cap(q.items) > 5*tidyAfter {
		t.Errorf("%d wait, there is space for %d", q.Len(), cap(q.items))
	}
}

// TestLosses reads what the log says of a burst: a line at once, one in ten seconds, and the sums when nothing waits.
func TestLosses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		waiting := 3
		l := NewLosses("carrier", slog.New(slog.NewTextHandler(&text, nil)), func() (int, int) { return waiting, 100 * waiting })
		lines := func() (list []string) {
			for line := range strings.Lines(text.String()) {
				list = append(list, line)
			}
			text.Reset()
			return list
		}
		l.Add(Full, 0)
		l.Settle()
		if got := lines(); len(got) != 0 {
			t.Errorf("without a loss: %q", got)
		}
		l.Add(Full, 2)
		l.Add(Stale, 5)
		l.Settle() // something waits
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], "the broker does not take them as fast as they come, or not at all\" broker=carrier ") ||
			!strings.Contains(got[0], "refusedAsFull=2 tooOld=0 waiting=3 waitingBytes=300") {
			t.Errorf("a burst begins: %q", got)
		}
		time.Sleep(inflow.TellEvery)
		l.Add(Failed, 1, "topic", "x")
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], "refusedAsFull=2 tooOld=5 failed=1") || !strings.Contains(got[0], "topic=x") {
			t.Errorf("ten seconds later: %q", got)
		}
		waiting = 0
		l.Settle()
		l.Settle()
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], "level=INFO") || !strings.Contains(got[0], "refusedAsFull=2 tooOld=5 failed=1") {
			t.Errorf("it is over: %q", got)
		}
		l.Add(Stale, 1)
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], "refusedAsFull=0 tooOld=1") {
			t.Errorf("the next burst: %q", got)
		}
	})
}

// TestCounters counts from several goroutines, and lists what has not happened yet.
func TestCounters(t *testing.T) {
	var c Counters
	if f := c.Failed("timeout"); len(f) != 1 || f["timeout"] != 0 {
		t.Errorf("nothing has failed: %v", f)
	}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			c.Drop(Full, 2)
			c.Drop(Stale, 0)
			c.Fail("timeout", 1)
			c.Fail("connection", 0)
		})
	}
	all.Wait()
	if d := c.Dropped(Down); len(d) != 2 || d[Full] != 16 {
		t.Errorf("dropped %v", d)
	}
	if f := c.Failed("timeout"); len(f) != 1 || f["timeout"] != 8 {
		t.Errorf("failed %v", f)
	}
	if held, ok := c.WorthTelling("timeout"); held != 0 || !ok {
		t.Errorf("the first of a kind: %d, %v", held, ok)
	}
	if _, ok := c.WorthTelling("timeout"); ok {
		t.Error("the second of a kind is logged at once")
	}
	if _, ok := c.WorthTelling("other"); !ok {
		t.Error("the first of another kind is not logged")
	}
}
