package redisadapter

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
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
		err = s.pipeline(ctx, func(p redis.Pipeliner) func() error { return p.HDel(ctx, s.rollKey(namespace), life).Err })
	}
	return userFailure("sweep a life", err)
}

// find returns the users of a life in a number of buckets.
func (s *UserStore) find(ctx context.Context, namespace, token string, from int) ([]string, error) {
	calls := make([]scriptCall, min(sweepBuckets, s.buckets-from))
	for i := range calls {
		calls[i] = scriptCall{s.bucketKey(namespace, from+i), []any{token}}
	}
	began := time.Now()
	answers, err := s.run(ctx, findScript, calls)
	if err != nil {
		return nil, err
	}
	var users []string
	for _, a := range answers {
		found, _ := a.([]any)
		for _, user := range found {
			users = append(users, fmt.Sprint(user))
		}
	}
	return users, rest(ctx, pauseAfter(time.Since(began)))
}

// forget takes users from a life. Who of them is gone is known for certain only when Redis has answered, so it asks until it does:
// whoever swept the life next would not find them any more.
func (s *UserStore) forget(ctx context.Context, namespace, life string, users []string, last func(user string)) error {
	for len(users) > 0 {
		changes := make([]adapter.UserChange, min(sweepUsers, len(users)))
		for i := range changes {
			changes[i] = adapter.UserChange{Op: adapter.UserForget, User: users[i], Life: life}
		}
		began := time.Now()
		outcomes, err := s.apply(ctx, namespace, changes)
		for i, o := range outcomes {
			if o.Last {
				last(users[i])
			}
		}
		users = users[len(outcomes):]
		pause := pauseAfter(time.Since(began))
		if err != nil {
			if !unusable(err) || ctx.Err() != nil {
				return err
			}
			pause = sweepRetry
		}
		if err := rest(ctx, pause); err != nil {
			return err
		}
	}
	return nil
}

// pauseAfter says how long Redis is left to others after it has worked for some time.
func pauseAfter(worked time.Duration) time.Duration {
	return min(max(worked, minSweepPause), maxSweepPause)
}

// rest waits for a time, or until ctx ends.
func rest(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
