package redisadapter

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
)

const (
	// sweepBuckets and sweepUsers are what is sent at once during a sweep: what Redis executes in a millisecond or two.
	sweepBuckets = 64
	sweepUsers   = 128
	// Between two, Redis gets as long for others as it has just worked, but not less or more than this.
	minSweepPause = time.Millisecond
	maxSweepPause = 20 * time.Millisecond
	// sweepRetry is how long a sweep waits for a Redis that is away before it asks again.
	sweepRetry = 500 * time.Millisecond
)

// Sweep implements adapter.UserStore. While Redis is away in the middle of it, it waits until ctx ends.
func (s *UserStore) Sweep(ctx context.Context, namespace, life string, last func(user string)) error {
	token, err := lifeToken(life)
	for bucket := 0; bucket < s.buckets && err == nil; bucket += sweepBuckets {
		var users []string
		if users, err = s.find(ctx, namespace, token, bucket); err == nil {
			err = s.forget(ctx, namespace, life, users, last)
		}
	}
	if err == nil {
		err = persist(ctx, func() error {
			return s.pipeline(ctx, func(p redis.Pipeliner) func() error { return p.HDel(ctx, s.rollKey(namespace), life).Err })
		})
	}
	return userFailure("sweep a life", err)
}

// find returns the users of a life in a number of buckets.
func (s *UserStore) find(ctx context.Context, namespace, token string, from int) (users []string, err error) {
	calls := make([]scriptCall, min(sweepBuckets, s.buckets-from))
	for i := range calls {
		calls[i] = scriptCall{s.bucketKey(namespace, from+i), []any{token}}
	}
	err = persist(ctx, func() error {
		answers, err := s.run(ctx, nil, findScript, calls)
		for _, a := range answers {
			found, _ := a.([]any)
			for _, user := range found {
				users = append(users, fmt.Sprint(user))
			}
		}
		calls = calls[len(answers):]
		return err
	})
	return users, err
}

// forget takes users from a life. Who of them is gone is known for certain only when Redis has answered, so it asks until it does:
// whoever swept the life next would not find them any more.
func (s *UserStore) forget(ctx context.Context, namespace, life string, users []string, last func(user string)) error {
	changes := make([]adapter.UserChange, len(users))
	for i, user := range users {
		changes[i] = adapter.UserChange{Op: adapter.UserForget, User: user, Life: life}
	}
	for some := range slices.Chunk(changes, sweepUsers) {
		err := persist(ctx, func() error {
			outcomes, err := s.apply(ctx, namespace, some)
			for i, o := range outcomes {
				if o.Last {
					last(some[i].User)
				}
			}
			some = some[len(outcomes):]
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// persist does something that Redis has to work for, and leaves Redis to others then. It does it again while Redis is away.
func persist(ctx context.Context, do func() error) error {
	for {
		began := time.Now()
		err := do()
		switch {
		case err == nil:
			return brokerstate.Pause(ctx, min(max(time.Since(began), minSweepPause), maxSweepPause))
		case !unusable(err) || ctx.Err() != nil:
			return err
		}
		if err := brokerstate.Pause(ctx, sweepRetry); err != nil {
			return err
		}
	}
}
