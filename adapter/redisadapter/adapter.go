package redisadapter

import (
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// newAdapter opens the hub for a bus and makes the adapter of it. A question without a deadline waits for timeout, 0 being
// the default.
func (h *hub) newAdapter(local adapter.Local, bus adapter.Bus, timeout time.Duration) (adapter.Adapter, error) {
	if err := h.open(); err != nil {
		return nil, err
	}
	a, err := adapter.NewClustered(local, bus, &adapter.ClusteredOptions{Timeout: timeout, Logger: h.opts.Logger})
	if err != nil {
		h.close()
		return nil, err
	}
	return a, nil
}

// setDefault replaces the zero value.
func setDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
