package adapter

import (
	"context"
	"time"
)

// Revocation says that the tokens of a user that were issued before a time are void.
type Revocation struct {
	User   string
	Before time.Time // to the millisecond
}

// RevocationStore keeps revocations for the whole cluster, in the order in which they came, so that each node can keep up with
// them and a node that starts learns of all. All methods may be called concurrently. Errors wrap ErrClusterUnavailable if the
// storage cannot be reached.
type RevocationStore interface {
	// Revoke keeps a revocation for the given time at least. When it returns nil the revocation survives whatever happens to the
	// nodes.
	Revoke(ctx context.Context, r Revocation, keep time.Duration) error

	// Revocations returns some of the revocations that came after a cursor, the oldest first, and the cursor behind them; "" stands
	// before the first. An empty list says that there are no more; its cursor is the one that was given.
	Revocations(ctx context.Context, cursor string) (list []Revocation, next string, err error)
}
