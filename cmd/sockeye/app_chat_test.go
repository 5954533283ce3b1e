package main

import (
	"strings"
	"testing"
)

func TestNamesWithoutControlCharacters(t *testing.T) {
	for text, ok := range map[string]bool{"ann": true, "a b": true, "李雷 👩‍🚀": true, "a\nb": false, "a\x00": false, "\u0085": false} {
		if err := name(text).checkUser(); (err == nil) != ok {
			t.Errorf("user %q: %v, want accepted %v", text, err, ok)
		}
		if err := name("#" + text).checkRoom(); (err == nil) != ok {
			t.Errorf("room %q: %v, want accepted %v", text, err, ok)
		}
	}
}

func TestReservedRoomIsNobodys(t *testing.T) {
	if n := name(presenceRoom); n.checkUser() == nil || n.checkRoom() == nil {
		t.Errorf("%q can be a user or a public room", presenceRoom)
	}
	if rooms := publicRooms([]string{"ann", presenceRoom, "#a", strings.Repeat("a", 20)}); len(rooms) != 1 || rooms[0] != "#a" {
		t.Errorf("public rooms are %q", rooms)
	}
}
