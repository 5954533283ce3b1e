package redisadapter

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server"
)

// TestBreaks: however often a break is wanted there is one a second, none is forgotten, and one that Redis does not take is tried again.
func TestBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaks()
		ctx, cancel := context.WithCancel(t.Context())
		var put, failures atomic.Int32
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			b.work(ctx, func() error {
				if failures.Add(-1) >= 0 {
					return errors.New("no")
				}
				put.Add(1)
				return nil
			})
		}()
		is := func(when string, want int32, wanted bool) {
			t.Helper()
			synctest.Wait()
			if put.Load() != want || b.wanted() != wanted {
				t.Errorf("%s: %d breaks, want %d; one is wanted: %v", when, put.Load(), want, b.wanted())
			}
		}
		is("at first", 0, false)
		for range 10_000 {
			b.want()
		}
		synctest.Wait()
		b.want()
		is("in a storm", 1, true)
		time.Sleep(breakEvery)
		is("a second later", 2, false)
		time.Sleep(time.Hour)
		is("long after", 2, false)
		failures.Store(3)
		b.want()
		is("refused", 2, true)
		time.Sleep(3 * breakAgain)
		is("taken at last", 3, false)
		cancel()
		<-ended
	})
}

// TestBreakStorm: what a Node.js node broadcasts to a namespace with a log costs a break a second, not a command for each message.
func TestBreakStorm(t *testing.T) {
	for _, name := range []string{"pubsub", "dynamic"} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Single(t)
			recoveryNodesOf(t, func() redis.UniversalClient { return s.Client() }, recoveryFlavours()[name], 1, server.RecoveryOptions{})
			rdb := clientOf(t, s)
			stranger := NewPubSubEmitter(rdb, nil)
			if name == "dynamic" {
				stranger = NewShardedEmitter(rdb, nil)
			}
			before, began := s.Calls("evalsha"), time.Now()
			for i := range 1000 {
				if err := stranger.Emit(t.Context(), "n", i); err != nil {
					t.Fatal(err)
				}
			}
			redistest.Eventually(t, "a break is in the log", func() bool { return s.Calls("evalsha") > before })
			if n, most := s.Calls("evalsha")-before, 5+int(time.Since(began)/breakEvery); n > most {
				t.Errorf("%d scripts were called, want at most %d", n, most)
			}
		})
	}
}
