package main

import (
	"testing"

	"github.com/sockeye-io/sockeye/server/servertest"
)

func TestChat(t *testing.T) {
	srv, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	kit := servertest.New(t, srv, nil)
	alice, bob := kit.Connect(t, "/", nil), kit.Connect(t, "/", nil)
	for socket, name := range map[*servertest.Socket]string{alice: "alice", bob: "bob"} {
		var greeting string
		if err := socket.EmitWithAck("login", name).Unmarshal(0, &greeting); err != nil || greeting != "welcome, "+name {
			t.Fatalf("greeting %q, %v", greeting, err)
		}
	}

	var online bool
	args := alice.EmitWithAck("send", message{To: "bob", Message: "hi"})
	if err := args.Unmarshal(0, &online); err != nil || !online {
		t.Errorf("bob is online: %v, %v", online, err)
	}
	bob.Expect("receive", "hi", note{From: "alice"})

	args = alice.EmitWithAck("send", message{To: "carol", Message: "hi"})
	if err := args.Unmarshal(0, &online); err != nil || online {
		t.Errorf("carol is online: %v, %v", online, err)
	}
}
