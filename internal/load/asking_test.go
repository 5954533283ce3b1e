package load

import (
	"io"
	"os"
	"slices"
	"testing"
	"time"
)

// TestEntries lists what clients ask for before the messages.
func TestEntries(t *testing.T) {
	for _, tc := range []struct {
		plan   plan
		client int
		want   []string
	}{
		{plan{To: ToSocket, Clients: 3}, 1, nil},
		{plan{To: ToRoom, Clients: 3}, 1, []string{`["join","room-1"]`}},
		{plan{To: ToUser, Clients: 3, Rooms: 1}, 2, []string{`["login","user-2"]`, `["join","beside-0"]`}},
		{plan{To: ToSocket, Clients: 3, Rooms: 2}, 1, []string{`["join","beside-1"]`}},
		{plan{To: ToSocket, Clients: 3, Rooms: 2}, 2, []string{`["join","beside-0"]`}},
		{plan{To: ToRoom, Clients: 3, Rooms: 7}, 0, []string{`["join","room-0"]`, `["join","beside-0"]`, `["join","beside-3"]`, `["join","beside-6"]`}},
		{plan{To: ToSocket, Clients: 3, Rooms: 7}, 2, []string{`["join","beside-2"]`, `["join","beside-5"]`}},
	} {
		var got []string
		next := tc.plan.entries(tc.client)
		for args := next(); args != ""; args = next() {
			got = append(got, args)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("%+v, client %d: %q, want %q", tc.plan, tc.client, got, tc.want)
		}
	}
}

// TestSeveralNodes spreads clients over three servers. They are no cluster, so that each has its own clients' messages only, and a
// message for a neighbour, who is at the next server, arrives nowhere.
func TestSeveralNodes(t *testing.T) {
	cfg := Config{Target: serve(t, app{}), Others: []Target{serve(t, app{}), serve(t, app{})}, Scenario: Echo, Clients: 9, Messages: 90, Timeout: time.Minute,
		Server: Process{PID: os.Getpid(), Others: []int{os.Getpid()}}}
	res, err := Run(t.Context(), cfg)
	if err != nil || res.Err() != nil {
		t.Fatal(err, res.Err())
	}
	one, err := Process{PID: os.Getpid()}.read()
	if err != nil || res.Server.ResidentLast < one.resident {
		t.Errorf("the memory of two processes is %d, that of one of them %d, %v", res.Server.ResidentLast, one.resident, err)
	}
	cfg.Scenario, cfg.Rounds, cfg.Timeout = Single, 2, stall
	if res, err = Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if m := res.Messages; m.Expected != 18 || m.Delivered != 6 {
		t.Errorf("broadcasts at one of three servers with three clients each: %+v", m)
	}
	cfg.Scenario, cfg.Messages = Targeted, 30
	if res, err = Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if m := res.Messages; m.Expected != 9 || m.Delivered != 0 {
		t.Errorf("messages to clients of other servers: %+v", m)
	}
}

// TestUnanswered looks at a server that has no event login, or acknowledges none of the later joins.
func TestUnanswered(t *testing.T) {
	w := &worker{plan: plan{Target: serve(t, app{}), Room: Room, Clients: 1, Timeout: time.Minute, Concurrency: 1, Copies: 1, To: ToRoom}, events: newLines(io.Discard)}
	w.live.pending = make(map[int64]int)
	defer w.cutAll()
	if err := w.connect(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := w.enter(t.Context()); err != nil {
		t.Errorf("a join that is acknowledged: %v", err)
	}
	w.plan.Timeout = 50 * time.Millisecond
	w.clients[0].client.Cut()
	w.clients[0].receiver.ended = false // as if the server were there, and silent
	if err := w.enter(t.Context()); err == nil {
		t.Error("a join that nobody acknowledges is no error")
	}
}
