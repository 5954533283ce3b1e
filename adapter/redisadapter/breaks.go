package redisadapter

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
)

const (
	// breakEvery is the least time between two breaks.
	breakEvery = time.Second
	// breakAgain is how long Redis is left alone when it has not taken one.
	breakAgain = 100 * time.Millisecond
)

// breaks are those that a log is to get: an entry behind which nobody goes on from before it. However often one is wanted, there is one
// a second.
type breaks struct {
	wake  chan struct{} // capacity 1; told when one is wanted and none was
	asked atomic.Uint64 // how often a break was wanted
	done  atomic.Uint64 // how many of these are in the log

	last time.Time // when the last one was put into the log; owned by who calls put
}

func newBreaks() breaks { return breaks{wake: make(chan struct{}, 1)} }

// want notes that a break is wanted. It does not block.
func (b *breaks) want() {
	if b.asked.Add(1)-1 != b.done.Load() {
		return // who puts knows
	}
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// wanted reports whether the log lacks a break.
func (b *breaks) wanted() bool { return b.asked.Load() != b.done.Load() }

// put has a break put into the log if one is wanted and it is time. next is when it has to be called again, nil if nothing is wanted.
func (b *breaks) put(into func() error) (next <-chan time.Time, err error) {
	if asked := b.asked.Load(); asked != b.done.Load() && time.Since(b.last) >= breakEvery {
		if err := into(); err != nil {
			return nil, err
		}
		b.last = time.Now()
		b.done.Store(asked)
	}
	if !b.wanted() {
		return nil, nil
	}
	return time.After(time.Until(b.last.Add(breakEvery))), nil
}

// work puts breaks into a log until ctx ends.
func (b *breaks) work(ctx context.Context, into func() error) {
	for ctx.Err() == nil {
		again, err := b.put(into)
		if err != nil {
			_ = brokerstate.Pause(ctx, breakAgain)
			continue
		}
		select {
		case <-b.wake:
		case <-again:
		case <-ctx.Done():
		}
	}
}
