package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/server"
)

// expectLimit checks that a call was refused for a limit, and with a text that tells which.
func expectLimit(t *testing.T, err error, text string) {
	t.Helper()
	if !errors.Is(err, server.ErrLimit) || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want ErrLimit with %q", err, text)
	}
}

// expectState checks what all clients together are charged.
func expectState(t *testing.T, n *node, what string, want int64) {
	t.Helper()
	if got := n.Stats().Engine.StateBytes; got != want {
		t.Errorf("%s: %d bytes are charged, want %d", what, got, want)
	}
}

func TestMaxAuth(t *testing.T) {
	n := start(t, &server.Options{MaxAuth: 100})
	n.OfPattern(regexp.MustCompile("^/with-")).Use(func(context.Context, *server.Socket) error { return nil })
	n.Of("/without")
	abuser, good := n.websocket(t), n.websocket(t)
	auth := func(size int) string { return `{"a":"` + strings.Repeat("x", size-8) + `"}` }
	for i, namespace := range []string{"/without", "/with-middleware"} {
		abuser.send("0" + namespace + "," + auth(101))
		abuser.expect("4" + namespace + `,{"message":"Too much auth data"}`)
		good.join(namespace, auth(50))
		if got := n.Stats().Limits["auth"]; got != uint64(i+1) {
			t.Errorf("counted %d", got)
		}
	}
	good.join("/with-nothing", "")
	good.join("/without", auth(50)) // takes the place of the former one
	good.send("0/with-more,{}")
	good.expect(`4/with-more,{"message":"Too much auth data"}`)
	good.send("1/without,")
	good.join("/with-more", auth(50))
}

func TestMaxName(t *testing.T) {
	n := start(t, &server.Options{MaxName: 20})
	n.OfPattern(regexp.MustCompile("^/"))
	p, s := n.connect(t)
	long := strings.Repeat("x", 21)
	p.send("0/" + long + ",")
	p.expect("4/" + long + `,{"message":"Namespace name too long"}`)
	p.join("/"+long[:19], "")
	expectLimit(t, s.Join(t.Context(), "short", long), "21 bytes in the name of a room")
	if got := s.Rooms(); len(got) != 1 {
		t.Errorf("joined %v", got)
	}
	if err := s.Join(t.Context(), long[:20]); err != nil {
		t.Error(err)
	}
	if got := n.Stats().Limits["name"]; got != 2 {
		t.Errorf("counted %d", got)
	}
}

// The rooms of one socket are bounded, whoever makes it join; a Join takes all rooms or none; another socket notices nothing.
func TestMaxRooms(t *testing.T) {
	n := start(t, &server.Options{MaxRooms: 10})
	_, s := n.connect(t)
	_, other := n.connect(t)
	ctx := t.Context()
	before := n.Stats().Engine.StateBytes
	var joined sync.WaitGroup
	for i := range 8 {
		joined.Go(func() {
			if err := s.Join(ctx, fmt.Sprint("room-", i), s.ID()); err != nil {
				t.Error(err)
			}
		})
	}
	joined.Wait()
	expectLimit(t, s.Join(ctx, "a", "b", "c"), "3 more rooms of a socket, at most 10")
	if err := s.Join(ctx, "a", "room-1", "b", "a", s.ID()); err != nil {
		t.Errorf("to 10 rooms: %v", err)
	}
	if err := s.Join(ctx, "a", "b"); err != nil {
		t.Errorf("rooms that it is in: %v", err)
	}
	expectLimit(t, s.Join(ctx, "c"), "at most 10")
	if err := n.Of("/").SocketsJoin("c"); err != nil {
		t.Error(err)
	}
	if got := len(s.Rooms()); got != 11 {
		t.Errorf("the socket is in %d rooms", got)
	}
	if got := other.Rooms(); len(got) != 2 || got[1] != "c" {
		t.Errorf("the other socket is in %v", got)
	}
	s.Leave("a", "a", "none")
	if err := s.Join(ctx, "c"); err != nil {
		t.Errorf("after leaving one: %v", err)
	}
	if got := n.Stats().Limits["rooms"]; got != 3 {
		t.Errorf("counted %d", got)
	}
	if got := n.Stats().Engine.StateBytes - before; got < 11*320 || got > 11*330 {
		t.Errorf("11 rooms are charged %d bytes", got)
	}
	s.Leave(s.Rooms()...)
	other.Leave("c")
	expectState(t, n, "after leaving", before)
}

// What a socket is charged comes back when it leaves its namespace, and whatever it does afterwards.
func TestStateOfSockets(t *testing.T) {
	n := start(t, nil)
	n.Of("/room").OnConnection(func(ctx context.Context, s *server.Socket) {
		if err := errors.Join(s.Join(ctx, "a", "b"), s.Data().Set("user", 1), s.Data().Set("user", "longer"), s.Data().Set("other", 2)); err != nil {
			t.Error(err)
		}
		s.Data().Delete("other")
		s.Data().Delete("none")
		_ = s.Emit("ready") // a client that has gone is not waited for
	})
	gone := make(chan struct{}, 2)
	n.Of("/room").OnDisconnect(func(_ context.Context, s *server.Socket, _ server.Reason) {
		if err := s.Data().Set("late", 1); err != nil {
			t.Error(err)
		}
		s.Data().Delete("user")
		gone <- struct{}{}
	})
	n.Of("/refuses").Use(func(context.Context, *server.Socket) error { return errors.New("no") })
	p, _ := n.connect(t)
	before := n.Stats().Engine.StateBytes
	for range 2 {
		p.join("/room", `{"token":"x"}`)
		p.expect(`2/room,["ready"]`)
		if got := n.Stats().Engine.StateBytes - before; got < 1024+2*320 || got > 2000 {
			t.Errorf("a socket is charged %d bytes", got)
		}
		p.send("1/room,")
		await(t, gone)
		expectState(t, n, "after leaving", before)
	}
	p.send(`0/refuses,{"token":"x"}`)
	p.expect(`4/refuses,{"message":"internal error"}`)
	p.send(`0/none,{"token":"x"}`)
	p.expect(`4/none,{"message":"Invalid namespace"}`)
	expectState(t, n, "after refused ones", before)
}

// When all clients keep as much as the server allows, none of them can have more, and they go on.
func TestStateTotal(t *testing.T) {
	n := start(t, &server.Options{Engine: server.EngineOptions{StateTotal: 1 << 20}, MaxRooms: 1 << 20, MaxData: 1 << 30})
	n.OfPattern(regexp.MustCompile("^/"))
	p, s := n.connect(t)
	_, other := n.connect(t)
	keep := other.Conn()
	for keep.KeepState(60<<10) && s.Conn().KeepState(60<<10) {
		if n.Stats().Engine.Sessions != 2 {
			t.Fatal("somebody was ended")
		}
		if n.Stats().Engine.StateBytes > 900<<10 {
			break
		}
	}
	for i := range 1 << 12 {
		if err := s.Join(t.Context(), fmt.Sprint("room-", i)); err != nil {
			expectLimit(t, err, "StateTotal")
			break
		}
	}
	expectLimit(t, s.Data().Set("key", strings.Repeat("x", 1000)), "StateTotal")
	p.send(`0/one-more,{"a":"` + strings.Repeat("x", 1000) + `"}`)
	p.expect(`4/one-more,{"message":"Server is full"}`)
	if err := s.Emit("alive"); err != nil {
		t.Error(err)
	}
	p.expect(`2["alive"]`)
	if st := n.Stats(); st.Engine.Sessions != 2 || st.Engine.Limits["state_total"] == 0 {
		t.Errorf("%d sessions: %+v", st.Engine.Sessions, st.Engine.Limits)
	}
}

func TestMaxData(t *testing.T) {
	n := start(t, &server.Options{MaxData: 1000})
	_, s := n.connect(t)
	_, other := n.connect(t)
	before := n.Stats().Engine.StateBytes
	d := s.Data()
	if err := d.Set("a", strings.Repeat("x", 500)); err != nil {
		t.Fatal(err)
	}
	expectLimit(t, d.Set("b", strings.Repeat("x", 500)), `set "b": limit reached`)
	expectLimit(t, d.Set("a", strings.Repeat("x", 1000)), "at most 1000")
	var kept string
	if ok, err := d.Load("a", &kept); !ok || err != nil || len(kept) != 500 {
		t.Errorf("what was there is %d bytes long, %v", len(kept), err)
	}
	if err := errors.Join(d.Set("a", 1), d.Set("b", strings.Repeat("x", 500)), other.Data().Set("a", strings.Repeat("x", 500))); err != nil {
		t.Error(err)
	}
	d.Delete("a")
	d.Delete("b")
	other.Data().Delete("a")
	if got := n.Stats().Limits["data"]; got != 2 {
		t.Errorf("counted %d", got)
	}
	expectState(t, n, "after deleting", before)
}

func TestMaxPendingAcks(t *testing.T) {
	n := start(t, &server.Options{MaxPendingAcks: 3})
	silent, s := n.connect(t)
	good, _ := n.connect(t)
	var waiting sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 3 {
		waiting.Go(func() {
			if _, err := server.EmitWithAck[string](ctx, s, "silent"); !errors.Is(err, context.Canceled) {
				t.Errorf("a call that waited ended with %v", err)
			}
		})
	}
	for range 3 {
		silent.next()
	}
	_, err := server.EmitWithAck[string](ctx, s, "silent")
	expectLimit(t, err, "one more acknowledgement to wait for, at most 3")
	answers := make(chan error, 1)
	go func() {
		replies, err := server.BroadcastWithAck[string](t.Context(), n.Of("/").Local(), "question")
		if len(replies.Values) != 1 || replies.Values[0] != "answer" {
			t.Errorf("got %v", replies.Values)
		}
		answers <- err
	}()
	question := good.next() // 2ID["question"]
	good.send("3" + question[1:strings.IndexByte(question, '[')] + `["answer"]`)
	if err := await(t, answers); !errors.Is(err, server.ErrAckMissing) {
		t.Errorf("the broadcast ended with %v", err)
	}
	cancel()
	waiting.Wait()
	if got := n.Stats().Limits["pending_acks"]; got != 2 {
		t.Errorf("counted %d", got)
	}
}

// Namespaces that clients cause are bounded on the whole server; those that nobody is in make room.
func TestMaxDynamicNamespaces(t *testing.T) {
	n := start(t, &server.Options{MaxDynamicNamespaces: 5})
	parent := n.OfFunc(func(context.Context, string, json.RawMessage) bool { return true })
	n.Of("/static")
	abuser, good := n.websocket(t), n.websocket(t)
	good.join("/good", "")
	for i := range 20 {
		name := fmt.Sprint("/left-", i)
		abuser.join(name, "")
		abuser.send("1" + name + ",")
	}
	for i := range 4 {
		abuser.join(fmt.Sprint("/stays-", i), "")
	}
	good.send("0/one-more,")
	good.expect(`4/one-more,{"message":"Too many namespaces"}`)
	good.join("/static", "")
	good.join("/stays-1", "")
	if st := n.Stats(); st.Limits["dynamic_namespaces"] != 1 || st.Namespaces != 7 || len(parent.Children()) != 5 {
		t.Errorf("%d namespaces, %d children: %v", st.Namespaces, len(parent.Children()), st.Limits)
	}
	good.send(`2/good,["still there"]`)
	if _, ok := n.Of("/good").Socket("none"); ok || len(n.Of("/good").Sockets()) != 1 {
		t.Error("the first namespace has gone")
	}
}
