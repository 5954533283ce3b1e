package main

import (
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/server/servertest"
)

func TestRooms(t *testing.T) {
	srv, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	kit := servertest.New(t, srv, nil)
	writer, fan, muted, stranger := kit.Connect(t, "/news", nil), kit.Connect(t, "/news", nil), kit.Connect(t, "/news", nil), kit.Connect(t, "/news", nil)
	follow(t, fan, "follow", "chess", []string{"chess"})
	follow(t, fan, "follow", "go", []string{"chess", "go"})
	follow(t, muted, "follow", "chess", []string{"chess"})
	muted.Emit("mute", "chess")
	follow(t, muted, "follow", "go", []string{"chess", "go"}) // after the mute

	writer.Emit("publish", "chess", "a draw")
	fan.Expect("story", "chess", "a draw")
	follow(t, fan, "unfollow", "chess", []string{"go"})
	writer.Emit("publish", "chess", "a win")
	writer.Emit("publish", "go", "a game")
	fan.Expect("story", "go", "a game")
	muted.Expect("story", "go", "a game")

	// A question and its answer prove that the stranger got nothing before.
	follow(t, stranger, "follow", "tea", []string{"tea"})
	writer.Emit("publish", "tea", "hot")
	stranger.Expect("story", "tea", "hot")
}

func follow(t *testing.T, s *servertest.Socket, event, topic string, want []string) {
	t.Helper()
	var got []string
	if err := s.EmitWithAck(event, topic).Unmarshal(0, &got); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s %s: follows %v, want %v", event, topic, got, want)
	}
}
