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
	local := &askingLocal{h: h}
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
		h.deliver(local, p, Selection{}, Flags{})
	}
	storm.Wait()
	quiet := h.Position()
	h.deliver(local, p, Selection{}, Flags{})
	if missed, err := h.Missed(t.Context(), quiet, nil, HistoryLimits{Packets: 1, Bytes: 1 << 20}); err != nil || len(missed.Events) != 1 {
		t.Errorf("a quiet client gets %v, %v", missed.Events, err)
	}
	if _, err := h.Missed(t.Context(), h.offset(0), nil, HistoryLimits{Packets: events, Bytes: 1 << 30}); err != ErrHistoryGap {
		t.Errorf("what was forgotten is no gap: %v", err)
	}
}

// askingLocal asks for the position while something is delivered.
type askingLocal struct {
	Local
	h        *memoryHistory
	position string
}

func (l *askingLocal) Deliver(*parser.Packet, Selection, Flags) { l.position = l.h.Position() }

// TestMemoryPosition: a socket that connects while a broadcast is delivered, and may be selected, goes on from before it.
func TestMemoryPosition(t *testing.T) {
	h := newMemoryHistory(time.Minute)
	local := &askingLocal{h: h}
	packet := &parser.Packet{Type: parser.Event, ID: parser.NoID, Payload: parser.Payload{JSON: []byte(`["n"]`)}}
	for i := range 2 {
		h.deliver(local, packet, Selection{}, Flags{})
		missed, err := h.Missed(t.Context(), local.position, nil, HistoryLimits{Packets: 10, Bytes: 1 << 20})
		if err != nil || len(missed.Events) != 1 {
			t.Errorf("broadcast %d: %d missed, %v, want it", i, len(missed.Events), err)
		}
		if missed, err := h.Missed(t.Context(), h.Position(), nil, HistoryLimits{Packets: 10, Bytes: 1 << 20}); err != nil || len(missed.Events) != 0 {
			t.Errorf("behind broadcast %d: %d missed, %v", i, len(missed.Events), err)
		}
	}
}
