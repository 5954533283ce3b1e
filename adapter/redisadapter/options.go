package redisadapter

import (
	"log/slog"
	"time"
)

const (
	defaultQueueLimit = 16 << 20
	defaultFeedLimit  = 64 << 20
)

// Options are what the three adapters have in common. The zero value works.
type Options struct {
	// Logger gets one record for each change of state and for each kind of trouble. Default: slog.Default().
	Logger *slog.Logger

	// OnStateChange is told each change of the connection's state; reason is nil unless the state is Down. Calls come
	// one at a time and in order on a goroutine of their own, so that a call that blocks delays later calls only. At most
	// 64 changes wait for it, beyond that the oldest are skipped.
	OnStateChange func(state State, reason error)

	// QueueLimit bounds the commands that wait to be sent to Redis, in bytes. What exceeds it is dropped and counted.
	// Default: 16 MiB.
	QueueLimit int

	// FeedLimit bounds the received messages of one namespace that wait to be decoded, in bytes. What exceeds it is
	// dropped and counted. Default: 64 MiB.
	FeedLimit int

	// NodeOverAfter is how long another node must be silent until its life counts as over, see package membership: what it
	// owned in shared storage is given up then. Default: 5 min.
	NodeOverAfter time.Duration
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.QueueLimit <= 0 {
		o.QueueLimit = defaultQueueLimit
	}
	if o.FeedLimit <= 0 {
		o.FeedLimit = defaultFeedLimit
	}
	return o
}

// setDefault replaces the zero value.
func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
