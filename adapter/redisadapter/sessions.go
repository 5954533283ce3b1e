package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

// Sessions returns the store of this adapter's sessions. Nodes of npm find in it what this node has saved, and the
// other way around.
func (s *Streams) Sessions() adapter.SessionStore {
	return sessionStore{s.builder.rdb, s.opts.SessionKeyPrefix, ""}
}

// sessionStore keeps each session under a key of its own, and beside it the node that holds it, of which Node.js nodes know nothing.
//
// A session whose end is to be told stays for toldFor longer than its time, unless a node reaps it before. Its holder is marked, and both
// keys expire together; if not, a Node.js node has written the session since. A sorted set of the namespace has the times, by
// the clock of the Redis that has it.
type sessionStore struct {
	rdb       redis.UniversalClient
	prefix    string
	namespace string // whose sessions are told together
}

const (
	toldFor   = 10 * time.Minute
	reapBatch = 100
)

var _ adapter.SessionReaper = sessionStore{}

// isTold is the part of the scripts that knows marked sessions. told says that a session is one, left for how long it is there. Time goes on
// within a script before Redis 7.2, so two keys that are set together expire some milliseconds apart.
const isTold = `
local mark, left, told = ' told', redis.call('PTTL', KEYS[1]), false
local holder = redis.call('GET', KEYS[2])
if holder and string.sub(holder, -#mark) == mark then
  holder = string.sub(holder, 1, -#mark - 1)
  told = math.abs(redis.call('PTTL', KEYS[2]) - left) < 1000
end
`

// writeScript writes a session unless another node holds it. A holder without a session is one whose session a Node.js node has taken.
var writeScript = redis.NewScript(isTold + `
local how = ARGV[1]
if holder and (holder ~= ARGV[2] or left == -2) then
  return 0
end
if how == 'remove' then
  redis.call('DEL', KEYS[1], KEYS[2])
else
  redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[3])
  redis.call('SET', KEYS[2], how == 'tell' and ARGV[2] .. mark or ARGV[2], 'PX', ARGV[3])
end
return 1
`)

// takeScript gives a session to a holder and answers with it.
var takeScript = redis.NewScript(isTold + `
if left == -2 or told and left <= tonumber(ARGV[2]) then
  return false
end
if told then -- its end is not told before the holder can have written it
  left = math.max(left, ARGV[2] + 10000)
  redis.call('PEXPIRE', KEYS[1], left)
end
redis.call('SET', KEYS[2], told and ARGV[1] .. mark or ARGV[1], 'PX', math.max(left, 1))
return redis.call('GET', KEYS[1])
`)

// keys are those of a session and its holder, in one slot of a Redis Cluster.
func (s sessionStore) keys(pid string) []string {
	key := s.prefix + pid
	if strings.Contains(key, "{") { // the prefix has a hash tag
		return []string{key, key + ":holder"}
	}
	return []string{key, "{" + key + "}:holder"}
}

// Write implements adapter.SessionKeeper.
func (s sessionStore) Write(ctx context.Context, writes []adapter.SessionWrite) ([]bool, error) {
	if err := writeScript.Load(ctx, s.rdb).Err(); err != nil {
		return nil, fmt.Errorf("write sessions: %w", unavailable(err))
	}
	pipe := s.rdb.Pipeline()
	answers := make([]*redis.Cmd, len(writes))
	var told times
	for i, w := range writes {
		record, err := envelope.EncodeSession(w.Session)
		how, ttl := "keep", w.TTL
		switch {
		case w.Remove || err != nil: // what has no form on the wire cannot be gone on with
			how = "remove"
		case w.Told:
			how, ttl = "tell", w.TTL+toldFor
			told = append(told, w.TTL.Milliseconds(), w.Session.PID)
		}
		answers[i] = pipe.EvalSha(ctx, writeScript.Hash(), s.keys(w.Session.PID), how, string(w.Holder), ttl.Milliseconds(), record)
	}
	if len(told) > 0 {
		pipe.Eval(ctx, noteTimes, []string{s.timesKey()}, told...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("write sessions: %w", unavailable(err))
	}
	held := make([]bool, len(writes))
	for i, a := range answers {
		n, _ := a.Int()
		held[i] = n == 1
	}
	return held, nil
}

// Take implements adapter.SessionKeeper.
func (s sessionStore) Take(ctx context.Context, pid string, holder adapter.NodeID) (*adapter.Session, error) {
	record, err := takeScript.Run(ctx, s.rdb, s.keys(pid), string(holder), toldFor.Milliseconds()).Text()
	return decodeSession(record, err)
}

func (s sessionStore) Save(ctx context.Context, session *adapter.Session, ttl time.Duration) error {
	record, err := envelope.EncodeSession(session)
	if err == nil {
		err = s.rdb.Do(ctx, "set", s.prefix+session.PID, record, "px", ttl.Milliseconds()).Err()
	}
	if err != nil {
		return fmt.Errorf("save session: %w", err)
	}
	return nil
}

func (s sessionStore) Load(ctx context.Context, pid string) (*adapter.Session, error) {
	record, err := s.rdb.Get(ctx, s.prefix+pid).Result()
	return decodeSession(record, err)
}

// decodeSession returns what Redis has answered.
func decodeSession(record string, err error) (*adapter.Session, error) {
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("load session: %w", unavailable(err))
	}
	session, err := envelope.DecodeSession(record)
	if err != nil {
		return nil, fmt.Errorf("load session: %w", err)
	}
	return session, nil
}

func (s sessionStore) Delete(ctx context.Context, pid string) (bool, error) {
	n, err := s.rdb.Del(ctx, s.prefix+pid).Result()
	if err != nil {
		return false, fmt.Errorf("delete session: %w", err)
	}
	return n > 0, nil
}

// unavailable says that Redis could not be asked.
func unavailable(err error) error { return fmt.Errorf("%w: %w", adapter.ErrClusterUnavailable, err) }
