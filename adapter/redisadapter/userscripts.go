package redisadapter

import (
	"context"
	"errors"
	"slices"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter/internal/store"
)

// changeScript makes one change, see adapter.UserOp for the numbers. It answers with the value after and before. Each change can be
// made twice.
var changeScript = redis.NewScript(`
local user, op, me = ARGV[1], ARGV[2], ARGV[3]
local old = redis.call('HGET', KEYS[1], user) or ''
local held, cares, rest = false, old == '~' .. me, {}
for token in string.gmatch(old, '[^,]+') do
  if token == me or token == '+' .. me then
    held = true
  elseif not cares then
    rest[#rest + 1] = token
  end
end
local new = old
if op == '1' then
  if old == '' then
    new = '+' .. me
  elseif string.sub(old, 1, 1) == '~' then
    new = me
  elseif not held then
    new = old .. ',' .. me
  end
elseif held or cares then
  new = table.concat(rest, ',')
  if op == '2' and new == '' then
    new = '~' .. me
  end
end
if new == old then
  return {new, old}
end
if new == '' then
  redis.call('HDEL', KEYS[1], user)
else
  redis.call('HSET', KEYS[1], user, new)
end
return {new, old}
`)

// findScript answers with the users of a bucket that a life holds or has in its care. A key of another type has none.
var findScript = redis.NewScript(`
local me, found = ARGV[1], {}
local all = redis.pcall('HGETALL', KEYS[1])
if all.err then
  return string.find(all.err, 'WRONGTYPE', 1, true) and found or all
end
for i = 2, #all, 2 do
  if string.find(all[i], me, 1, true) then
    for token in string.gmatch(all[i], '[^,]+') do
      if token == me or token == '+' .. me or token == '~' .. me then
        found[#found + 1] = all[i - 1]
        break
      end
    end
  end
end
return found
`)

// claimScript sets a claim for a time unless somebody else has it.
var claimScript = redis.NewScript(`
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`)

// scriptCall is one call of a script, which uses one key.
type scriptCall struct {
	key  string
	args []any
}

// run calls a script several times at once. With an error come the answers to the calls before the first that failed. Where Redis
// does not know the script, that call and all after it are made again with its text, so that they keep their order. turn is as for
// pipelineIn.
func (s *UserStore) run(ctx context.Context, turn chan struct{}, script *redis.Script, calls []scriptCall) ([]any, error) {
	answers, err := s.call(ctx, turn, script.EvalSha, calls)
	if !redis.HasErrorPrefix(err, "NOSCRIPT") {
		return answers, err
	}
	more, err := s.call(ctx, turn, script.Eval, calls[len(answers):])
	return append(answers, more...), err
}

func (s *UserStore) call(ctx context.Context, turn chan struct{}, eval func(context.Context, redis.Scripter, []string, ...any) *redis.Cmd, calls []scriptCall) ([]any, error) {
	var answers []any
	err := s.pipelineIn(ctx, turn, func(p redis.Pipeliner) func() error {
		cmds := make([]*redis.Cmd, len(calls))
		for i, c := range calls {
			cmds[i] = eval(ctx, p, []string{c.key}, c.args...)
		}
		return func() error {
			for _, cmd := range cmds {
				if cmd.Err() != nil {
					return cmd.Err()
				}
				answers = append(answers, cmd.Val())
			}
			return nil
		}
	})
	return answers, err
}

// pipeline sends what queue queues, and returns what check, which it returns, says of the answers. It ends with the context: a
// client of go-redis does so only where it is told to, and waits for its own timeouts else. What is under way then is given up;
// it ends with those timeouts.
func (s *UserStore) pipeline(ctx context.Context, queue func(redis.Pipeliner) (check func() error)) error {
	return s.pipelineIn(ctx, nil, queue)
}

// pipelineIn is pipeline for one of those that wait for each other, also for what was given up: turn has a token meanwhile. nil:
// nobody waits.
func (s *UserStore) pipelineIn(ctx context.Context, turn chan struct{}, queue func(redis.Pipeliner) (check func() error)) error {
	return pipelined(ctx, s.rdb, turn, queue)
}

func pipelined(ctx context.Context, rdb redis.UniversalClient, turn chan struct{}, queue func(redis.Pipeliner) (check func() error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if turn != nil {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	pipe := rdb.Pipeline()
	check := queue(pipe)
	done := make(chan struct{})
	go func() {
		defer close(done)
		execute(ctx, pipe)
		if turn != nil {
			<-turn
		}
	}()
	select {
	case <-done:
		return check()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// execute sends what is queued and sees to it that the commands have the error that it meets: go-redis keeps that from them when
// Redis lets nobody in.
func execute(ctx context.Context, pipe redis.Pipeliner) {
	cmds, err := pipe.Exec(ctx)
	if err == nil || slices.ContainsFunc(cmds, func(cmd redis.Cmder) bool { return cmd.Err() != nil }) {
		return
	}
	for _, cmd := range cmds {
		cmd.SetErr(err)
	}
}

// firstError returns the first error of answers.
func firstError[C redis.Cmder](cmds []C) error {
	for _, cmd := range cmds {
		if err := notNil(cmd.Err()); err != nil {
			return err
		}
	}
	return nil
}

// notNil returns an error unless it says that there is no such value.
func notNil(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

// unusable reports whether an error says that Redis cannot be used for now, rather than that one key or one call is wrong.
func unusable(err error) bool {
	var wrong store.Misuse
	return err != nil && !errors.As(err, &wrong) && !errors.Is(err, context.Canceled) && trouble(err) != "other"
}

// userFailure says what has failed.
func userFailure(action string, err error) error { return store.Failure(action, err, unusable(err)) }
