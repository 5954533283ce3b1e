package adapter

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// TestMemorySessionsLimit: the oldest session is over early when there are too many, once, and who has it saved again is the youngest.
func TestMemorySessionsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var over []string
		m := newMemorySessions(3, func(s *Session) {
			mu.Lock()
			defer mu.Unlock()
			over = append(over, s.PID)
		})
		for _, pid := range []string{"a", "b", "c", "a", "d", "e"} {
			if err := m.Save(t.Context(), &Session{PID: pid}, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		if got := fmt.Sprint(over); got != "[b c]" {
			t.Errorf("over are %s", got)
		}
		if deleted, err := m.Delete(t.Context(), "a"); !deleted || err != nil {
			t.Error("the session that was saved again is not there:", err)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(over) != 4 || len(m.sessions) != 0 || m.saved.Len() != 0 {
			t.Errorf("over are %v, left %d", over, len(m.sessions))
		}
	})
}

// TestMemoryHistoryStorm has many clients ask for what they have missed while more is kept and forgotten: each gets all of it, in order,
// or none. A client behind which nothing was forgotten gets what there is, however long it was quiet.
func TestMemoryHistoryStorm(t *testing.T) {
	const events = 3000
	h := newMemoryHistory(time.Nanosecond) // everything but the newest is forgotten at once
	p := &parser.Packet{Type: parser.Event, ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["n"]`)}}
	var storm sync.WaitGroup
	for range 8 {
		storm.Go(func() {
			for range events {
				from := h.Position()
				missed, err := h.Missed(t.Context(), from, nil, HistoryLimits{Packets: events, Bytes: 1 << 30})
				if err != nil {
					continue // forgotten meanwhile
				}
				last, _ := h.number(from)
				for i, e := range missed.Events {
					if want := fmt.Sprintf(`["n","%s"]`, h.offset(last+1+uint64(i))); string(e.JSON) != want {
						t.Errorf("event %d is %s, not %s", i, e.JSON, want)
					}
				}
			}
		})
	}
	for range events {
		h.keep(p, Selection{})
	}
	storm.Wait()
	quiet := h.Position()
	h.keep(p, Selection{})
	if missed, err := h.Missed(t.Context(), quiet, nil, HistoryLimits{Packets: 1, Bytes: 1 << 20}); err != nil || len(missed.Events) != 1 {
		t.Errorf("a quiet client gets %v, %v", missed.Events, err)
	}
	if _, err := h.Missed(t.Context(), h.offset(0), nil, HistoryLimits{Packets: events, Bytes: 1 << 30}); err != ErrHistoryGap {
		t.Errorf("what was forgotten is no gap: %v", err)
	}
}
