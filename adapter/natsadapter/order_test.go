package natsadapter

import (
	"fmt"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/freshrooms"
	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestOrder: what one node sends in one namespace takes one way, whether it is for all, for a room or for one node: the bus is not
// Parted. That holds on one server, and on three with a node on each.
func TestOrder(t *testing.T) {
	t.Run("one server", func(t *testing.T) {
		server := natstest.Single(t)
		testOrder(t, server.URL, server.URL, server.URL)
	})
	t.Run("three servers", func(t *testing.T) {
		testOrder(t, natstest.URLs(natstest.Routed(t, 3))...)
	})
}

func testOrder(t *testing.T, urls ...string) {
	members := make([]*member, len(urls))
	for i, url := range urls {
		members[i] = join(t, of(t, url), "/chat")
		members[i].connect(t, fmt.Sprint("s", i), "red", "blue", fmt.Sprint("room", i))
	}
	for i, m := range members {
		m.knows(t, append(append([]*member{}, members[:i]...), members[i+1:]...)...)
	}
	if _, parted := members[0].adapter.(adapter.Parted); parted {
		t.Fatal("the numbers of package adapter keep the order")
	}
	const rounds = 3000
	from, others := members[0], members[1:]
	for i := range rounds {
		sel, flags := adapter.Selection{}, adapter.Flags{}
		switch i % 5 {
		case 1:
			sel.Rooms = []string{"red"}
		case 2:
			sel.Rooms = []string{"blue"}
		case 3:
			sel.Rooms = []string{"red", "blue"}
		case 4:
			for _, to := range others { // to each by itself
				flags.Node, flags.Only = to.cluster.Self().ID, true
				if err := from.adapter.Broadcast(chat(t, "/chat", "n", i), sel, flags); err != nil {
					t.Fatal(err)
				}
			}
			continue
		}
		if err := from.adapter.Broadcast(chat(t, "/chat", "n", i), sel, flags); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range others {
		redistest.Eventually(t, "all have arrived", func() bool { return len(to.got()) >= rounds })
		for i, got := range to.got() {
			if want := textOf(chat(t, "/chat", "n", i)); got != want {
				t.Fatalf("message %d is %s", i, got)
			}
		}
	}
	if s := from.builder.Stats(); s.Overrun > 0 || s.FeedDropped > 0 {
		t.Errorf("%+v", s)
	}
}

// TestJoinReachesOtherServers: when a join has returned, what is published on another server arrives.
func TestJoinReachesOtherServers(t *testing.T) {
	servers := natstest.Routed(t, 3)
	var members []*member
	for _, s := range servers {
		members = append(members, join(t, of(t, s.URL), "/chat"))
	}
	for i, m := range members {
		m.connect(t, fmt.Sprint("s", i))
		m.knows(t, members[(i+1)%3], members[(i+2)%3])
	}
	const rounds = 300
	to := members[0]
	for i := range rounds {
		room := fmt.Sprint("fresh", i)
		to.connect(t, fmt.Sprint("t", i), room)
		for _, from := range members[1:] {
			send(t, from, "welcome", room)
		}
	}
	to.hears(t, 2*rounds)
}

// TestRoomToBe has sockets of other nodes join a room to which something is sent at once, before anybody can have subscribed to it.
func TestRoomToBe(t *testing.T) {
	servers := natstest.Routed(t, 3)
	var members []*member
	for _, s := range servers {
		members = append(members, join(t, of(t, s.URL), "/chat"))
	}
	for i, m := range members {
		m.connect(t, fmt.Sprint("s", i))
		m.knows(t, members[(i+1)%3], members[(i+2)%3])
	}
	const rounds = 200
	from, others := members[0], members[1:]
	for i := range rounds {
		room := fmt.Sprint("fresh", i)
		flags := adapter.Flags{}
		if i%2 == 1 { // by a message to one node alone
			flags.Node = others[i/2%2].cluster.Self().ID
		}
		if err := from.adapter.SocketsJoin(adapter.Selection{}, flags, []string{room}); err != nil {
			t.Fatal(err)
		}
		send(t, from, "welcome", room)
	}
	send(t, from, "end")
	welcome, end := textOf(chat(t, "/chat", "welcome")), textOf(chat(t, "/chat", "end"))
	for i, to := range others {
		redistest.Eventually(t, "the end arrives", func() bool { return to.count(end) == 1 })
		// What is for a room of another node arrives too, and is not delivered there.
		if got := to.count(welcome); got < rounds*3/4 {
			t.Errorf("node %d has heard %d of %d", i+1, got, rounds)
		}
		for j := range rounds {
			if !to.HasRoom(fmt.Sprint("fresh", j)) && j%2 == 0 {
				t.Fatalf("nobody is in room %d", j)
			}
		}
	}
}

// TestEmitterRoomToBe has an emitter make sockets join a room and send something to it at once.
func TestEmitterRoomToBe(t *testing.T) {
	server := natstest.Single(t)
	a, b := pairOn(t, server.URL, server.URL)
	e := NewEmitter(server.Client(), &EmitterOptions{Prefix: prefixOf(t)}).Of("/chat")
	const rounds = 50
	for i := range rounds {
		room := fmt.Sprint("fresh", i)
		if err := e.SocketsJoin(t.Context(), room); err != nil {
			t.Fatal(err)
		}
		if err := e.To(room).Emit(t.Context(), "to "+room); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Emit(t.Context(), "end"); err != nil {
		t.Fatal(err)
	}
	for _, to := range []*member{a, b} {
		redistest.Eventually(t, "the end arrives", func() bool { return to.count(textOf(chat(t, "/chat", "end"))) == 1 })
		for i := range rounds {
			if n := to.count(textOf(chat(t, "/chat", fmt.Sprint("to fresh", i)))); n != 1 {
				t.Errorf("what was sent to room %d has arrived %d times", i, n)
			}
		}
	}
}

// TestFreshWhileAway: a room that others are made to join while NATS is away is fresh for as long as that message may wait.
func TestFreshWhileAway(t *testing.T) {
	server := natstest.Single(t)
	m := join(t, of(t, server.URL), "/chat")
	b := busOf(t, m).(*bus)
	server.Kill()
	m.awaits(t, Down)
	if err := b.Publish(&adapter.Message{Kind: adapter.KindJoin, Rooms: []string{"late"}}); err != nil {
		t.Fatal(err)
	}
	if got, want := b.freshFor(), b.hub.opts.QueueAge+freshrooms.For; got != want {
		t.Errorf("fresh for %v, want %v", got, want)
	}
	if to := b.subjectOf(&adapter.Message{Kind: adapter.KindBroadcast, Selection: adapter.Selection{Rooms: []string{"late"}}}); to != b.subjects.all {
		t.Errorf("goes to %s", to)
	}
}
