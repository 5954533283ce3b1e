package redisadapter

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestSilentReplica puts questions to a Redis Cluster one of whose replicas does not answer: the first one waits a moment
// for it, the others do not.
func TestSilentReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		master, silent, other := new(redis.Client), new(redis.Client), new(redis.Client)
		s := &servers{
			cluster: new(redis.ClusterClient), loaded: true,
			nodes:    map[*redis.Client]*node{master: {rdb: master}},
			replicas: []*replica{{rdb: silent}, {rdb: other}},
		}
		answer := make(chan struct{})
		var answered atomic.Int32
		question := func(_ context.Context, rdb *redis.Client) error {
			if rdb == silent {
				<-answer
			}
			answered.Add(1)
			return nil
		}
		ask := func(patience time.Duration, want int32) {
			t.Helper()
			answered.Store(0)
			began := time.Now()
			if err := s.each(t.Context(), plain, "", question); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != patience || answered.Load() != want {
				t.Errorf("%d servers answered within %v, want %d within %v", answered.Load(), took, want, patience)
			}
		}
		ask(replicaGrace, 2)
		time.Sleep(time.Nanosecond) // the grace is over
		ask(0, 2)
		close(answer)
		synctest.Wait()
		ask(0, 3)
	})
}
