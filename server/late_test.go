package server_test

import (
	"context"
	"regexp"
	"runtime"
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// TestLateDisconnectHook registers a socket's disconnect functions in OnConnection when the client has gone already.
func TestLateDisconnectHook(t *testing.T) {
	n := start(t, nil)
	log := make(chan string, 2)
	n.Of("/").OnConnection(func(ctx context.Context, s *server.Socket) {
		<-ctx.Done()
		s.OnDisconnecting(func(_ context.Context, s *server.Socket, reason server.Reason) { log <- "disconnecting" })
		s.OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) { log <- "disconnect" })
	})
	p, _ := n.connect(t)
	p.send("1")
	for _, want := range []string{"disconnecting", "disconnect"} {
		if got := await(t, log); got != want {
			t.Errorf("hook %q, want %q", got, want)
		}
	}
}

// slowRooms is an adapter that is slow to hear of rooms that end.
type slowRooms struct {
	adapter.Adapter
	entered, leave chan struct{}
}

func (a *slowRooms) RoomCreated(string) {}
func (a *slowRooms) RoomDeleted(string) {
	a.entered <- struct{}{}
	<-a.leave
}

// TestRejoinDuringDisconnect lets a client leave and come back while the server is disconnecting it.
func TestRejoinDuringDisconnect(t *testing.T) {
	slow := &slowRooms{entered: make(chan struct{}, 8), leave: make(chan struct{})}
	n := start(t, &server.Options{Adapter: adapter.BuilderFunc(func(l adapter.Local) (a adapter.Adapter, err error) {
		slow.Adapter = adapter.NewMemory(l)
		return slow, err
	})})
	n.Of("/").Handle("sync", server.FuncAck(func(context.Context, *server.Socket, server.None) (server.None, error) { return server.None{}, nil }))
	p, s := n.connect(t)
	p.send(`20["sync"]`) // what is read next has let go of the rooms of the CONNECT packet
	p.expect(`30[]`)
	done := make(chan struct{})
	go func() {
		s.Disconnect()
		close(done)
	}()
	await(t, slow.entered)
	if got := s.Rooms(); !slices.Equal(got, []string{s.ID()}) {
		t.Errorf("rooms of a socket that is being disconnected: %v", got)
	}
	p.expect("1")
	p.join("/", "")
	close(slow.leave)
	await(t, done)
	if got := n.Stats().Sockets; got != 1 {
		t.Errorf("%d sockets, want the second one", got)
	}
}

// TestNamespaceBeforeItsAdapter emits to a namespace whose adapter is being built. The emit must wait for it.
func TestNamespaceBeforeItsAdapter(t *testing.T) {
	building, build := make(chan struct{}), make(chan struct{})
	n := start(t, &server.Options{Adapter: adapter.BuilderFunc(func(l adapter.Local) (adapter.Adapter, error) {
		if l.Name() == "/slow" {
			close(building)
			<-build
		}
		return adapter.NewMemory(l), nil
	})})
	parent := n.OfPattern(regexp.MustCompile("^/slow$"))
	p := n.websocket(t)
	p.send("0/slow,")
	await(t, building)
	began, result := make(chan struct{}), make(chan error, 1)
	go func() {
		close(began)
		result <- parent.Children()[0].Emit("early")
	}()
	await(t, began)
	for range 100 {
		runtime.Gosched()
	}
	close(build)
	if err := await(t, result); err != nil {
		t.Error(err)
	}
}
