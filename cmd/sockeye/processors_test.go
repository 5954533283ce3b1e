package main

import (
	"runtime"
	"testing"

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
