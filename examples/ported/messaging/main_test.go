package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/server/servertest"
)

func newKit(t *testing.T) *servertest.Server {
	t.Helper()
	handler, err := newHandler(nil)
	if err != nil {
		t.Fatal(err)
	}
	return servertest.New(t, handler, nil)
}

// enter connects with an auth object and returns the socket with its session and the list of users that it got.
func enter(t *testing.T, kit *servertest.Server, auth map[string]string) (*servertest.Socket, session, []user) {
	t.Helper()
	s := kit.Connect(t, "/", auth)
	var got session
	if err := s.Expect("session").Args.Unmarshal(0, &got); err != nil {
		t.Fatal(err)
	}
	var users []user
	if err := s.Expect("users").Args.Unmarshal(0, &users); err != nil {
		t.Fatal(err)
	}
	return s, got, users
}

func TestPrivateMessages(t *testing.T) {
	kit := newKit(t)
	ann, annIs, users := enter(t, kit, map[string]string{"username": "ann"})
	if len(users) != 1 || users[0].ID != annIs.UserID || !users[0].Connected {
		t.Errorf("the first user sees %+v", users)
	}
	bob, bobIs, _ := enter(t, kit, map[string]string{"username": "bob"})
	eve, eveIs, _ := enter(t, kit, map[string]string{"username": "eve"})
	ann.Expect("user connected", user{bobIs.UserID, "bob", true, []message{}})
	ann.Expect("user connected", user{eveIs.UserID, "eve", true, []message{}})
	bob.Expect("user connected", user{eveIs.UserID, "eve", true, []message{}})
	twin, twinIs, _ := enter(t, kit, map[string]string{"sessionID": annIs.ID, "username": "ignored"})
	if twinIs.ID != annIs.ID || twinIs.UserID != annIs.UserID {
		t.Errorf("the session %v became %v", annIs, twinIs)
	}

	hello := message{Content: "hello", From: annIs.UserID, To: bobIs.UserID}
	ann.Emit("private message", map[string]string{"content": "hello", "to": bobIs.UserID})
	bob.Expect("private message", hello)
	twin.Expect("private message", hello)
	note := message{Content: "for ann", From: eveIs.UserID, To: annIs.UserID}
	eve.Emit("private message", map[string]string{"content": "for ann", "to": annIs.UserID})
	for _, s := range []*servertest.Socket{ann, twin} {
		s.Expect("private message", note) // eve has seen nothing of what the others wrote, nor ann her own
	}

	// Bob goes, misses a message and comes back. Ann's second window goes, which nobody is told.
	twin.Client().Close()
	bob.Client().Close()
	ann.Expect("user disconnected", bobIs.UserID)
	eve.Expect("user disconnected", bobIs.UserID)
	missed := message{Content: "are you there?", From: annIs.UserID, To: bobIs.UserID}
	ann.Emit("private message", map[string]string{"content": missed.Content, "to": bobIs.UserID})
	ann.EmitWithAck("private message", map[string]string{"to": "nobody"}) // refused, once the one before it is kept
	_, again, users := enter(t, kit, map[string]string{"sessionID": bobIs.ID})
	if again.UserID != bobIs.UserID {
		t.Errorf("bob is %q, was %q", again.UserID, bobIs.UserID)
	}
	if got, want := fmt.Sprint(users[0].Messages), fmt.Sprint([]message{hello, missed}); got != want {
		t.Errorf("bob finds %s, want %s", got, want)
	}
	ann.Expect("user connected", user{bobIs.UserID, "bob", true, []message{}})
}

func TestRefused(t *testing.T) {
	kit := newKit(t)
	for _, auth := range []any{nil, map[string]string{"sessionID": "unknown"}, map[string]any{"username": 7},
		map[string]string{"username": strings.Repeat("x", maxName+1)}} {
		if refusal := kit.Dial(t, nil).ConnectRefused("/", auth); refusal.Message != "invalid username" {
			t.Errorf("auth %v: %q", auth, refusal.Message)
		}
	}
	ann, is, _ := enter(t, kit, map[string]string{"username": "ann"})
	for _, m := range []map[string]string{{"content": "x", "to": "nobody"}, {"content": "x", "to": ann.ID()},
		{"content": strings.Repeat("x", maxContent+1), "to": is.UserID}} {
		var answer struct{ Error struct{ Message string } }
		if err := ann.EmitWithAck("private message", m).Unmarshal(0, &answer); err != nil || answer.Error.Message == "" {
			t.Errorf("to %s: %+v, %v", m["to"], answer, err)
		}
	}
}

func TestMessagesAreBounded(t *testing.T) {
	st := newStore()
	ann, err := st.begin("ann")
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxMessages + 3 {
		if err := st.keep(message{Content: fmt.Sprint(i), From: ann.UserID, To: ann.UserID}); err != nil {
			t.Fatal(err)
		}
	}
	kept := st.users(ann.UserID)[0].Messages
	if len(kept) != maxMessages || kept[0].Content != "3" {
		t.Errorf("%d messages are kept, from %q", len(kept), kept[0].Content)
	}
}
