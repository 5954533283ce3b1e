package users

import (
	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/memoryusers"
)

// NewMemoryStore returns a store for servers of one process, which all get the same one. It never fails, but for calls whose context
// has ended.
func NewMemoryStore() adapter.UserStore { return memoryusers.New() }
