package freshrooms

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

func joins(rooms ...string) *adapter.Message {
	return &adapter.Message{Kind: adapter.KindJoin, Rooms: rooms}
}

func to(room string) *adapter.Message {
	return &adapter.Message{Kind: adapter.KindBroadcast, Selection: adapter.Selection{Rooms: []string{room}}}
}

func TestRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Rooms
		fresh := func(want string, rooms ...string) {
			t.Helper()
			var got string
			for _, room := range rooms {
				if r.ToAll(to(room)) {
					got += room
				}
			}
			if got != want {
				t.Errorf("after %s: %q are fresh, want %q", time.Now(), got, want)
			}
		}
		fresh("", "a")
		r.Note(&adapter.Message{Kind: adapter.KindLeave, Rooms: []string{"l"}}, For)
		r.Note(joins("a", "b"), For)
		fresh("ab", "a", "b", "l", "x")
		time.Sleep(For - 1)
		r.Note(joins("c"), For)
		fresh("abc", "a", "b", "c", "x")
		time.Sleep(time.Nanosecond)
		fresh("c", "a", "b", "c")
		time.Sleep(For)
		fresh("", "a", "b", "c")
		if r.some.Load() {
			t.Error("something is remembered")
		}
	})
}

// TestNumbered: what all nodes wait for goes to all, also when its room was fresh only while it got its number.
func TestNumbered(t *testing.T) {
	var r Rooms
	m := to("a")
	m.Seq = 1
	if !r.ToAll(m) {
		t.Error("a message with a number goes to the nodes of its room alone")
	}
}

// TestTooMany: more rooms than are remembered cost no more memory, and nobody a message.
func TestTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Rooms
		for i := range maxFresh + 1 {
			r.Note(joins(fmt.Sprint(i)), For)
		}
		if n := len(r.until); n > maxFresh || !r.ToAll(to("x")) {
			t.Errorf("%d rooms", n)
		}
		time.Sleep(For)
		if r.ToAll(to("x")) {
			t.Error("all rooms are fresh for ever")
		}
	})
}
