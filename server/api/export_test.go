package api

import "testing"

// Watches returns how many traces the node takes part in, and how many are asked of it.
func (a *API) Watches() (watches, traces int) {
	a.agent.watchMu.Lock()
	defer a.agent.watchMu.Unlock()
	return len(a.agent.watches), len(a.agent.traces)
}

// CheckEvent holds an event of a stream against the document.
func CheckEvent(t *testing.T, name string, data []byte) {
	t.Helper()
	schema := map[string]string{"watching": "WatchingEvent", "trace": "TraceEvent", "dropped": "DroppedEvent"}[name]
	if err := describe(t).check(schemaRef{"#/components/schemas/" + schema}, data); err != nil {
		t.Errorf("the document does not allow the event %s %s: %v", name, data, err)
	}
}
