package main

import (
	"testing"

	"github.com/sockeye-io/sockeye/server/servertest"
)

func TestOrder(t *testing.T) {
	srv, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	client := servertest.New(t, srv, nil).Connect(t, "/", nil)
	for id, answer := range map[string]bool{`421["order","tea"]`: true, `422["order","tea"]`: false} {
		client.Client().Send(id)
		client.Expect("sure?", "tea").Ack(answer)
		if answer {
			client.Client().Expect(`431["one tea"]`)
		} else {
			client.Client().Expect(`432["cancelled"]`)
		}
	}
}

func TestVote(t *testing.T) {
	srv, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	kit := servertest.New(t, srv, nil)
	asker, yes, no, gone := kit.Connect(t, "/", nil), kit.Connect(t, "/", nil), kit.Connect(t, "/", nil), kit.Connect(t, "/", nil)
	asker.Client().Send(`420["vote","lunch?"]`)
	yes.Expect("question", "lunch?").Ack("yes")
	no.Expect("question", "lunch?").Ack("no")
	gone.Expect("question", "lunch?")
	gone.Client().Cut()

	reply := asker.Client().Next()
	if want := `430[{"no":1,"no answer":1,"yes":1}]`; reply.Data != want {
		t.Errorf("votes %s, want %s", reply.Data, want)
	}
	asker.Client().Send(`421["vote","and now?"]`)
	yes.Expect("question", "and now?").Ack("yes")
	no.Expect("question", "and now?").Ack("yes")
	if reply, want := asker.Client().Next(), `431[{"no answer":0,"yes":2}]`; reply.Data != want {
		t.Errorf("votes %s, want %s", reply.Data, want)
	}
}

func TestVolunteer(t *testing.T) {
	srv, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	kit := servertest.New(t, srv, nil)
	asker, lazy, keen := kit.Connect(t, "/", nil), kit.Connect(t, "/", nil), kit.Connect(t, "/", nil)
	asker.Client().Send(`420["volunteer","dishes"]`)
	question := lazy.Expect("will you?", "dishes")
	keen.Expect("will you?", "dishes").Ack(true)
	if reply, want := asker.Client().Next(), `430["`+keen.ID()+`"]`; reply.Data != want {
		t.Errorf("volunteer %s, want %s", reply.Data, want)
	}
	question.Ack(true) // too late
	asker.Client().Send(`421["volunteer","rubbish"]`)
	lazy.Expect("will you?", "rubbish").Ack(false)
	keen.Expect("will you?", "rubbish").Ack(false)
	if reply, want := asker.Client().Next(), `431[{"error":{"message":"nobody"}}]`; reply.Data != want {
		t.Errorf("volunteer %s, want %s", reply.Data, want)
	}
}
