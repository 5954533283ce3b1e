package server_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/server"
)

type greeting struct {
	To   string `json:"to"`
	Data []byte `json:"data"`
}

func TestHandlers(t *testing.T) {
	n := start(t, nil)
	main := n.Of("/")
	main.Handle("first", server.Func(func(ctx context.Context, s *server.Socket, v string) error { return s.Emit("got", v) }))
	main.Handle("struct", server.FuncAck(func(ctx context.Context, s *server.Socket, g greeting) (greeting, error) { return g, nil }))
	main.Handle("two", server.FuncAck(func(ctx context.Context, s *server.Socket, a server.Args2[int, string]) (server.Args2[string, int], error) {
		return server.Args2[string, int]{First: a.Second, Second: a.First}, nil
	}))
	main.Handle("three", server.FuncAck(func(ctx context.Context, s *server.Socket, a server.Args3[int, int, int]) (int, error) {
		return a.First + a.Second + a.Third, nil
	}))
	main.Handle("raw", server.FuncAck(func(ctx context.Context, s *server.Socket, a server.Args) (server.Args, error) { return a, nil }))
	main.Handle("relay", server.Func(func(ctx context.Context, s *server.Socket, a server.Args) error { return s.Emit("relayed", a) }))
	main.Handle("none", server.FuncAck(func(ctx context.Context, s *server.Socket, _ server.None) (server.None, error) {
		return server.None{}, nil
	}))
	main.Handle("later", server.FuncReply(func(ctx context.Context, s *server.Socket, v int, r *server.Reply) error {
		if !r.Wanted() {
			return errors.New("no reply wanted")
		}
		if err := r.Send(v + 1); err != nil {
			return err
		}
		if err := r.Send(v + 2); !errors.Is(err, server.ErrReplied) {
			t.Errorf("second reply: %v", err)
		}
		return errors.New("too late for the client")
	}))
	main.Handle("refuse", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error {
		return &server.ClientError{Message: "no", Data: 1}
	}))
	main.Handle("fail", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error { return errors.New("secret") }))
	p, _ := n.connect(t)
	tests := []struct{ send, want string }{
		{`2["first","x","more"]`, `2["got","x"]`},
		{`21["two",1,"a"]`, `31["a",1]`},
		{`22["three",1,2,3]`, `32[6]`},
		{`23["raw",{"z":1.0,"a":[]},10000000000000000000001]`, `33[{"z":1.0,"a":[]},10000000000000000000001]`},
		{`23["raw"]`, `33[]`},
		{`2["relay",{"z":1.0,"a":"é"}]`, `2["relayed",{"z":1.0,"a":"é"}]`},
		{`24["none",5]`, `34[]`},
		{`25["later",5]`, `35[6]`},
		{`26["refuse"]`, `36[{"error":{"message":"no","data":1}}]`},
		{`27["fail"]`, `37[{"error":{"message":"internal error"}}]`},
		{`28["first",{}]`, `38[{"error":{"message":"invalid arguments"}}]`},
		{`29["first"]`, `39[{"error":{"message":"invalid arguments"}}]`},
		{`20["raw",null]`, `30[null]`},
	}
	for _, tt := range tests {
		p.send(tt.send)
		if got := p.next(); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.send, got, tt.want)
		}
	}
	p.send(`51-7["struct",{"to":"b","data":{"_placeholder":true,"num":0}}]`)
	p.write(2, "\x01\x02")
	p.expect(`61-7[{"to":"b","data":{"_placeholder":true,"num":0}}]`, "b\x01\x02")
}

func TestEventOrder(t *testing.T) {
	n := start(t, nil)
	main := n.Of("/")
	var mu sync.Mutex
	var log []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		log = append(log, what)
	}
	main.HandleAny(func(ctx context.Context, s *server.Socket, e *server.Event) { note("any " + e.Name) })
	main.UseEvent(func(ctx context.Context, s *server.Socket, e *server.Event) error {
		note("middleware")
		if e.Name == "forbidden" {
			return &server.ClientError{Message: "forbidden"}
		}
		return nil
	})
	failures := make(chan string, 8)
	main.OnError(func(_ context.Context, s *server.Socket, event string, err error) {
		failures <- event + ": " + err.Error()
	})
	done := server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error {
		note("namespace handler")
		return nil
	})
	main.Handle("x", done)
	removed := main.Handle("x", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error {
		note("removed")
		return nil
	}))
	removed()
	main.OnConnection(func(ctx context.Context, s *server.Socket) {
		s.UseEvent(func(ctx context.Context, s *server.Socket, e *server.Event) error {
			note("own middleware")
			return nil
		})
		off := s.HandleAny(func(ctx context.Context, s *server.Socket, e *server.Event) { note("own any") })
		s.Handle("x", server.FuncAck(func(ctx context.Context, s *server.Socket, _ server.None) (int, error) {
			note("own handler")
			off()
			return 1, nil
		}))
	})
	p, _ := n.connect(t)
	p.send(`21["x"]`)
	p.expect(`31[1]`)
	p.send(`22["forbidden"]`)
	p.expect(`32[{"error":{"message":"forbidden"}}]`)
	want := []string{"any x", "own any", "middleware", "own middleware", "namespace handler", "own handler", "any forbidden", "middleware"}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(log, want) {
		t.Errorf("order %v, want %v", log, want)
	}
	if got := await(t, failures); got != "forbidden: forbidden" {
		t.Errorf("error hook got %q", got)
	}
}

func TestOutgoing(t *testing.T) {
	n := start(t, nil)
	main := n.Of("/")
	seen := make(chan string, 8)
	main.HandleAnyOutgoing(func(ctx context.Context, s *server.Socket, e *server.Event) {
		seen <- fmt.Sprintf("%s %d %v", e.Name, e.Args.Len(), e.Reply.Wanted())
	})
	p, s := n.connect(t)
	s.HandleAnyOutgoing(func(ctx context.Context, s *server.Socket, e *server.Event) { seen <- "own " + e.Name })
	if err := errors.Join(s.Emit("a", 1, 2), main.Emit("b")); err != nil {
		t.Fatal(err)
	}
	p.expect(`2["a",1,2]`, `2["b"]`)
	for _, want := range []string{"a 2 false", "own a", "b 0 false", "own b"} {
		if got := await(t, seen); got != want {
			t.Errorf("saw %q, want %q", got, want)
		}
	}
}

func TestReservedEvents(t *testing.T) {
	n := start(t, nil)
	_, s := n.connect(t)
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		_, ackErr := server.EmitWithAck[int](t.Context(), s, name)
		for _, err := range []error{s.Emit(name), n.Of("/").Emit(name), s.To("x").Emit(name), ackErr} {
			if !errors.Is(err, server.ErrReservedEvent) {
				t.Errorf("%s: error %v", name, err)
			}
		}
	}
	for _, name := range []string{"connect", "connection", "new_namespace"} {
		if err := n.Of("/").ServerSideEmit(name); !errors.Is(err, server.ErrReservedEvent) {
			t.Errorf("server side %s: error %v", name, err)
		}
	}
	var cyclic struct{ Self any }
	cyclic.Self = &cyclic
	if err := s.Emit("bad", &cyclic); err == nil {
		t.Error("a value that contains itself was sent")
	}
}

func TestPanic(t *testing.T) {
	for _, closes := range []bool{false, true} {
		t.Run(fmt.Sprint("close=", closes), func(t *testing.T) {
			n := start(t, &server.Options{CloseOnPanic: closes})
			main := n.Of("/")
			main.Handle("boom", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error { panic("boom") }))
			main.Handle("fine", server.FuncAck(func(ctx context.Context, s *server.Socket, _ server.None) (int, error) { return 1, nil }))
			p, _ := n.connect(t)
			other, _ := n.connect(t)
			p.send(`21["boom"]`)
			if closes {
				p.expect(`1`)
			} else {
				p.expect(`31[{"error":{"message":"internal error"}}]`)
				p.send(`22["fine"]`)
				p.expect(`32[1]`)
			}
			other.send(`23["fine"]`)
			other.expect(`33[1]`)
			if got := n.Stats().Panics; got != 1 {
				t.Errorf("%d panics counted", got)
			}
		})
	}
	n := start(t, nil)
	main := n.Of("/")
	main.OnConnection(func(ctx context.Context, s *server.Socket) { panic("connection") })
	main.OnDisconnecting(func(_ context.Context, s *server.Socket, reason server.Reason) { panic("disconnecting") })
	last := make(chan server.Reason, 1)
	main.OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) { last <- reason })
	main.HandleAnyOutgoing(func(ctx context.Context, s *server.Socket, e *server.Event) { panic("outgoing") })
	p, s := n.connect(t)
	if err := s.Emit("x"); err != nil {
		t.Fatal(err)
	}
	p.expect(`2["x"]`)
	p.send("1")
	if got := await(t, last); got != server.ReasonClientDisconnect {
		t.Errorf("reason %q", got)
	}
	if got := n.Stats().Panics; got != 3 {
		t.Errorf("%d panics counted", got)
	}
}

func TestHandlerConcurrency(t *testing.T) {
	n := start(t, nil)
	main := n.Of("/")
	main.SetHandlerConcurrency(3)
	const events = 3
	var together sync.WaitGroup
	together.Add(events)
	var order []string
	main.Handle("meet", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error {
		together.Done()
		together.Wait()
		return s.Emit("met")
	}))
	main.OnConnection(func(ctx context.Context, s *server.Socket) { order = append(order, "connection") })
	gone := make(chan struct{})
	main.OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) {
		order = append(order, "disconnect")
		close(gone)
	})
	p, _ := n.connect(t)
	for range events {
		p.send(`2["meet"]`)
	}
	p.expect(`2["met"]`, `2["met"]`, `2["met"]`)
	p.send("1")
	await(t, gone)
	if got := strings.Join(order, " "); got != "connection disconnect" {
		t.Errorf("lifecycle %s", got)
	}
}

func TestEventsInOrder(t *testing.T) {
	n := start(t, nil)
	var got []int
	full := make(chan struct{})
	n.Of("/").Handle("n", server.Func(func(ctx context.Context, s *server.Socket, i int) error {
		if got = append(got, i); len(got) == 2000 {
			close(full)
		}
		return nil
	}))
	p, _ := n.connect(t)
	for i := range 2000 {
		p.send(fmt.Sprintf(`2["n",%d]`, i))
	}
	await(t, full)
	if !slices.IsSorted(got) {
		t.Error("events were handled out of order")
	}
}

// TestHandleRefuses registers what could never run.
func TestHandleRefuses(t *testing.T) {
	srv, err := server.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	fine := server.Func(func(context.Context, *server.Socket, server.None) error { return nil })
	for name, register := range map[string]func(){
		"disconnect":  func() { srv.Of("/").Handle("disconnect", fine) },
		"connect":     func() { srv.OfPattern(regexp.MustCompile("x")).Handle("connect", fine) },
		"nil handler": func() { srv.Of("/").Handle("event", nil) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: registered", name)
				}
			}()
			register()
		}()
	}
}
