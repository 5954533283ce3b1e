package server_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// TestAckFromHandler waits in a handler for an acknowledgement of the same client.
func TestAckFromHandler(t *testing.T) {
	n := start(t, nil)
	n.Of("/").Handle("ask me", server.FuncAck(func(ctx context.Context, s *server.Socket, _ server.None) (string, error) {
		return server.EmitWithAck[string](ctx, s, "question")
	}))
	p, s := n.connect(t)
	p.send(`29["ask me"]`)
	p.expect(`20["question"]`)
	p.send(`30["answer"]`)
	p.expect(`39["answer"]`)

	type result = server.Args2[int, []byte]
	answers := make(chan result, 1)
	go func() {
		r, err := server.EmitWithAck[result](context.Background(), s.Compress(false), "two")
		if err != nil {
			t.Error(err)
		}
		answers <- r
	}()
	p.expect(`21["two"]`)
	p.send(`61-1[5,{"_placeholder":true,"num":0}]`)
	p.write(2, "bin")
	if r := await(t, answers); r.First != 5 || string(r.Second) != "bin" {
		t.Errorf("answer %+v", r)
	}
	for _, ack := range []string{`31[1]`, `377[1]`, `3999999999999999["x"]`} { // again, never asked
		p.send(ack)
	}
	eventually(t, "unknown acks are counted", func() bool { return n.Stats().UnknownAcks == 3 })
}

func TestAckErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, stop := startInMemory(t, &server.Options{AckTimeout: 3 * time.Second})
		defer stop()
		p, s := n.connect(t)
		defer p.close()

		began := time.Now()
		_, err := server.EmitWithAck[int](t.Context(), s, "silence")
		if !errors.Is(err, server.ErrAckTimeout) || time.Since(began) != 3*time.Second {
			t.Errorf("default timeout: %v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began = time.Now()
		if _, err = server.EmitWithAck[int](ctx, s, "silence"); !errors.Is(err, server.ErrAckTimeout) || time.Since(began) != time.Minute {
			t.Errorf("deadline: %v after %v", err, time.Since(began))
		}
		p.expect(`20["silence"]`, `21["silence"]`)
		p.send(`30[1]`) // late
		synctest.Wait()
		if st := n.Stats(); st.UnknownAcks != 1 || st.PendingAcks != 0 {
			t.Errorf("late ack: %+v", st)
		}

		errs := make(chan error)
		go func() {
			_, err := server.EmitWithAck[int](t.Context(), s, "number")
			errs <- err
		}()
		p.expect(`22["number"]`)
		p.send(`32["text"]`)
		if err := <-errs; !errors.Is(err, server.ErrInvalidArguments) {
			t.Errorf("wrong type: %v", err)
		}
		canceled, cancel := context.WithCancel(t.Context())
		go func() {
			_, err := server.EmitWithAck[int](canceled, s, "number")
			errs <- err
		}()
		p.expect(`23["number"]`)
		cancel()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("canceled: %v", err)
		}
		go func() {
			_, err := server.EmitWithAck[int](t.Context(), s, "number")
			errs <- err
		}()
		p.expect(`24["number"]`)
		p.send("1")
		if err := <-errs; !errors.Is(err, server.ErrDisconnected) {
			t.Errorf("disconnected: %v", err)
		}
		if _, err := server.EmitWithAck[int](t.Context(), s, "number"); !errors.Is(err, server.ErrDisconnected) {
			t.Errorf("after the disconnect: %v", err)
		}
	})
}

func TestBroadcastWithAck(t *testing.T) {
	n := start(t, nil)
	main := n.Of("/")
	a, _ := n.connect(t)
	b, sb := n.connect(t)
	c, sc := n.connect(t)
	type outcome struct {
		replies server.Replies[int]
		err     error
	}
	results := make(chan outcome, 1)
	ask := func(ctx context.Context) {
		go func() {
			r, err := server.BroadcastWithAck[int](ctx, main, "how many", "?")
			slices.Sort(r.Values)
			results <- outcome{r, err}
		}()
	}
	ask(t.Context())
	for i, p := range []*peer{a, b, c} {
		p.expect(`20["how many","?"]`)
		p.send(`30[` + string(rune('1'+i)) + `,"ignored"]`)
	}
	if r := await(t, results); r.err != nil || !slices.Equal(r.replies.Values, []int{1, 2, 3}) || r.replies.Expected != 3 {
		t.Errorf("all: %+v", r)
	}

	ask(t.Context())
	a.expect(`21["how many","?"]`)
	a.send(`31[1]`)
	b.expect(`21["how many","?"]`)
	b.send(`31["no number"]`)
	c.expect(`21["how many","?"]`)
	c.close()
	r := await(t, results)
	slices.Sort(r.replies.Failed)
	want := []string{sb.ID(), sc.ID()}
	slices.Sort(want)
	if !errors.Is(r.err, server.ErrAckMissing) || !slices.Equal(r.replies.Values, []int{1}) || !slices.Equal(r.replies.Failed, want) {
		t.Errorf("one answer: %+v, want failed %v", r, want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	ask(ctx)
	a.expect(`22["how many","?"]`)
	b.expect(`22["how many","?"]`)
	b.send(`32[7]`)
	eventually(t, "b has answered", func() bool { return n.Stats().PendingAcks == 1 })
	cancel()
	if r := await(t, results); !errors.Is(r.err, context.Canceled) || !slices.Equal(r.replies.Values, []int{7}) || len(r.replies.Failed) != 1 {
		t.Errorf("canceled: %+v", r)
	}
	if r, err := server.BroadcastWithAck[int](t.Context(), main.To("nobody"), "x"); err != nil || r.Expected != 0 {
		t.Errorf("nobody: %+v, %v", r, err)
	}
	if got := n.Stats().PendingAcks; got != 0 {
		t.Errorf("%d acks pending", got)
	}
}

func TestRemoteSocketAck(t *testing.T) {
	n := start(t, nil)
	p, s := n.connect(t)
	r, err := n.Of("/").In(s.ID()).FetchSockets(t.Context())
	if err != nil || len(r.Values) != 1 {
		t.Fatal(r, err)
	}
	remote := r.Values[0]
	if err := errors.Join(remote.Join("room"), remote.Emit("hi")); err != nil {
		t.Fatal(err)
	}
	p.expect(`2["hi"]`)
	if !slices.Contains(s.Rooms(), "room") {
		t.Error("the socket has not joined")
	}
	answers := make(chan string, 1)
	go func() {
		a, err := server.EmitWithAck[string](t.Context(), remote, "q")
		if err != nil {
			t.Error(err)
		}
		answers <- a
	}()
	p.expect(`20["q"]`)
	p.send(`30["a"]`)
	if a := await(t, answers); a != "a" {
		t.Errorf("answer %q", a)
	}
	if err := errors.Join(remote.Leave("room"), remote.DisconnectClient()); err != nil {
		t.Fatal(err)
	}
	p.expect("1")
	p.expectClosed()
	if _, err := server.EmitWithAck[string](t.Context(), remote, "q"); !errors.Is(err, server.ErrDisconnected) {
		t.Errorf("after the disconnect: %v", err)
	}
}

// TestInboxFull floods a handler that waits for an acknowledgement of the flooding client.
func TestInboxFull(t *testing.T) {
	n := start(t, &server.Options{InboxLimit: 4096})
	results := make(chan error, 1)
	release := make(chan struct{})
	handled := make(chan int, 4096)
	main := n.Of("/")
	main.Handle("wait", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error {
		_, err := server.EmitWithAck[int](ctx, s, "question")
		results <- err
		if _, err := server.EmitWithAck[int](ctx, s, "question"); !errors.Is(err, server.ErrInboxFull) {
			t.Errorf("while full: %v", err)
		}
		<-release
		return nil
	}))
	main.Handle("n", server.Func(func(ctx context.Context, s *server.Socket, a server.Args2[int, string]) error {
		handled <- a.First
		return nil
	}))
	p, _ := n.connect(t)
	p.send(`2["wait"]`)
	p.expect(`20["question"]`)
	const events = 300
	filler := strings.Repeat("x", 1000)
	go func() {
		for i := range events {
			p.send(`2["n",` + string(rune('0'+i%10)) + `,"` + filler + `"]`)
		}
	}()
	if err := await(t, results); !errors.Is(err, server.ErrInboxFull) {
		t.Errorf("the wait ended with %v", err)
	}
	close(release)
	for i := range events {
		if got := await(t, handled); got != i%10 {
			t.Fatalf("event %d came as %d", i, got)
		}
	}
	p.send(`21["none"]`)
	if st := n.Stats(); st.InboxPauses == 0 {
		t.Errorf("no pause: %+v", st)
	}
}
