package auth_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server/auth"
)

func TestMemoryRevocations(t *testing.T) {
	adaptertest.RunRevocationStore(t, func(*testing.T) (a, b adapter.RevocationStore) {
		store := auth.NewMemoryRevocations()
		return store, store
	})
}

// TestMemoryRevocationsForget holds that what is over goes, and that readers who have seen it go on where they were.
func TestMemoryRevocationsForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := auth.NewMemoryRevocations()
		cursor := ""
		for i := range 10 {
			if err := store.Revoke(t.Context(), adapter.Revocation{User: fmt.Sprint(i), Before: time.Now()}, time.Minute); err != nil {
				t.Fatal(err)
			}
			list, next, err := store.Revocations(t.Context(), cursor)
			if err != nil || len(list) != 1 || list[0].User != fmt.Sprint(i) {
				t.Fatalf("number %d: %v, %v", i, list, err)
			}
			cursor = next
			time.Sleep(25 * time.Second)
		}
		if list, _, err := store.Revocations(t.Context(), ""); err != nil || len(list) != 3 {
			t.Errorf("%v, %v", list, err)
		}
	})
}
