package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
)

// TestApply: batches end before a user comes again and at their bound, and the first that fails is the last.
func TestApply(t *testing.T) {
	var changes []adapter.UserChange
	for i := range MaxBatch + 1 {
		changes = append(changes, adapter.UserChange{User: fmt.Sprint(i)})
	}
	changes = append(changes, changes[MaxBatch], changes[0])
	var sizes []int
	outcomes, err := Apply(changes, func(batch []adapter.UserChange) ([]adapter.UserOutcome, error) {
		sizes = append(sizes, len(batch))
		return make([]adapter.UserOutcome, len(batch)), nil
	})
	if err != nil || len(outcomes) != len(changes) || !slices.Equal(sizes, []int{MaxBatch, 1, 2}) {
		t.Errorf("batches of %v, %d outcomes, %v", sizes, len(outcomes), err)
	}
	failed := errors.New("failed")
	outcomes, err = Apply(changes, func(batch []adapter.UserChange) ([]adapter.UserOutcome, error) {
		if len(batch) == 1 {
			return nil, failed
		}
		return make([]adapter.UserOutcome, len(batch)), nil
	})
	if err != failed || len(outcomes) != MaxBatch {
		t.Errorf("%d outcomes before %v", len(outcomes), err)
	}
}

// TestFailure: only a broker that cannot be used makes the cluster unavailable.
func TestFailure(t *testing.T) {
	wrong := Misuse("wrong")
	if err := Failure("change users", nil, true); err != nil {
		t.Errorf("nothing has failed: %v", err)
	}
	if err := Failure("change users", wrong, false); !errors.Is(err, wrong) || errors.Is(err, adapter.ErrClusterUnavailable) || err.Error() != "change users: wrong" {
		t.Errorf("a misuse: %v", err)
	}
	if err := Failure("change users", wrong, true); !errors.Is(err, wrong) || !errors.Is(err, adapter.ErrClusterUnavailable) {
		t.Errorf("an outage: %v", err)
	}
}
