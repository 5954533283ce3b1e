package users_test

import (
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server/users"
)

func TestMemoryStore(t *testing.T) {
	adaptertest.RunUserStore(t, func(*testing.T) (a, b adapter.UserStore) {
		store := users.NewMemoryStore()
		return store, store
	})
}
