package main

import (
	"runtime"
	"sync"

	"github.com/sockeye-io/sockeye/server/engine"
)

// spareP guards changes of GOMAXPROCS, which several servers of a process may make.
var spareP sync.Mutex

// addProcessor gives the goroutine that waits without the scheduler a P of its own (engine.ReadHot), until done is called.
// GOMAXPROCS does not follow changes of the container's limit meanwhile.
func (c *serveCommand) addProcessor() (done func()) {
	if c.ReadMode != engine.ReadHot {
		return func() {}
	}
	change := func(by int) {
		spareP.Lock()
		defer spareP.Unlock()
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + by)
	}
	change(1)
	return func() { change(-1) }
}
