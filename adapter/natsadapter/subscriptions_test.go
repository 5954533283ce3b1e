package natsadapter

import (
	"fmt"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestChangesOnce: a subject that is wanted, not wanted and wanted again before anybody looks is subscribed to once.
func TestChangesOnce(t *testing.T) {
	s := newSubscriptions(func() {})
	s.want("x", false, nil)
	s.unwant("x")
	s.want("x", false, nil)
	if list := s.changes(); len(list) != 1 || !list[0].subscribe {
		t.Errorf("%+v", list)
	}
	if list := s.changes(); len(list) > 0 {
		t.Errorf("again: %+v", list)
	}
}

// TestRoomComesAgain has rooms come, go and come back at once: what is sent to them arrives once.
func TestRoomComesAgain(t *testing.T) {
	server := natstest.Single(t)
	from, to := pairOn(t, server.URL, server.URL)
	const rounds = 100
	for i := range rounds {
		room, id := fmt.Sprint("quick", i), fmt.Sprint("q", i)
		to.Connect(id, room)
		to.Node.SocketsLeave(adapter.Selection{Rooms: []string{room}}, []string{room})
		to.Node.SocketsJoin(adapter.Selection{Rooms: []string{id}}, []string{room})
		if err := to.adapter.(adapter.JoinWaiter).WaitJoined(within(t), []string{room}); err != nil {
			t.Fatal(err)
		}
		send(t, from, "to "+room, room)
	}
	send(t, from, "end")
	redistest.Eventually(t, "the end arrives", func() bool { return to.count(textOf(chat(t, "/chat", "end"))) == 1 })
	for i := range rounds {
		if n := to.count(textOf(chat(t, "/chat", fmt.Sprint("to quick", i)))); n != 1 {
			t.Errorf("what was sent to room %d has arrived %d times", i, n)
		}
	}
}
