package redisadapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

// Sessions whose end is to be told are in a sorted set. A node that finds one there whose time is over removes the session, which only
// one can, and then the entry. An entry may be older than its session, never younger: the session decides.

// times are milliseconds from now and secrets of sessions, by turns.
type times []any

// noteTimes notes when the time of some sessions is over. The set goes when nobody notes anything any more.
const noteTimes = `
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
local longest = 0
for i = 1, #ARGV, 2 do
  redis.call('ZADD', KEYS[1], now + ARGV[i], ARGV[i + 1])
  longest = math.max(longest, ARGV[i])
end
local left = redis.call('PTTL', KEYS[1])
if left < longest + 600000 then
  redis.call('PEXPIRE', KEYS[1], longest + 1200000)
end
return 1
`

// overScript names sessions whose time is over.
var overScript = redis.NewScript(`
local now = redis.call('TIME')
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now[1] * 1000 + math.floor(now[2] / 1000), 'LIMIT', 0, ARGV[1])
`)

// dropTimes forgets sessions whose time is over; others have been written again since.
const dropTimes = `
local now = redis.call('TIME')
now = now[1] * 1000 + math.floor(now[2] / 1000)
for i = 1, #ARGV do
  local over = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if over and tonumber(over) <= now then
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
return 1
`

// reapScript removes a session whose time is over and answers with it, or with the milliseconds that are left.
var reapScript = redis.NewScript(isTold + `
if not told then
  return false
end
left = left - tonumber(ARGV[1])
if left > 0 then
  return left
end
local session = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1], KEYS[2])
return session
`)

func (s sessionStore) timesKey() string { return s.prefix + "times:" + s.namespace }

// Reap implements adapter.SessionReaper.
func (s sessionStore) Reap(ctx context.Context) (sessions []*adapter.Session, more bool, err error) {
	pids, err := overScript.Run(ctx, s.rdb, []string{s.timesKey()}, reapBatch).StringSlice()
	if err != nil || len(pids) == 0 {
		return nil, false, reapError(err)
	}
	if err := reapScript.Load(ctx, s.rdb).Err(); err != nil {
		return nil, false, reapError(err)
	}
	pipe := s.rdb.Pipeline()
	answers := make([]*redis.Cmd, len(pids))
	for i, pid := range pids {
		answers[i] = pipe.EvalSha(ctx, reapScript.Hash(), s.keys(pid), toldFor.Milliseconds())
	}
	_, _ = pipe.Exec(ctx) // each answer has its own error
	var over []any
	var later times
	for i, a := range answers {
		v, failed := a.Result()
		switch answer := v.(type) {
		case string:
			over = append(over, pids[i])
			if session, bad := envelope.DecodeSession(answer); bad == nil {
				sessions = append(sessions, session)
			}
		case int64:
			later = append(later, answer, pids[i])
		default:
			if errors.Is(failed, redis.Nil) {
				over = append(over, pids[i])
			} else {
				err = cmp.Or(err, failed)
			}
		}
	}
	return sessions, len(pids) == reapBatch, reapError(cmp.Or(err, s.settle(ctx, over, later)))
}

// settle forgets the times of sessions that are over and notes those of others.
func (s sessionStore) settle(ctx context.Context, over []any, later times) error {
	pipe := s.rdb.Pipeline()
	if len(over) > 0 {
		pipe.Eval(ctx, dropTimes, []string{s.timesKey()}, over...)
	}
	if len(later) > 0 {
		pipe.Eval(ctx, noteTimes, []string{s.timesKey()}, later...)
	}
	_, err := pipe.Exec(ctx)
	return err
}

func reapError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("look for sessions that are over: %w", unavailable(err))
}
