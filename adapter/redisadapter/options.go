package redisadapter

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/sockeye-io/sockeye/adapter/internal/defaults"
)

// Options are what the three adapters have in common. The zero value works.
type Options struct {
	// Logger gets one record for each change of state and for each kind of trouble. Default: slog.Default().
	Logger *slog.Logger

	// OnStateChange is told each change of the connection's state; reason is nil unless the state is Down. Calls come
	// one at a time and in order on a goroutine of their own, so that a call that blocks delays later calls only. At most
	// 64 changes wait for it, beyond that the oldest are skipped.
	OnStateChange func(state State, reason error)

	// QueueLimit bounds what one server has for the other nodes and Redis has not taken yet, in bytes: while Redis is away, and
	// in a burst. What exceeds it is refused with adapter.ErrQueueFull and counted. Default: 64 MiB.
	QueueLimit int

	// QueueAge is how long a message waits for Redis at most. One that is older is dropped and counted. Volatile messages, questions
	// and answers to them are not kept: while Redis is away they are refused, and they never wait for longer than two seconds.
	// Default: 30 s.
	QueueAge time.Duration

	// AnswerTimeout is how long Redis may owe an answer, with nothing else coming from it, before the connection counts as dead and
	// the state as Down. A Redis that is slower than that cannot be used. Default: 3 s.
	AnswerTimeout time.Duration

	// FeedLimit bounds the received messages of one namespace that wait to be decoded, in bytes. What exceeds it is
	// dropped and counted. Default: 64 MiB.
	FeedLimit int

	// NodeOverAfter is how long another node must be silent until its life counts as over, see package membership: what it
	// owned in shared storage is given up then. Default: 5 min.
	NodeOverAfter time.Duration
}

func (o Options) withDefaults() Options {
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.QueueLimit = defaults.Positive(o.QueueLimit, defaults.QueueLimit)
	o.QueueAge = defaults.Positive(o.QueueAge, defaults.QueueAge)
	o.AnswerTimeout = defaults.Positive(o.AnswerTimeout, defaults.AnswerTimeout)
	o.FeedLimit = defaults.Positive(o.FeedLimit, defaults.FeedLimit)
	return o
}
