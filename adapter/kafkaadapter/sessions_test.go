package kafkaadapter

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server/parser"
)

func FuzzSessionStep(f *testing.F) {
	for _, s := range []sessionStep{
		{do: sessionKeep, ttl: time.Minute, holder: "n", pid: "p", text: "s"}, {do: sessionTake, holder: "n", pid: "p"}, {do: sessionLook, pid: "ü"},
		{do: sessionTell, ttl: time.Hour, holder: "n", pid: "p", text: "s"}, {do: sessionReap, pid: "p"},
	} {
		f.Add(s.encode())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSessionStep(b)
		if err != nil {
			return
		}
		again, err := decodeSessionStep(s.encode())
		if err != nil || again != s {
			t.Errorf("%+v is written as %+v, %v", s, again, err)
		}
	})
}

func FuzzOffset(f *testing.F) {
	f.Add("0123456789ab-1-zz")
	f.Add("0123456789ab-1-zz-")
	f.Fuzz(func(t *testing.T, offset string) {
		mark, at, ok := parseOffset(offset)
		if ok && (len(mark) != markLength || at.next < 0 || at.epoch < -1) {
			t.Errorf("%q is %s %+v", offset, mark, at)
		}
	})
}

// TestSessionTable: what is over has no holder, by the clock of the broker, and who has read from the middle knows the same soon.
func TestSessionTable(t *testing.T) {
	at := time.UnixMilli(1_000_000)
	old, late := newSessionTable(), newSessionTable()
	step := func(do sessionVerb, by adapter.NodeID, after time.Duration) sessionTold {
		s := sessionStep{do: do, ttl: time.Minute, holder: by, pid: "p", text: string(by)}
		late.take("/", &s, at.Add(after))
		return old.take("/", &s, at.Add(after))
	}
	first := sessionStep{do: sessionKeep, ttl: time.Minute, holder: "a", pid: "p", text: "a"}
	old.take("/", &first, at)
	if told := step(sessionTake, "b", time.Second); told.text != "a" {
		t.Errorf("taken %+v", told)
	}
	if step(sessionKeep, "a", 2*time.Second).held {
		t.Error("who has lost a session writes it")
	}
	if !step(sessionKeep, "b", 3*time.Second).held || step(sessionRemove, "a", 4*time.Second).held {
		t.Error("the holder is not the last who took it")
	}
	for after := 30 * time.Second; after < 3*time.Minute; after += 30 * time.Second {
		step(sessionKeep, "b", after)
	}
	if got := late.entries["/"]["p"]; got != old.entries["/"]["p"] {
		t.Errorf("who has read from the middle knows %+v", got)
	}
	if told := step(sessionTake, "c", time.Hour); told.held || told.text != "" {
		t.Errorf("what is over is taken: %+v", told)
	}
	step(sessionSave, "d", time.Hour)
	old.heard = old.heard.Add(-2 * time.Minute)
	if old.expire(); len(old.entries) != 0 {
		t.Errorf("still known: %v", old.entries)
	}
}

// TestSessionEnds: the end of a session is told once, by the first who asks for it when its time is over.
func TestSessionEnds(t *testing.T) {
	at := time.UnixMilli(1_000_000)
	table := newSessionTable()
	step := func(do sessionVerb, by adapter.NodeID, after time.Duration) sessionTold {
		return table.take("/", &sessionStep{do: do, ttl: time.Minute, holder: by, pid: "p", text: "s"}, at.Add(after))
	}
	reaps := func(after time.Duration, want string) {
		t.Helper()
		if told := step(sessionReap, "", after); told.text != want || told.held != (want != "") {
			t.Errorf("after %v: %+v, want %q", after, told, want)
		}
	}
	step(sessionKeep, "a", 0)
	reaps(2*time.Minute, "") // nobody wants to know
	step(sessionTell, "a", 2*time.Minute)
	reaps(2*time.Minute+59*time.Second, "")
	if told := step(sessionTake, "b", 2*time.Minute+59*time.Second); told.text != "s" {
		t.Errorf("taken: %+v", told)
	}
	reaps(3*time.Minute+8*time.Second, "") // its holder may be about to write it
	if told := step(sessionTake, "c", 3*time.Minute+10*time.Second); told.held {
		t.Errorf("what is over is taken: %+v", told)
	}
	reaps(3*time.Minute+10*time.Second, "s")
	reaps(3*time.Minute+10*time.Second, "")
	step(sessionTell, "a", 5*time.Minute)
	step(sessionTell, "b", 7*time.Minute) // as if it had not been there
	reaps(7*time.Minute, "")
	step(sessionRemove, "b", 9*time.Minute)
	reaps(10*time.Minute, "")
	step(sessionTell, "a", 20*time.Minute)
	table.heard = table.heard.Add(-time.Minute - toldFor + time.Second)
	if table.expire(); len(table.over("/", 10)) != 1 {
		t.Error("it is forgotten before it was told of")
	}
	table.heard = table.heard.Add(-time.Minute)
	if table.expire(); len(table.entries) != 0 {
		t.Errorf("still known: %v", table.entries)
	}
}

// keepers starts nodes and returns their stores of sessions.
func keepers(t *testing.T, opts Options, n int) []adapter.SessionKeeper {
	t.Helper()
	return keepersIn(t, opts, n, "/chat")
}

func keepersIn(t *testing.T, opts Options, n int, namespace string) []adapter.SessionKeeper {
	t.Helper()
	list := make([]adapter.SessionKeeper, n)
	for i := range list {
		node := startWith(t, string(adapter.NewNodeID()), opts, adaptertest.NewNode(namespace))
		_, store, err := node.Adapter.(adapter.Historian).Keep(adapter.HistoryOptions{Retain: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		list[i] = store.(adapter.SessionKeeper)
	}
	return list
}

// TestSessionsOfOthers: a node that comes later knows the sessions, more of them than are read at once, and who holds them.
func TestSessionsOfOthers(t *testing.T) {
	const sessions = 3000
	opts := options(t, fake(t).ListenAddrs()[0])
	opts.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	first := keepers(t, opts, 1)[0]
	big := strings.Repeat("x", 1000)
	write := func(s adapter.SessionKeeper, by adapter.NodeID, from, to int) (held int) {
		t.Helper()
		var writes []adapter.SessionWrite
		for i := from; i < to; i++ {
			writes = append(writes, adapter.SessionWrite{Holder: by, TTL: time.Minute, Session: &adapter.Session{
				SocketID: fmt.Sprint("s", i), PID: fmt.Sprint("p", i), Rooms: []string{fmt.Sprint("s", i)}, Data: parser.Payload{JSON: []byte(`{"a":"` + big + `"}`)},
			}})
		}
		list, err := s.Write(within(t), writes)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range list {
			if h {
				held++
			}
		}
		return held
	}
	for i := 0; i < sessions; i += 500 {
		if held := write(first, "first", i, i+500); held != 500 {
			t.Fatalf("%d are held", held)
		}
	}
	second := keepers(t, opts, 1)[0]
	if held := write(second, "second", 0, 10); held != 0 {
		t.Errorf("%d sessions are held by two nodes", held)
	}
	for _, i := range []int{0, 1234, sessions - 1} {
		s, err := second.Take(within(t), fmt.Sprint("p", i), "second")
		if err != nil || s == nil || s.SocketID != fmt.Sprint("s", i) {
			t.Errorf("session %d: %v, %v", i, s, err)
		}
	}
	if held := write(first, "first", 1234, 1235); held != 0 {
		t.Error("a session that was taken is held by who had it")
	}
}

// TestSessionTooLarge: one that Kafka does not take cannot be gone on with, and holds up no other.
func TestSessionTooLarge(t *testing.T) {
	opts := options(t, fake(t).ListenAddrs()[0])
	opts.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	opts.MaxMessage = 100_000
	s := keepers(t, opts, 1)[0]
	session := func(pid string, size int) *adapter.Session {
		data := append(append([]byte(`{"a":"`), bytes.Repeat([]byte("x"), size)...), `"}`...)
		return &adapter.Session{SocketID: pid, PID: pid, Rooms: []string{pid}, Data: parser.Payload{JSON: data}}
	}
	held, err := s.Write(within(t), []adapter.SessionWrite{
		{Session: session("large", 200_000), Holder: "n", TTL: time.Minute}, {Session: session("small", 10), Holder: "n", TTL: time.Minute},
	})
	if err != nil || !held[0] || !held[1] {
		t.Fatalf("%v, %v", held, err)
	}
	for pid, want := range map[string]bool{"large": false, "small": true} {
		if got, err := s.Take(within(t), pid, "n"); err != nil || (got != nil) != want {
			t.Errorf("%s: %v, %v", pid, got, err)
		}
	}
}
