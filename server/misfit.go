package server

import (
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/sockeye-io/sockeye/internal/seldom"
)

// Events that have warnings of their own are bounded, in number and in the length of the name; the others share one. Without
// a middleware that objects to events nobody handles they are the application's own.
const (
	maxMisfits    = 256
	maxMisfitName = 256
)

// misfits counts the events whose arguments did not fit their handlers. Clients decide how often that happens, so that each event
// is logged seldom.
type misfits struct {
	count atomic.Uint64

	mu sync.Mutex
	// Guarded by mu.
	events map[string]*misfit
	others misfit
}

// misfit is the warning about one event.
type misfit struct {
	gate    seldom.Gate
	omitted atomic.Uint64 // since the last one
}

func (m *misfits) of(event string) *misfit {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.events[event]
	switch {
	case known != nil:
		return known
	case len(m.events) == maxMisfits || len(event) > maxMisfitName:
		return &m.others
	case m.events == nil:
		m.events = make(map[string]*misfit)
	}
	known = new(misfit)
	m.events[event] = known
	return known
}

// warnMisfit says which event does not fit, and how.
func (s *Socket) warnMisfit(event string, err error) {
	srv := s.nsp.server
	m := srv.misfits.of(event)
	if !m.gate.Pass(warnInterval) {
		m.omitted.Add(1)
		return
	}
	details := []any{"namespace", s.nsp.name, "socket", s.id, "event", event[:min(len(event), maxMisfitName)]}
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		details = append(details, "got", mismatch.Value, "want", mismatch.Type.String())
	}
	srv.opts.Logger.Warn("arguments of an event do not fit its handler", append(details, "omitted", m.omitted.Swap(0), "error", err)...)
}
