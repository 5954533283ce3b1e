// Package defaults has what the options of the adapters of all brokers are when they say nothing.
package defaults

import (
	"cmp"
	"time"
)

// Of the options that all adapters have.
const (
	QueueLimit    = 64 << 20
	QueueAge      = 30 * time.Second
	AnswerTimeout = 3 * time.Second
	FeedLimit     = 64 << 20
)

// Positive returns v, or the default if v is not positive. Where only zero stands for the default that is cmp.Or.
func Positive[T cmp.Ordered](v, def T) T {
	var zero T
	if v <= zero {
		return def
	}
	return v
}
