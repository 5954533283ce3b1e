package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/server"
)

func TestBroadcast(t *testing.T) {
	n := start(t, nil)
	main := n.Of("/")
	a, sa := n.connect(t)
	b, sb := n.connect(t)
	c, sc := n.connect(t)
	ctx := t.Context()
	if err := errors.Join(sa.Join(ctx, "red"), sb.Join(ctx, "red", "blue"), sc.Join(ctx, sc.ID())); err != nil {
		t.Fatal(err)
	}
	type emit = func(event string, args ...any) error
	tests := []struct {
		name string
		emit emit
		want string
	}{
		{"namespace", main.Emit, "abc"},
		{"room", main.To("red").Emit, "ab"},
		{"rooms", main.To("red", "blue").Emit, "ab"},
		{"chained", main.To("blue").In(sc.ID()).Emit, "bc"},
		{"except", main.Except("blue").Emit, "ac"},
		{"room except id", main.To("red").Except(sa.ID()).Emit, "b"},
		{"local", main.Local().Emit, "abc"},
		{"uncompressed", main.Compress(false).Emit, "abc"},
		{"unknown", main.To("green").Emit, ""},
		{"socket broadcast", sa.Broadcast().Emit, "bc"},
		{"socket to", sa.To("red").Emit, "b"},
		{"socket in own room", sa.In(sa.ID()).Emit, ""},
		{"socket except", sa.Except("blue").Emit, "c"},
		{"socket local", sa.Local().Emit, "bc"},
		{"emission", sa.Compress(false).Broadcast().Emit, "bc"},
		{"unicast", sb.Emit, "b"},
		{"unicast uncompressed", sb.Compress(false).Emit, "b"},
	}
	for _, tt := range tests {
		if err := tt.emit(tt.name, 1); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err := main.Emit("fence"); err != nil {
			t.Fatal(err)
		}
		var got string
		for name, p := range map[string]*peer{"a": a, "b": b, "c": c} {
			for m := p.next(); m != `2["fence"]`; m = p.next() {
				if want := fmt.Sprintf(`2["%s",1]`, tt.name); m != want {
					t.Errorf("%s: %s got %s", tt.name, name, m)
				}
				got += name
			}
		}
		if sorted := sortedLetters(got); sorted != tt.want {
			t.Errorf("%s: reached %q, want %q", tt.name, sorted, tt.want)
		}
	}
}

func sortedLetters(s string) string {
	letters := strings.Split(s, "")
	slices.Sort(letters)
	return strings.Join(letters, "")
}

// TestOperatorImmutable derives operators from one another in ways that would show a shared backing array.
func TestOperatorImmutable(t *testing.T) {
	n := start(t, nil)
	p, s := n.connect(t)
	if err := s.Join(t.Context(), "r1", "r4"); err != nil {
		t.Fatal(err)
	}
	base := n.Of("/").To("x1", "x2", "x3").Except("y1")
	hit, miss := base.To("r1"), base.To("none")
	_ = base.Except("r4").Volatile().Local().Compress(false)
	if err := errors.Join(miss.Emit("miss"), hit.Emit("hit"), base.Emit("base"), s.Emit("end")); err != nil {
		t.Fatal(err)
	}
	p.expect(`2["hit"]`, `2["end"]`)
}

func TestSocketsJoinLeaveDisconnect(t *testing.T) {
	n := start(t, nil)
	main := n.Of("/")
	a, sa := n.connect(t)
	b, _ := n.connect(t)
	if err := errors.Join(main.SocketsJoin("all"), main.In(sa.ID()).SocketsJoin("only a"), main.Except("only a").SocketsLeave("all")); err != nil {
		t.Fatal(err)
	}
	rooms, err := main.Rooms(t.Context())
	if err != nil || len(rooms.Values) != 4 {
		t.Errorf("rooms %v, %v", rooms, err)
	}
	if got := sa.Rooms(); !slices.Equal(got, []string{sa.ID(), "all", "only a"}) {
		t.Errorf("rooms of a: %v", got)
	}
	if err := main.In("all").DisconnectSockets(); err != nil {
		t.Fatal(err)
	}
	a.expect("1")
	a.join("/", "")
	if err := main.DisconnectClients(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*peer{a, b} {
		if rest := p.expectClosed(); !slices.Equal(rest, []string{"1"}) {
			t.Errorf("got %v before the end", rest)
		}
	}
	if count, err := main.ServerCount(t.Context()); count != 1 || err != nil {
		t.Errorf("%d servers, %v", count, err)
	}
}

// TestPublishOrder lets 16 goroutines emit text and binary events to one socket, half of them as broadcasts.
func TestPublishOrder(t *testing.T) {
	n := start(t, nil)
	p, s := n.connect(t)
	const publishers, events = 16, 100
	var wg sync.WaitGroup
	for g := range publishers {
		wg.Go(func() {
			emit := s.Emit
			if g%2 == 0 {
				emit = n.Of("/").To(s.ID()).Emit
			}
			for i := range events {
				var err error
				if i%2 == 0 {
					err = emit("n", g, i)
				} else {
					err = emit("n", g, i, []byte{byte(g), byte(i)})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	next := make([]int, publishers)
	for range publishers * events {
		text := p.next()
		var g, i int
		binary := strings.HasPrefix(text, "51-")
		if _, err := fmt.Sscanf(strings.TrimPrefix(strings.TrimPrefix(text, "51-"), "2"), `["n",%d,%d`, &g, &i); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if i != next[g] || binary != (i%2 == 1) {
			t.Fatalf("publisher %d: got event %d, want %d", g, i, next[g])
		}
		next[g]++
		if binary {
			p.expect("b" + string([]byte{byte(g), byte(i)}))
		}
	}
	wg.Wait()
}

// TestRoomOrder checks that all sockets of a room see concurrent broadcasts in one order.
func TestRoomOrder(t *testing.T) {
	n := start(t, nil)
	var peers []*peer
	for range 4 {
		p, s := n.connect(t)
		if err := s.Join(t.Context(), "room"); err != nil {
			t.Fatal(err)
		}
		peers = append(peers, p)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 50 {
				op := n.Of("/").To("room")
				switch g % 4 {
				case 1:
					op = n.Of("/").Except("x")
				case 2:
					op = op.To("other")
				}
				if err := op.Emit("n", g, i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for range 8 * 50 {
		want := peers[0].next()
		for _, p := range peers[1:] {
			p.expect(want)
		}
	}
}

// TestConnectBeforeBroadcast joins under a storm of broadcasts: the first packet must be CONNECT.
func TestConnectBeforeBroadcast(t *testing.T) {
	n := start(t, nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = n.Of("/").Emit("storm")
			}
		}
	})
	for range 50 {
		p := n.websocket(t)
		p.join("/", "")
		p.close()
	}
	close(stop)
	wg.Wait()
}

func TestBinaryBroadcast(t *testing.T) {
	n := start(t, nil)
	n.Of("/").Handle("echo", server.Func(func(ctx context.Context, s *server.Socket, a server.Args) error {
		return s.Namespace().Emit("echoed", a)
	}))
	a, _ := n.connect(t)
	b, _ := n.connect(t)
	data := bytes.Repeat([]byte{1, 2, 3, 4}, 1000)
	a.send(`52-["echo",{"k":{"_placeholder":true,"num":1}},{"_placeholder":true,"num":0}]`)
	a.write(ws.OpBinary, "zero")
	a.write(ws.OpBinary, string(data))
	for _, p := range []*peer{a, b} {
		p.expect(`52-["echoed",{"k":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1}]`, "b"+string(data), "bzero")
	}
}
