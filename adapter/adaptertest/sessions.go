package adaptertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

func sessionOf(pid, room string) *adapter.Session {
	return &adapter.Session{
		SocketID: "sid-" + pid, PID: pid, Rooms: []string{"sid-" + pid, room}, Data: parser.Payload{JSON: []byte(`{"a":["ü",1]}`)},
		Owner: "owner", Offset: "1-2",
	}
}

// described is a session in short.
func described(s *adapter.Session) string {
	if s == nil {
		return ""
	}
	return fmt.Sprint(s.SocketID, " ", s.PID, " ", s.Rooms, " ", string(s.Data.JSON), " ", s.Owner, " ", s.Offset)
}

// testSessions: what one node has saved another one loads, until its time is over or it was deleted.
func testSessions(t *testing.T, h *historians) {
	a, b := h.stores[0], h.stores[len(h.stores)-1]
	save := func(s *adapter.Session, ttl time.Duration) {
		t.Helper()
		if err := a.Save(within(t), s, ttl); err != nil {
			t.Fatal(err)
		}
	}
	load := func(pid, want string) {
		t.Helper()
		s, err := b.Load(within(t), pid)
		if err != nil || described(s) != want {
			t.Errorf("loaded %q, %v, want %q", described(s), err, want)
		}
	}
	load("p", "")
	save(sessionOf("p", "one"), time.Minute)
	save(sessionOf("p", "two"), time.Minute)
	save(sessionOf("q", "q"), time.Minute)
	load("p", described(sessionOf("p", "two")))
	load("p", described(sessionOf("p", "two")))
	for _, want := range []bool{true, false} {
		if was, err := b.Delete(within(t), "p"); err != nil || was != want {
			t.Errorf("deleted: %v, %v", was, err)
		}
	}
	load("p", "")
	load("q", described(sessionOf("q", "q")))
	save(sessionOf("short", "x"), 50*time.Millisecond)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for ctx := patient(t); ; {
		s, err := b.Load(within(t), "short")
		if err != nil {
			t.Fatal(err)
		}
		if s == nil {
			break
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatal("a session is there when its time is over")
		}
	}
}

// keepers are the stores if they outlive the nodes.
func (h *historians) keepers() (list []adapter.SessionKeeper) {
	for _, s := range h.stores {
		if k, ok := s.(adapter.SessionKeeper); ok {
			list = append(list, k)
		}
	}
	return list
}

// writes has a node write a session and checks whether it holds it.
func writes(t *testing.T, s adapter.SessionKeeper, want bool, w adapter.SessionWrite) {
	t.Helper()
	w.TTL = time.Minute
	var held []bool
	again(t, func() (err error) {
		held, err = s.Write(within(t), []adapter.SessionWrite{w})
		return err
	})
	if len(held) != 1 || held[0] != want {
		t.Errorf("write of %s by %s: %v, want %v", w.Session.PID, w.Holder, held, want)
	}
}

func takes(t *testing.T, s adapter.SessionKeeper, pid string, by adapter.NodeID, want string) {
	t.Helper()
	var got *adapter.Session
	again(t, func() (err error) {
		got, err = s.Take(within(t), pid, by)
		return err
	})
	room := ""
	if got != nil {
		room = got.Rooms[1]
	}
	if room != want {
		t.Errorf("%s takes %s: room %q, want %q", by, pid, room, want)
	}
}

// testHolders: a session is the node's that took it last, and what another one writes of it later changes nothing.
func testHolders(t *testing.T, h *historians) {
	list := h.keepers()
	if len(list) == 0 {
		return // it ends with its node
	}
	a, b := list[0], list[len(list)-1]
	takes(t, a, "p", "a", "")
	writes(t, a, true, adapter.SessionWrite{Session: sessionOf("p", "r1"), Holder: "a"})
	writes(t, a, true, adapter.SessionWrite{Session: sessionOf("p", "r2"), Holder: "a"})
	takes(t, b, "p", "b", "r2")
	writes(t, a, false, adapter.SessionWrite{Session: sessionOf("p", "stale"), Holder: "a"})
	writes(t, a, false, adapter.SessionWrite{Session: sessionOf("p", "stale"), Holder: "a", Remove: true})
	takes(t, b, "p", "b", "r2")
	writes(t, b, true, adapter.SessionWrite{Session: sessionOf("p", "r3"), Holder: "b"})
	takes(t, a, "p", "a", "r3")
	writes(t, a, true, adapter.SessionWrite{Session: sessionOf("p", "r4"), Holder: "a", Remove: true})
	takes(t, b, "p", "b", "")
	many := make([]adapter.SessionWrite, 500)
	for i := range many {
		many[i] = adapter.SessionWrite{Session: sessionOf(fmt.Sprint("m", i), "r"), Holder: "a", TTL: time.Minute}
	}
	many[7].Session = sessionOf("m6", "r7") // of one twice: in their order
	var held []bool
	again(t, func() (err error) {
		held, err = a.Write(within(t), many)
		return err
	})
	if len(held) != len(many) || !held[0] || !held[499] {
		t.Errorf("of many: %v", held)
	}
	takes(t, b, "m6", "b", "r7")
	takes(t, b, "m499", "b", "r")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Take(ended, "m8", "b"); err == nil {
		t.Error("a context that has ended")
	}
}

// testTakers: of several nodes that take one session at the same time one holds it afterwards.
func testTakers(t *testing.T, h *historians) {
	list := h.keepers()
	if len(list) == 0 {
		return
	}
	const takers = 8
	for round := range 5 {
		pid := fmt.Sprint("race", round)
		writes(t, list[0], true, adapter.SessionWrite{Session: sessionOf(pid, "r"), Holder: "first"})
		var taking sync.WaitGroup
		for i := range takers {
			taking.Go(func() {
				if _, err := list[i%len(list)].Take(within(t), pid, adapter.NodeID(fmt.Sprint("n", i))); err != nil {
					t.Error(err)
				}
			})
		}
		taking.Wait()
		var mu sync.Mutex
		holders := 0
		for i := range takers {
			taking.Go(func() {
				w := adapter.SessionWrite{Session: sessionOf(pid, "r"), Holder: adapter.NodeID(fmt.Sprint("n", i)), TTL: time.Minute}
				held, err := list[i%len(list)].Write(within(t), []adapter.SessionWrite{w})
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				} else if held[0] {
					holders++
				}
			})
		}
		taking.Wait()
		if holders != 1 {
			t.Errorf("round %d: %d nodes hold the session", round, holders)
		}
		writes(t, list[0], false, adapter.SessionWrite{Session: sessionOf(pid, "late"), Holder: "first"})
	}
}

// testReapers: a session whose time is over is told of once, by any node, unless it was written or taken since.
func testReapers(t *testing.T, h *historians) {
	var list []adapter.SessionReaper
	for _, s := range h.stores {
		if r, ok := s.(adapter.SessionReaper); ok {
			list = append(list, r)
		}
	}
	if len(list) == 0 {
		return
	}
	const short, over = 100 * time.Millisecond, 150
	var batch []adapter.SessionWrite
	put := func(pid string, ttl time.Duration, told, remove bool) {
		batch = append(batch, adapter.SessionWrite{Session: sessionOf(pid, "r"), Holder: "dead", TTL: ttl, Told: told, Remove: remove})
	}
	put("taken", 5*time.Second, true, false)
	put("renewed", short, true, false)
	put("renewed", time.Minute, true, false)
	put("left", short, true, false)
	put("left", short, true, true)
	put("untold", short, false, false)
	for i := range over {
		put(fmt.Sprint("over", i), short, true, false)
	}
	again(t, func() error {
		_, err := list[0].Write(within(t), batch)
		return err
	})
	takes(t, list[0], "taken", "b", "r")
	told := reapAll(t, list, over)
	for i := range over {
		if pid := fmt.Sprint("over", i); told[pid] != described(sessionOf(pid, "r")) {
			t.Errorf("told of %s: %q", pid, told[pid])
		}
	}
	for _, pid := range []string{"taken", "renewed"} {
		takes(t, list[len(list)-1], pid, "c", "r")
	}
	takes(t, list[len(list)-1], "over0", "c", "")
}

// reapAll has all nodes look for sessions that are over at the same time until they have told of some. It fails the test if one is told of
// twice, and looks once more then.
func reapAll(t *testing.T, list []adapter.SessionReaper, enough int) (told map[string]string) {
	t.Helper()
	told = make(map[string]string)
	var mu sync.Mutex
	reap := func(r adapter.SessionReaper) {
		sessions, _, err := r.Reap(within(t))
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Error(err)
		}
		for _, s := range sessions {
			if told[s.PID] != "" {
				t.Errorf("%s is told of twice", s.PID)
			}
			told[s.PID] = described(s)
		}
	}
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	ctx := patient(t)
	for last := false; !last; {
		last = len(told) >= enough
		var looking sync.WaitGroup
		for _, r := range list {
			looking.Go(func() { reap(r) })
		}
		looking.Wait()
		if ctx.Err() != nil {
			t.Fatalf("told of %d sessions, want %d", len(told), enough)
		}
		<-pause.C
	}
	if len(told) != enough {
		t.Errorf("told of %d sessions, want %d", len(told), enough)
	}
	return told
}
