package main

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server/engine"
)

// The goroutine that waits without the scheduler gets a P of its own, for as long as there is one.
func TestReadModeProcessors(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range []struct {
		processors int
		mode       engine.ReadMode
		more       int
	}{
		{4, engine.ReadHot, 1},
		{1, engine.ReadHot, 1},
		{4, engine.ReadAuto, 0},
		{4, engine.ReadPoller, 0},
		{4, engine.ReadGoroutine, 0},
	} {
		runtime.GOMAXPROCS(c.processors)
		command := &serveCommand{ReadMode: c.mode}
		done := command.addProcessor()
		if got := runtime.GOMAXPROCS(0); got != c.processors+c.more {
			t.Errorf("%q on %d processors has GOMAXPROCS %d", c.mode, c.processors, got)
		}
		done()
		if got := runtime.GOMAXPROCS(0); got != c.processors {
			t.Errorf("%q leaves GOMAXPROCS %d of %d", c.mode, got, c.processors)
		}
	}
}

// The Ps follow a limit of the container that changes, where GOMAXPROCS does by itself, and the one that was added stays.
func TestReadModeProcessorsLimit(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	own := spare.byDefault
	defer func() { spare.byDefault = own }()
	for _, c := range []struct {
		name          string
		limit, set    int // what the runtime would choose at first, and what GOMAXPROCS is
		then          int // what it would choose later
		with, without int
	}{
		{"a limit that rises", 3, 3, 5, 6, 5},
		{"a limit that falls", 5, 5, 2, 3, 2},
		{"set by the program", 3, 4, 5, 5, 4},
		{"set by the environment", 0, 4, 0, 5, 4},
	} {
		synctest.Test(t, func(t *testing.T) {
			var limit atomic.Int32
			limit.Store(int32(c.limit))
			spare.byDefault = func() int {
				n := int(limit.Load())
				if n > 0 {
					runtime.GOMAXPROCS(n)
				}
				return n
			}
			runtime.GOMAXPROCS(c.set)
			done := (&serveCommand{ReadMode: engine.ReadHot}).addProcessor()
			if got := runtime.GOMAXPROCS(0); got != c.set+1 {
				t.Errorf("%s: GOMAXPROCS %d at first", c.name, got)
			}
			synctest.Wait()
			limit.Store(int32(c.then))
			time.Sleep(limitTime)
			synctest.Wait()
			if got := runtime.GOMAXPROCS(0); got != c.with {
				t.Errorf("%s: GOMAXPROCS %d, want %d", c.name, got, c.with)
			}
			done()
			if got := runtime.GOMAXPROCS(0); got != c.without {
				t.Errorf("%s: GOMAXPROCS %d afterwards, want %d", c.name, got, c.without)
			}
		})
	}
}
