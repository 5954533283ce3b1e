package memoryusers

import (
	"context"
	"fmt"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
)

func TestStore(t *testing.T) {
	adaptertest.RunUserStore(t, func(*testing.T) (a, b adapter.UserStore) {
		s := New()
		return s, s
	})
}

// TestHeld asks for the users of a life in parts.
func TestHeld(t *testing.T) {
	s := New()
	var changes []adapter.UserChange
	for i := range 100 {
		changes = append(changes, adapter.UserChange{Op: adapter.UserHold, User: fmt.Sprintf("u%03d", i), Life: "a-1"})
	}
	if _, err := s.Apply(context.Background(), "/", changes); err != nil {
		t.Fatal(err)
	}
	for size, want := range map[int]int{0: 0, 1: 1, 5: 1, 6: 2, 500: 100, 499: 100, 495: 99} {
		if got := s.Held("/", "a-1", size); len(got) != want {
			t.Errorf("%d users of %d in %d bytes", len(got), want, size)
		}
	}
	if got := s.Held("/", "b-1", 500); len(got) > 0 {
		t.Errorf("another life has %q", got)
	}
}
