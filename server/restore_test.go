package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/parser"
)

const oldID = "abcdefghijklmnopqrst"

// event is a packet's payload.
func event(t testing.TB, name string, args ...any) parser.Payload {
	t.Helper()
	p, err := parser.MarshalEvent(name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func hadNothing(string) bool { return false }

// marked is the builder of an adapter whose broadcasts have their own text as offset.
var marked = adapter.BuilderFunc(func(local adapter.Local) (adapter.Adapter, error) {
	return adapter.NewMemory(marking{local}), nil
})

type marking struct{ adapter.Local }

func (m marking) Deliver(p *parser.Packet, sel adapter.Selection, flags adapter.Flags) {
	flags.Offset = string(p.JSON)
	m.Local.Deliver(p, sel, flags)
}

// TestRestore sends everything that can be sent to a socket while its missed packets are being fetched.
func TestRestore(t *testing.T) {
	n := start(t, &server.Options{Adapter: marked})
	main := n.Of("/")
	main.SetResume(func(auth []byte) *server.Restoration {
		if string(auth) != `{"pid":"p"}` {
			return nil
		}
		return &server.Restoration{ID: oldID, PID: "p", Rooms: []string{oldID, "r"}, Data: map[string]json.RawMessage{"name": []byte(`"x"`)},
			Missed: func(context.Context) (adapter.Missed, error) {
				s, ok := main.Socket(oldID)
				if !ok || s.Connected() {
					t.Fatal("the socket must be there and not connected")
				}
				for _, err := range []error{
					s.Volatile().Emit("volatile"), s.Emit("own", []byte{1}), main.To("r").Emit("room", 1), main.To("r").Emit("missed", 2),
					main.Volatile().Emit("volatile"), main.To(oldID).Emit("id"), main.Except("r").Emit("not"), main.To(oldID).SocketsLeave("r"),
					main.To("r").Emit("not"), main.SocketsJoin("q"), main.To("q").Emit("room", 3),
				} {
					if err != nil {
						t.Error(err)
					}
				}
				had := func(offset string) bool { return strings.HasPrefix(offset, `["missed"`) }
				return adapter.Missed{Events: []parser.Payload{event(t, "missed", 1, []byte{9}), event(t, "missed", 2)}, Had: had}, nil
			}}
	})
	main.Use(func(_ context.Context, s *server.Socket) error { return s.Emit("middleware") })
	main.OnConnection(func(_ context.Context, s *server.Socket) {
		var name string
		if _, err := s.Data().Load("name", &name); err != nil || s.ID() == oldID && name != "x" {
			t.Errorf("data %q, %v", name, err)
		}
		_ = s.Emit("welcome", s.Rooms())
	})
	p := n.websocket(t)
	p.send(`0{"pid":"p"}`)
	p.expect(`51-["missed",1,{"_placeholder":true,"num":0}]`, "b\x09", `2["missed",2]`, `0{"sid":"`+oldID+`","pid":"p"}`,
		`2["middleware"]`, `51-["own",{"_placeholder":true,"num":0}]`, "b\x01", `2["room",1]`, `2["id"]`, `2["room",3]`,
		`2["welcome",["`+oldID+`","q"]]`)
	if err := errors.Join(main.To("q").Emit("after", 1), main.Emit("missed", 2), main.To("q").Emit("after", 2)); err != nil {
		t.Error(err)
	}
	p.expect(`2["after",1]`, `2["after",2]`)
	fresh := n.websocket(t)
	fresh.send("0")
	fresh.expect(`2["middleware"]`)
}

// TestRestoreNothingTwice restores sockets again and again while others broadcast: each client gets each number once.
func TestRestoreNothingTwice(t *testing.T) {
	const senders, clients = 4, 40
	n := start(t, &server.Options{Adapter: marked})
	main := n.Of("/")
	var (
		mu  sync.Mutex
		log []parser.Payload // the i-th has the number i; the first 10 the clients have
	)
	number := func(offset string) int {
		var name string
		var i int
		if err := json.Unmarshal([]byte(offset), &[]any{&name, &i}); err != nil {
			t.Error(err)
		}
		if name != "n" {
			return math.MaxInt
		}
		return i
	}
	add := func() int {
		mu.Lock()
		defer mu.Unlock()
		log = append(log, event(t, "n", len(log)))
		return len(log) - 1
	}
	for range 10 {
		add()
	}
	main.SetResume(func(auth []byte) *server.Restoration {
		return &server.Restoration{ID: string(auth[len(`{"id":"`):][:20]), Rooms: []string{"r"},
			Missed: func(context.Context) (adapter.Missed, error) {
				mu.Lock()
				defer mu.Unlock()
				have := len(log)
				return adapter.Missed{Events: append([]parser.Payload(nil), log[10:]...), Had: func(offset string) bool { return number(offset) < have }}, nil
			}}
	})
	main.HandleAnyOutgoing(func(context.Context, *server.Socket, *server.Event) {}) // between selecting and sending
	stop := make(chan struct{})
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			pace := time.NewTicker(200 * time.Microsecond) // leaves the clients some of the processors
			defer pace.Stop()
			for {
				select {
				case <-stop:
					return
				case <-pace.C:
				}
				if err := main.To("r").Emit("n", add()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var peers []*peer
	for i := range clients {
		p := n.websocket(t)
		p.send(fmt.Sprintf(`0{"id":"%020d"}`, i))
		peers = append(peers, p)
	}
	eventually(t, "all are connected", func() bool { return n.Stats().Sockets == clients && n.Stats().Connecting == 0 })
	close(stop)
	sending.Wait()
	if err := main.Emit("end"); err != nil {
		t.Error(err)
	}
	for i, p := range peers {
		seen := make(map[string]int)
		connected := false
		for m := p.next(); m != `2["end"]`; m = p.next() {
			if strings.HasPrefix(m, "0") {
				connected = true
				continue
			}
			seen[m]++
		}
		for k := 10; k < len(log); k++ {
			if times := seen[fmt.Sprintf(`2["n",%d]`, k)]; times != 1 {
				t.Errorf("client %d got number %d of %d %d times", i, k, len(log), times)
			}
		}
		if !connected || len(seen) != len(log)-10 {
			t.Errorf("client %d: connected %v, %d numbers of %d", i, connected, len(seen), len(log)-10)
		}
	}
}

// TestRestoreFails: a client whose missed packets cannot be had, or whose id is in use, starts anew.
func TestRestoreFails(t *testing.T) {
	n := start(t, nil)
	main := n.Of("/")
	var middlewares int
	main.Use(func(context.Context, *server.Socket) error { middlewares++; return nil })
	reads := 0
	main.SetResume(func(auth []byte) *server.Restoration {
		r := &server.Restoration{ID: oldID, Rooms: []string{"r"}, Missed: func(context.Context) (adapter.Missed, error) {
			if reads++; reads == 1 {
				return adapter.Missed{}, errors.New("trimmed")
			}
			return adapter.Missed{Had: hadNothing}, nil
		}}
		return r
	})
	p := n.websocket(t)
	if sid := p.join("/", ""); sid == oldID || main.Sockets()[0].ID() != sid || n.Stats().Rooms != 0 || middlewares != 2 {
		t.Errorf("sid %s, %d middlewares, %+v", sid, middlewares, n.Stats())
	}
	again := n.websocket(t)
	if sid := again.join("/", ""); sid != oldID || n.Stats().Rooms != 1 {
		t.Errorf("sid %s, %+v", sid, n.Stats())
	}
	third := n.websocket(t)
	if sid := third.join("/", ""); sid == oldID || n.Stats().Rooms != 1 || n.Stats().Sockets != 3 {
		t.Errorf("sid %s, %+v", sid, n.Stats())
	}
}

// TestRestoreEnds ends a socket in several ways while its missed packets are being fetched. Nothing may stay behind, which
// the end of start checks.
func TestRestoreEnds(t *testing.T) {
	tests := []struct {
		name string
		end  func(n *node, p *peer, s *server.Socket)
		want []string // that the client gets; nil if the connection closes
	}{
		{"disconnect", func(n *node, _ *peer, s *server.Socket) { s.Disconnect() }, []string{`0{"sid":"` + oldID + `"}`, "1"}},
		{"cluster's disconnect", func(n *node, _ *peer, s *server.Socket) { _ = n.Of("/").To("r").DisconnectSockets() },
			[]string{`0{"sid":"` + oldID + `"}`, "1"}},
		{"disconnect of the client", func(n *node, _ *peer, s *server.Socket) { s.DisconnectClient() }, nil},
		{"client goes", func(n *node, p *peer, _ *server.Socket) { p.close() }, nil},
		{"too much is sent", func(n *node, _ *peer, s *server.Socket) {
			for range 3 {
				_ = n.Of("/").To("r").Emit("x", strings.Repeat("x", 400_000))
			}
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, stop := startInMemory(t, &server.Options{})
				main := n.Of("/")
				connections, ends := 0, 0
				main.OnConnection(func(context.Context, *server.Socket) { connections++ })
				main.OnDisconnect(func(context.Context, *server.Socket, server.Reason) { ends++ })
				release := make(chan struct{})
				main.SetResume(func([]byte) *server.Restoration {
					return &server.Restoration{ID: oldID, Rooms: []string{"r"},
						Missed: func(ctx context.Context) (adapter.Missed, error) {
							select {
							case <-release:
								return adapter.Missed{Had: hadNothing}, nil
							case <-ctx.Done():
								return adapter.Missed{}, ctx.Err()
							}
						}}
				})
				p := n.websocket(t)
				p.send("0")
				synctest.Wait()
				s, ok := main.Socket(oldID)
				if !ok {
					t.Fatal("the socket is not there")
				}
				tt.end(n, p, s)
				synctest.Wait()
				close(release)
				if tt.want != nil {
					p.expect(tt.want...)
				} else if rest := p.expectClosed(); len(rest) != 0 {
					t.Errorf("got %q", rest)
				}
				synctest.Wait()
				if st := n.Stats(); st.Sockets+st.Rooms+st.Connecting+st.Workers != 0 || connections != ends || connections > len(tt.want) {
					t.Errorf("%d connections, %d ends, %+v", connections, ends, st)
				}
				if err := s.Emit("x"); !errors.Is(err, server.ErrDisconnected) {
					t.Errorf("emit afterwards: %v", err)
				}
				p.close()
				stop()
			})
		})
	}
}

// TestRestoreSuspicion: a minute after the CONNECT packet nothing can come twice any more, and nobody is asked.
func TestRestoreSuspicion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, stop := startInMemory(t, &server.Options{Adapter: marked})
		main := n.Of("/")
		asked := 0
		main.SetResume(func([]byte) *server.Restoration {
			return &server.Restoration{ID: oldID, Missed: func(context.Context) (adapter.Missed, error) {
				return adapter.Missed{Had: func(string) bool { asked++; return asked == 1 }}, nil
			}}
		})
		p := n.websocket(t)
		p.join("/", "")
		for i := range 5 {
			if err := main.Emit("x", i); err != nil {
				t.Error(err)
			}
			time.Sleep(25 * time.Second)
		}
		p.expect(`2["x",1]`, `2["x",2]`, `2["x",3]`, `2["x",4]`)
		if asked != 4 {
			t.Errorf("asked %d times", asked)
		}
		p.close()
		stop()
	})
}

// placing delivers broadcasts before the history has them.
type placing struct {
	adapter.Local
	places map[string]*adapter.Place // by the text of the event
}

func (l placing) Deliver(p *parser.Packet, sel adapter.Selection, flags adapter.Flags) {
	flags.Place = l.places[string(p.JSON)]
	l.Local.Deliver(p, sel, flags)
}

// TestRestorePlaces: what a socket gets without offset while it is being restored, and what it has missed, is one if it has the place of it.
func TestRestorePlaces(t *testing.T) {
	places := map[string]*adapter.Place{`["late",1]`: {}, `["late",2]`: {}, `["late",3]`: {}}
	n := start(t, &server.Options{Adapter: adapter.BuilderFunc(func(local adapter.Local) (adapter.Adapter, error) {
		return adapter.NewMemory(placing{local, places}), nil
	})})
	main := n.Of("/")
	main.SetResume(func([]byte) *server.Restoration {
		return &server.Restoration{ID: oldID, PID: "p", Rooms: []string{oldID}, Missed: func(context.Context) (adapter.Missed, error) {
			must(t, main.Emit("late", 1), main.Emit("late", 2), main.Emit("late", 3))
			places[`["late",1]`].Set("5")
			places[`["late",2]`].Set("6")
			return adapter.Missed{Events: []parser.Payload{event(t, "late", 1)}, Had: func(offset string) bool { return offset == "5" }}, nil
		}}
	})
	p := n.websocket(t)
	p.send(`0{"pid":"p"}`)
	p.expect(`2["late",1]`, `0{"sid":"`+oldID+`","pid":"p"}`, `2["late",2]`, `2["late",3]`)
	must(t, main.Emit("after", 1))
	p.expect(`2["after",1]`)
}
