// Package store is what the stores of all brokers have in common: how the changes of users are cut into batches, and what is said of failures.
package store

import (
	"fmt"

	"github.com/sockeye-io/sockeye/adapter"
)

// MaxBatch bounds how many changes of users are under way at once.
const MaxBatch = 512

// Misuse is an error that lies with the caller, or with what others have written, and not with the broker.
type Misuse string

func (m Misuse) Error() string { return string(m) }

// Failure says what has failed; unusable says that the broker cannot be used for now. It returns nil if err is nil.
func Failure(action string, err error, unusable bool) error {
	switch {
	case err == nil:
		return nil
	case unusable:
		return fmt.Errorf("%s: %w: %w", action, adapter.ErrClusterUnavailable, err)
	}
	return fmt.Errorf("%s: %w", action, err)
}

// Apply makes changes in batches, until one fails. None has two changes of the same user, because the broker may take them in any order, or
// the later one may build on the first.
func Apply(changes []adapter.UserChange, apply func(batch []adapter.UserChange) ([]adapter.UserOutcome, error)) ([]adapter.UserOutcome, error) {
	outcomes := make([]adapter.UserOutcome, 0, len(changes))
	for len(changes) > 0 {
		n := batchOf(changes)
		done, err := apply(changes[:n])
		outcomes = append(outcomes, done...)
		if err != nil {
			return outcomes, err
		}
		changes = changes[n:]
	}
	return outcomes, nil
}

func batchOf(changes []adapter.UserChange) int {
	seen := make(map[string]struct{}, min(len(changes), MaxBatch))
	for i, c := range changes {
		if _, ok := seen[c.User]; ok || i == MaxBatch {
			return i
		}
		seen[c.User] = struct{}{}
	}
	return len(changes)
}
