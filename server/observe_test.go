package server_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/server"
)

// TestObserve: an observer is told of what its socket sends and gets, in that order, and of no other's.
func TestObserve(t *testing.T) {
	n := start(t, &server.Options{Hooks: []server.Hooks{{BeforeEvent: func(_ *server.Socket, in server.Incoming) error {
		if in.Name() == "forbidden" {
			return errors.New("no")
		}
		return nil
	}}}})
	n.Of("/").Handle("hello", server.FuncAck(func(context.Context, *server.Socket, string) (int, error) { return 1, nil }))
	client, s := n.connect(t)
	other, _ := n.connect(t)
	seen := make(chan string, 64)
	stop := s.Observe(func(o server.Observation) {
		text := string(o.Kind) + " " + o.Event
		if o.ID >= 0 {
			text += "#"
		}
		if o.Args().Len() > 0 {
			text += string(o.Args().At(0).JSON)
		}
		seen <- text + string(o.Result.Outcome) + string(o.Reason)
	})
	s.Observe(func(server.Observation) { panic("an observer's own fault") })
	other.send(`20["hello","not observed"]`)
	other.expect("30[1]")
	client.send(`20["hello","a"]`)
	client.expect("30[1]")
	client.send(`21["forbidden"]`)
	client.expect(`31[{"error":{"message":"internal error"}}]`)
	if err := n.Of("/").Emit("all", 1); err != nil {
		t.Fatal(err)
	}
	client.expect(`2["all",1]`)
	answered := make(chan error, 1)
	go func() {
		_, err := server.EmitWithAck[int](t.Context(), s, "ask", 2)
		answered <- err
	}()
	client.expect(`20["ask",2]`)
	client.send("30[3]")
	if err := await(t, answered); err != nil {
		t.Fatal(err)
	}
	s.Disconnect()
	client.expect("1")
	var got []string
	for last := ""; last != "disconnected server namespace disconnect"; {
		last = await(t, seen)
		got = append(got, last)
	}
	// That an event was handled is told by its worker, while the client may go on.
	handled := slices.Index(got, "handled hello#handled")
	if handled < 1 {
		t.Fatalf("observed %q", got)
	}
	got = slices.Delete(got, handled, handled+1)
	want := []string{`received hello#"a"`, "ack_sent #1", "refused forbidden#", `ack_sent #{"error":{"message":"internal error"}}`, "sent all1", "sent ask#2", "ack_received #3",
		"disconnected server namespace disconnect"}
	if !slices.Equal(got, want) {
		t.Errorf("observed %q, want %q", got, want)
	}
	stop()
}

// TestObserveStops: after stop nothing is told.
func TestObserveStops(t *testing.T) {
	n := start(t, nil)
	client, s := n.connect(t)
	stop := s.Observe(func(o server.Observation) { t.Errorf("observed %s", o.Kind) })
	stop()
	if err := s.Emit("hello"); err != nil {
		t.Fatal(err)
	}
	client.expect(`2["hello"]`)
}

// BenchmarkObserved measures what an event of a socket that nobody observes pays, while another one is observed.
func BenchmarkObserved(b *testing.B) {
	n := start(b, nil)
	_, s := n.connect(b)
	_, traced := n.connect(b)
	defer traced.Observe(func(server.Observation) {})()
	b.ReportAllocs()
	for b.Loop() {
		if s.Observed() {
			b.Fatal("it is observed")
		}
	}
}
