package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

func testFetchSockets(t *testing.T, c *cluster) {
	for _, tt := range []struct {
		sel   adapter.Selection
		flags adapter.Flags
		want  []string
	}{
		{adapter.Selection{}, adapter.Flags{}, c.everywhere("a", "b", "c")},
		{adapter.Selection{Rooms: []string{"blue"}}, adapter.Flags{}, c.everywhere("b")},
		{adapter.Selection{Except: []string{"red"}}, adapter.Flags{}, c.everywhere("c")},
		{adapter.Selection{}, adapter.Flags{Local: true}, []string{"a0", "b0", "c0"}},
	} {
		r, err := c.adapters[0].FetchSockets(patient(t), tt.sel, tt.flags)
		if err != nil || !r.Complete() {
			t.Fatalf("%v: error %v, %d nodes unanswered", tt.sel, err, r.Unanswered)
		}
		got := make(map[string]adapter.SocketDetails)
		for _, d := range r.Values {
			got[d.ID] = d
		}
		if !slices.Equal(ids(got), tt.want) || len(r.Values) != len(tt.want) {
			t.Errorf("%v: fetched %v, want %v", tt.sel, ids(got), tt.want)
		}
		for id, d := range got {
			if string(d.Handshake) != `{"url":"/`+id+`"}` || string(d.Data) != `{"name":"`+id+`"}` {
				t.Errorf("%s: handshake %s, data %s", id, d.Handshake, d.Data)
			}
			if rooms := c.sockets[id].Rooms(); !slices.Equal(d.Rooms, rooms) {
				t.Errorf("%s: rooms %v, want %v", id, d.Rooms, rooms)
			}
		}
	}
}

// testListSockets asks for the ids and the number of sockets, of an adapter that has an own way to tell them.
func testListSockets(t *testing.T, c *cluster) {
	l, ok := c.adapters[0].(adapter.Lister)
	if !ok {
		t.Skip("the adapter is no Lister: FetchSockets is asked in its place")
	}
	here := []string{"a0", "b0", "c0"}
	for _, tt := range []struct {
		sel     adapter.Selection
		flags   adapter.Flags
		want    []string
		numbers int
	}{
		{adapter.Selection{}, adapter.Flags{}, c.everywhere("a", "b", "c"), len(c.nodes)},
		{adapter.Selection{Rooms: []string{"red", "blue"}}, adapter.Flags{}, c.everywhere("a", "b"), len(c.nodes)},
		{adapter.Selection{Rooms: []string{"red"}, Except: []string{"blue"}}, adapter.Flags{}, c.everywhere("a"), len(c.nodes)},
		{adapter.Selection{Rooms: []string{"nobody"}}, adapter.Flags{}, nil, len(c.nodes)},
		{adapter.Selection{}, adapter.Flags{Local: true}, here, 1},
	} {
		named, err := l.SocketIDs(patient(t), tt.sel, tt.flags)
		slices.Sort(named.Values)
		if err != nil || !named.Complete() || !slices.Equal(named.Values, tt.want) {
			t.Errorf("%v: ids %v, %d nodes unanswered, error %v; want %v", tt.sel, named.Values, named.Unanswered, err, tt.want)
		}
		counted, err := l.CountSockets(patient(t), tt.sel, tt.flags)
		sum := 0
		for _, n := range counted.Values {
			sum += n
		}
		if err != nil || !counted.Complete() || sum != len(tt.want) || len(counted.Values) != tt.numbers {
			t.Errorf("%v: counted %v, %d nodes unanswered, error %v; want %d by %d nodes",
				tt.sel, counted.Values, counted.Unanswered, err, len(tt.want), tt.numbers)
		}
	}
}

// awaitRooms waits until a socket's membership of a room is as wanted.
func (c *cluster) awaitRooms(t *testing.T, id, room string, in bool) {
	t.Helper()
	s := c.sockets[id]
	s.node.await(t, fmt.Sprintf("%s in %s: %v", id, room, in), func() bool { return s.node.index.In(s, room) == in })
}

func testJoinLeave(t *testing.T, c *cluster) {
	a := c.adapters[0]
	if err := a.SocketsJoin(adapter.Selection{Rooms: []string{"blue"}}, adapter.Flags{}, []string{"green", "gold"}); err != nil {
		t.Fatal(err)
	}
	for _, id := range c.everywhere("b") {
		c.awaitRooms(t, id, "green", true)
		c.awaitRooms(t, id, "gold", true)
	}
	if err := a.SocketsLeave(adapter.Selection{Rooms: []string{"gold"}}, adapter.Flags{}, []string{"gold", "red"}); err != nil {
		t.Fatal(err)
	}
	for _, id := range c.everywhere("b") {
		c.awaitRooms(t, id, "gold", false)
		c.awaitRooms(t, id, "red", false)
	}
	if err := a.SocketsJoin(adapter.Selection{}, adapter.Flags{Local: true}, []string{"here"}); err != nil {
		t.Fatal(err)
	}
	c.awaitRooms(t, "c0", "here", true)
	c.fence(t)
	for i, n := range c.nodes {
		if i > 0 && n.HasRoom("here") {
			t.Errorf("a local join reached node %d", i)
		}
	}
	for _, id := range c.everywhere("a", "c") {
		if s := c.sockets[id]; s.node.index.In(s, "green") {
			t.Errorf("%s joined without being selected", id)
		}
	}
}

func testDisconnect(t *testing.T, c *cluster) {
	a := c.adapters[0]
	for _, tt := range []struct {
		room, letter string
		closeConn    bool
	}{{"blue", "b", true}, {"red", "a", false}} {
		if err := a.DisconnectSockets(adapter.Selection{Rooms: []string{tt.room}}, adapter.Flags{}, tt.closeConn); err != nil {
			t.Fatal(err)
		}
		for _, id := range c.everywhere(tt.letter) {
			s := c.sockets[id]
			s.node.await(t, id+" disconnected", func() bool { return slices.Equal(s.closing, []bool{tt.closeConn}) })
		}
	}
	if err := a.Broadcast(event(t, "/chat", "left"), adapter.Selection{}, adapter.Flags{}); err != nil {
		t.Fatal(err)
	}
	if got := ids(c.received(t)); !slices.Equal(got, c.everywhere("c")) {
		t.Errorf("after the disconnects %v were reached", got)
	}
}

func testServerSideEmit(t *testing.T, c *cluster) {
	const events = 5
	for i := range events {
		if err := c.adapters[0].ServerSideEmit(event(t, "/chat", "side", i).Payload); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range c.nodes[1:] {
		n.await(t, "server-side events", func() bool { return len(n.events) == events })
		for j, e := range n.events {
			if want := fmt.Sprintf(`["side",%d]`, j); e != want {
				t.Errorf("node %d got %s, want %s", i+1, e, want)
			}
		}
	}
	c.fence(t)
	c.nodes[0].await(t, "nothing of its own", func() bool { return len(c.nodes[0].events) == 0 })
}

func testServerSideEmitWithAck(t *testing.T, c *cluster) {
	var want []string
	for i, n := range c.nodes {
		answer := fmt.Sprint(i)
		n.mu.Lock()
		n.answer = func(parser.Payload) parser.Payload { return parser.Payload{JSON: []byte(answer)} }
		n.mu.Unlock()
		if i > 0 {
			want = append(want, answer)
		}
	}
	r, err := c.adapters[0].ServerSideEmitWithAck(patient(t), event(t, "/chat", "side").Payload)
	if err != nil || !r.Complete() {
		t.Fatalf("error %v, %d nodes unanswered", err, r.Unanswered)
	}
	var got []string
	for _, v := range r.Values {
		got = append(got, string(v.JSON))
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("answers %v, want %v", got, want)
	}
}

// testPartialResult asks for answers that one node does not give.
func testPartialResult(t *testing.T, c *cluster) {
	last := len(c.nodes) - 1
	for _, n := range c.nodes[:last] {
		n.mu.Lock()
		n.answer = func(parser.Payload) parser.Payload { return parser.Payload{JSON: []byte("1")} }
		n.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	r, err := c.adapters[0].ServerSideEmitWithAck(ctx, event(t, "/chat", "side").Payload)
	if last == 0 {
		if err != nil || !r.Complete() || len(r.Values) != 0 {
			t.Errorf("alone: %+v, error %v", r, err)
		}
		return
	}
	if !errors.Is(err, context.DeadlineExceeded) || len(r.Values) != last-1 || r.Unanswered != 1 || len(r.Missing) > 1 {
		t.Errorf("one node is silent: %+v, error %v", r, err)
	}
}

// testJoined sends to a room at once when a socket has joined it.
func testJoined(t *testing.T, c *cluster) {
	last := len(c.nodes) - 1
	ctx, s := patient(t), c.sockets[fmt.Sprint("c", last)]
	for i := range 10 {
		room := fmt.Sprint("fresh", i)
		s.node.index.Add(s, room)
		c.awaitJoined(ctx, t, c.adapters[last], []string{room})
		if err := c.adapters[0].Broadcast(event(t, "/chat", "welcome"), adapter.Selection{Rooms: []string{room}}, adapter.Flags{}); err != nil {
			t.Fatal(err)
		}
		if got := c.received(t); len(got) != 1 || len(got[s.id]) != 1 {
			t.Fatalf("to %s: received %v, want one packet at %s", room, got, s.id)
		}
		s.node.index.Remove(s, room)
	}
	if w, ok := c.adapters[last].(adapter.JoinWaiter); ok {
		s.node.index.Add(s, "hasty")
		over, cancel := context.WithCancel(ctx)
		cancel()
		if err := w.WaitJoined(over, []string{"hasty"}); err != nil && !errors.Is(err, adapter.ErrClusterUnavailable) {
			t.Errorf("no time to wait: error %v", err)
		}
	}
}

// testNodeLeaves closes the last node while another one asks for all sockets again and again.
func testNodeLeaves(t *testing.T, c *cluster) {
	last := len(c.nodes) - 1
	want := 3 * len(c.nodes)
	var wg sync.WaitGroup
	if last > 0 {
		want -= 3
		wg.Go(func() {
			if err := c.adapters[last].Close(); err != nil {
				t.Error(err)
			}
		})
	}
	for ctx, got := patient(t), 0; got != want; {
		r, err := c.adapters[0].FetchSockets(ctx, adapter.Selection{}, adapter.Flags{})
		if err != nil || !r.Complete() {
			t.Fatalf("error %v, %d nodes unanswered", err, r.Unanswered)
		}
		got = len(r.Values)
	}
	wg.Wait()
	c.awaitCount(t, 0, max(last, 1))
}

func testRooms(t *testing.T, c *cluster) {
	r, err := c.adapters[0].Rooms(patient(t))
	if err != nil || !r.Complete() {
		t.Fatalf("error %v, %d nodes unanswered", err, r.Unanswered)
	}
	want := append(c.everywhere("a", "b", "c"), "red", "blue")
	slices.Sort(want)
	slices.Sort(r.Values)
	if !slices.Equal(r.Values, want) {
		t.Errorf("rooms %v, want %v", r.Values, want)
	}
}

func testServerCount(t *testing.T, c *cluster) {
	for i, a := range c.adapters {
		if n, err := a.ServerCount(patient(t)); err != nil || n != len(c.nodes) {
			t.Errorf("node %d counts %d servers, error %v", i, n, err)
		}
	}
}

func testClose(t *testing.T, c *cluster) {
	a, ctx := c.adapters[0], patient(t)
	for range 2 {
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	p, sel, flags := event(t, "/chat", "late"), adapter.Selection{}, adapter.Flags{}
	calls := map[string]func() error{
		"Broadcast":        func() error { return a.Broadcast(p, sel, flags) },
		"BroadcastWithAck": func() error { _, err := a.BroadcastWithAck(ctx, p, sel, flags, &sink{t: t}); return err },
		"FetchSockets":     func() error { _, err := a.FetchSockets(ctx, sel, flags); return err },
		"SocketsJoin":      func() error { return a.SocketsJoin(sel, flags, []string{"late"}) },
		"SocketsLeave":     func() error { return a.SocketsLeave(sel, flags, []string{"red"}) },
		"Disconnect":       func() error { return a.DisconnectSockets(sel, flags, false) },
		"ServerSideEmit":   func() error { return a.ServerSideEmit(p.Payload) },
		"ServerSideAck":    func() error { _, err := a.ServerSideEmitWithAck(ctx, p.Payload); return err },
		"Rooms":            func() error { _, err := a.Rooms(ctx); return err },
		"ServerCount":      func() error { _, err := a.ServerCount(ctx); return err },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("%s after Close: error %v", name, err)
		}
	}
	s := c.sockets["a0"]
	if rooms := s.Rooms(); !slices.Equal(rooms, []string{"a0", "red"}) || len(s.closing) != 0 {
		t.Errorf("after Close a socket was changed: rooms %v", rooms)
	}
	for _, got := range s.take() {
		if !strings.Contains(got.Text, `"fence"`) { // of the start
			t.Errorf("after Close a socket got %v", got)
		}
	}
}

func testCloseEndsCalls(t *testing.T, c *cluster) {
	silent := c.sockets["a0"]
	var wg sync.WaitGroup
	wg.Go(func() {
		s := &sink{t: t}
		_, err := c.adapters[0].BroadcastWithAck(context.Background(), event(t, "/chat", "ask"), adapter.Selection{Rooms: []string{"a0"}}, adapter.Flags{}, s)
		s.end()
		if !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("error %v", err)
		}
	})
	c.nodes[0].await(t, "the question", func() bool { return len(silent.waiting) == 1 })
	if err := c.adapters[0].Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
}
