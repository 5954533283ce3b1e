package main

import (
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/server/engine"
)

// limitTime is how often a limit of the container is looked at, while the runtime does not do so itself. Each look stops the program for
// a moment, twice.
const limitTime = time.Minute

// spare are the Ps of all servers of this process that wait without the scheduler.
var spare = processors{byDefault: defaultProcessors}

// processors adds Ps to those that the program uses.
type processors struct {
	byDefault func() int // returns what GOMAXPROCS is if nobody sets it, 0 if somebody has

	mu sync.Mutex
	// Guarded by mu.
	added   int
	follows bool // the program uses as many as byDefault says
}

// addProcessor gives the goroutine that waits without the scheduler a P of its own (engine.ReadHot), until done is called.
func (c *serveCommand) addProcessor() (done func()) {
	if c.ReadMode != engine.ReadHot {
		return func() {}
	}
	spare.change(1)
	over := make(chan struct{})
	var following sync.WaitGroup
	following.Go(func() { spare.follow(over) })
	return func() {
		close(over)
		following.Wait()
		spare.change(-1)
	}
}

// change adds to the Ps, or takes away. The runtime follows a container's limit until somebody sets GOMAXPROCS, and again after the last
// P that was added has gone.
func (p *processors) change(by int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	used := runtime.GOMAXPROCS(0) - p.added
	if p.added == 0 {
		p.follows = p.byDefault() == used
	}
	if p.added += by; p.added > 0 || !p.follows {
		runtime.GOMAXPROCS(used + p.added)
		return
	}
	p.byDefault()
}

// follow does what the runtime does not any more, until over is closed.
func (p *processors) follow(over <-chan struct{}) {
	tick := time.NewTicker(limitTime)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-tick.C:
			p.adjust()
		}
	}
}

// adjust follows a limit that has changed.
func (p *processors) adjust() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.follows {
		runtime.GOMAXPROCS(p.byDefault() + p.added)
	}
}

// defaultProcessors sets GOMAXPROCS to what the runtime chooses by the machine and the container's limit, unless the environment says
// what it is.
func defaultProcessors() int {
	if os.Getenv("GOMAXPROCS") != "" {
		return 0
	}
	runtime.SetDefaultGOMAXPROCS()
	return runtime.GOMAXPROCS(0)
}
