package adapter_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// brokenLog counts how often it was told that it is not complete.
type brokenLog struct {
	adapter.LogBreaker
	breaks int
}

func (l *brokenLog) Break()     { l.breaks++ }
func (l *brokenLog) Exclusive() {}

// TestStrangers: while a node that writes nothing into the log answers, nobody goes on. One that has died, of which the broker has not
// noticed that yet, is in nobody's way for longer than a moment, and is reckoned with again when it says something.
func TestStrangers(t *testing.T) {
	bubble(t, func(t *testing.T, n *network) {
		log := new(brokenLog)
		none := adapter.LookForStrangers(n.adapters["a"].(lone).Clustered, log)
		look := func(when string, want error, within time.Duration, breaks int) {
			t.Helper()
			log.breaks = 0
			began := time.Now()
			if err := none(t.Context()); !errors.Is(err, want) || time.Since(began) > within {
				t.Errorf("%s: %v after %v", when, err, time.Since(began))
			}
			if log.breaks != breaks {
				t.Errorf("%s: %d breaks", when, log.breaks)
			}
		}
		look("members alone", nil, 0, 0)
		n.conceal(t, "c")
		look("one that answers", adapter.ErrHistoryForeign, 1100*time.Millisecond, 1)
		look("a moment ago", adapter.ErrHistoryForeign, 0, 0)
		time.Sleep(2 * time.Second)
		n.Freeze("c")
		look("one that says nothing", nil, 3100*time.Millisecond, 1)
		look("known to say nothing", nil, 0, 0)
		n.add(t, "d")
		settle()
		look("a new member", nil, 0, 0)
		n.Thaw("c")
		time.Sleep(time.Second)
		look("it has answered late", adapter.ErrHistoryForeign, 1100*time.Millisecond, 1)
		time.Sleep(2 * time.Second)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := none(ended); err == nil || errors.Is(err, adapter.ErrHistoryForeign) {
			t.Errorf("who has gone is told %v", err)
		}
	})
}
