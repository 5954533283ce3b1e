package server

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

const (
	// minReap and maxReap bound how often a node looks for clients that have not come back.
	minReap = 50 * time.Millisecond
	maxReap = 5 * time.Second
)

// reaper tells RecoveryOptions.Expired of clients that have not come back, where sessions outlive their nodes: every node looks, and each
// session is one node's. It has a goroutine.
type reaper struct {
	stop context.CancelFunc
	done chan struct{} // closed when the goroutine has ended
}

func newReaper(r *recovery, store adapter.SessionReaper) *reaper {
	ctx, cancel := context.WithCancel(context.Background())
	p := &reaper{stop: cancel, done: make(chan struct{})}
	go p.run(ctx, r, store)
	return p
}

func (p *reaper) run(ctx context.Context, r *recovery, store adapter.SessionReaper) {
	defer close(p.done)
	every := min(max(r.opts.MaxDisconnectionDuration/10, minReap), maxReap)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(every/2 + rand.N(every))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		for r.reap(ctx, store) {
		}
	}
}

// reap tells of some sessions and reports whether there are more.
func (r *recovery) reap(ctx context.Context, store adapter.SessionReaper) (more bool) {
	limited, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	sessions, more, err := store.Reap(limited)
	for _, s := range sessions {
		r.expired(s)
	}
	if err != nil && ctx.Err() == nil {
		r.complain(err)
	}
	return more && err == nil && ctx.Err() == nil
}

func (p *reaper) close() {
	p.stop()
	<-p.done
}
