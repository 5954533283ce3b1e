package admin_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/admin"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// view is what a page would show: it follows what it is told as the npm package's page does.
type view struct {
	sockets map[string]*shown // by namespace and id
	rooms   map[string]map[string]int
	log     []string
}

type shown struct {
	ID, ClientID, Transport, Nsp string
	Data                         map[string]any
	Handshake                    struct {
		Address string
		Headers map[string]string
		Auth    any
	}
	Rooms []string
}

func newView() *view {
	return &view{sockets: make(map[string]*shown), rooms: make(map[string]map[string]int)}
}

func (v *view) room(nsp, name string) map[string]int {
	if v.rooms[nsp+" "+name] == nil {
		v.rooms[nsp+" "+name] = make(map[string]int)
	}
	return v.rooms[nsp+" "+name]
}

func (v *view) add(s *shown) {
	v.sockets[s.Nsp+" "+s.ID] = s
	for _, name := range s.Rooms {
		v.room(s.Nsp, name)[s.ID] = 1
	}
}

var isTime = regexp.MustCompile(`^2000-01-0\dT\d\d:\d\d:\d\d\.\d{3}Z$`)

// follow takes one event.
func (v *view) follow(t *testing.T, name, raw string) {
	t.Helper()
	var args []json.RawMessage
	read := func(i int, to any) {
		t.Helper()
		if err := json.Unmarshal(args[i], to); err != nil {
			t.Fatalf("%s%s: %v", name, raw, err)
		}
	}
	text := func(i int) (s string) { t.Helper(); read(i, &s); return s }
	timed := func() {
		t.Helper() // timestamps come last
		if !isTime.MatchString(text(len(args) - 1)) {
			t.Errorf("%s%s: no timestamp", name, raw)
		}
	}
	if err := json.Unmarshal([]byte(raw), &args); err != nil {
		t.Fatal(err)
	}
	switch name {
	case "all_sockets":
		var list []*shown
		read(0, &list)
		v.sockets, v.rooms = make(map[string]*shown), make(map[string]map[string]int)
		for _, s := range list {
			v.add(s)
		}
	case "socket_connected":
		timed()
		s := new(shown)
		read(0, s)
		v.add(s)
		v.log = append(v.log, "connect "+s.Nsp)
	case "socket_updated":
		var change shown
		read(0, &change)
		if s := v.sockets[change.Nsp+" "+change.ID]; s != nil {
			s.Transport = max(s.Transport, change.Transport)
			if change.Data != nil {
				s.Data = change.Data
			}
		}
	case "socket_disconnected":
		timed()
		delete(v.sockets, text(0)+" "+text(1))
		v.log = append(v.log, "disconnect "+text(0)+" "+text(2))
	case "room_joined":
		timed()
		if v.sockets[text(0)+" "+text(2)] != nil {
			v.room(text(0), text(1))[text(2)]++
		}
	case "room_left":
		timed()
		delete(v.room(text(0), text(1)), text(2))
	case "event_received", "event_sent":
		timed()
		v.log = append(v.log, fmt.Sprintf("%s %s %s", name, text(0), args[2]))
	}
}

// state is who is in which room, names for ids.
func (v *view) state(names map[string]string) string {
	var list []string
	for room, members := range v.rooms {
		var in []string
		for id, times := range members {
			if times != 1 {
				in = append(in, fmt.Sprintf("%s %d times", names[id], times))
			} else if names[id] != "" {
				in = append(in, names[id])
			}
		}
		if nsp, name, _ := strings.Cut(room, " "); len(in) > 0 && names[name] == "" {
			sort.Strings(in)
			list = append(list, nsp+" "+name+": "+strings.Join(in, ","))
		}
	}
	sort.Strings(list)
	return strings.Join(list, "; ")
}

// watch follows everything until nothing more comes for a while.
func (p *page) watch(v *view, n *node) {
	p.t.Helper()
	time.Sleep(5 * time.Second)
	if err := n.srv.Of("/admin").Local().Emit("until here"); err != nil {
		p.t.Fatal(err)
	}
	for {
		name, args := p.next()
		if name == "until here" {
			return
		}
		v.follow(p.t, name, args)
	}
}

// TestDevelopment follows sockets on two nodes from pages on both.
func TestDevelopment(t *testing.T) {
	bubble(t, admin.Options{Mode: admin.Development}, "a b", func(t *testing.T, nodes []*node) {
		names := make(map[string]string)
		for _, n := range nodes {
			n.srv.Of("/").OnConnection(func(ctx context.Context, s *server.Socket) {
				if err := s.Join(ctx, "lobby"); err != nil {
					t.Error(err)
				}
			})
			n.srv.Of("/").Handle("hello", server.FuncAck(func(_ context.Context, s *server.Socket, name string) (string, error) {
				return "hello " + name, s.Data().Set("name", name)
			}))
		}
		x := nodes[0].Connect(t, "/", map[string]string{"token": "secret"})
		names[x.ID()] = "x"
		header := http.Header{"Cookie": {"session=secret"}, "User-Agent": {"test"}}
		c := nodes[1].Dial(t, &servertest.DialOptions{Transport: server.TransportPolling, Header: header})
		y := c.Connect("/", nil)
		names[y.ID()] = "y"
		time.Sleep(time.Second)

		pages := []*page{nodes[0].open(t), nodes[1].open(t)}
		views := []*view{newView(), newView()}
		check := func(what, want string) {
			t.Helper()
			for i, v := range views {
				pages[i].watch(v, nodes[i])
				if got := v.state(names); got != want {
					t.Errorf("%s: page %d shows %q, want %q", what, i, got, want)
				}
			}
		}
		check("at first", "/ lobby: x,y")
		for i, v := range views {
			sx, sy := v.sockets["/ "+x.ID()], v.sockets["/ "+y.ID()]
			if sx == nil || sy == nil {
				t.Fatalf("page %d shows %v", i, v.sockets)
			}
			if sx.ClientID != x.Client().SID()[:12] || sy.ClientID != y.Client().SID()[:12] || sx.Transport != "websocket" || sy.Transport != "polling" {
				t.Errorf("page %d: connections %s %s, %s %s", i, sx.ClientID, sx.Transport, sy.ClientID, sy.Transport)
			}
			if sy.Handshake.Headers["user-agent"] != "test" || strings.Contains(asJSON(v.sockets), "secret") {
				t.Errorf("page %d: handshakes are %s", i, asJSON(v.sockets))
			}
		}
		s, _ := nodes[0].srv.Of("/").Socket(x.ID())
		if err := s.Join(t.Context(), "r1", "r2"); err != nil {
			t.Fatal(err)
		}
		check("joined", "/ lobby: x,y; / r1: x; / r2: x")
		s.Leave("r1", "lobby")
		if err := nodes[0].srv.Of("/").SocketsJoin("r3"); err != nil {
			t.Fatal(err)
		}
		check("left", "/ lobby: y; / r2: x; / r3: x,y")

		if got := y.EmitWithAck("hello", "Yan"); got.Len() != 1 {
			t.Errorf("%d arguments", got.Len())
		}
		if err := nodes[0].srv.Of("/").To("r3").Emit("news", 1, []byte{1}); err != nil {
			t.Fatal(err)
		}
		c.Upgrade()
		check("events", "/ lobby: y; / r2: x; / r3: x,y")
		for i, v := range views {
			if got := asJSON(v.sockets["/ "+y.ID()].Data); got != `{"name":"Yan"}` {
				t.Errorf("page %d: data %s", i, got)
			}
			if got := v.sockets["/ "+y.ID()].Transport; got != "websocket" {
				t.Errorf("page %d: transport %s after the upgrade", i, got)
			}
			want := map[string]int{`event_received / ["hello","Yan"]`: 1, `event_sent / ["news",1,{"_placeholder":true,"num":0}]`: 2}
			got := make(map[string]int)
			for _, line := range v.log {
				if strings.HasPrefix(line, "event") {
					got[line]++
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("page %d: events %v, want %v", i, got, want)
			}
		}
		x.Disconnect()
		c.Close()
		check("gone", "")
		for i, v := range views {
			if v.sockets["/ "+x.ID()] != nil || v.sockets["/ "+y.ID()] != nil {
				t.Errorf("page %d shows sockets that have gone", i)
			}
			for _, line := range []string{"disconnect / client namespace disconnect", "disconnect / transport close"} {
				if !slices.Contains(v.log, line) {
					t.Errorf("page %d was not told of %q: %q", i, line, v.log)
				}
			}
		}
	})
}

// TestDynamicNamespace is watched from its first socket on.
func TestDynamicNamespace(t *testing.T) {
	bubble(t, admin.Options{Mode: admin.Development}, "a", func(t *testing.T, nodes []*node) {
		nodes[0].srv.OfPattern(regexp.MustCompile(`^/room-\d+$`))
		p, v := nodes[0].open(t), newView()
		x := nodes[0].Connect(t, "/room-7", nil)
		x.Emit("hi")
		p.watch(v, nodes[0])
		if v.sockets["/room-7 "+x.ID()] == nil || !slices.Contains(v.log, `event_received /room-7 ["hi"]`) {
			t.Errorf("the page shows %v, %q", v.sockets, v.log)
		}
	})
}

// TestRoomsOfManyGoroutines ends with what is true.
func TestRoomsOfManyGoroutines(t *testing.T) {
	bubble(t, admin.Options{Mode: admin.Development}, "a", func(t *testing.T, nodes []*node) {
		p, v := nodes[0].open(t), newView()
		x := nodes[0].Connect(t, "/", nil)
		p.watch(v, nodes[0])
		s, _ := nodes[0].srv.Of("/").Socket(x.ID())
		var busy sync.WaitGroup
		for i := range 8 {
			busy.Go(func() {
				for j := range 50 {
					room := fmt.Sprint("r", (i+j)%5)
					if j%2 == 0 {
						_ = s.Join(t.Context(), room)
					} else {
						s.Leave(room)
					}
				}
			})
		}
		busy.Wait()
		p.watch(v, nodes[0])
		want := s.Rooms()
		sort.Strings(want)
		var got []string
		for room, members := range v.rooms {
			if n := members[x.ID()]; n == 1 {
				got = append(got, strings.TrimPrefix(room, "/ "))
			} else if n > 1 {
				t.Errorf("%s is shown %d times", room, n)
			}
		}
		sort.Strings(got)
		if !slices.Equal(got, want) {
			t.Errorf("the page shows the rooms %q, the socket is in %q", got, want)
		}
	})
}

// TestProductionTellsNothing of single sockets, and leaves their data alone.
func TestProductionTellsNothing(t *testing.T) {
	bubble(t, admin.Options{}, "a", func(t *testing.T, nodes []*node) {
		p := nodes[0].open(t)
		p.expect("config", "*")
		x := nodes[0].Connect(t, "/", nil)
		s, _ := nodes[0].srv.Of("/").Socket(x.ID())
		if err := s.Join(t.Context(), "r"); err != nil {
			t.Fatal(err)
		}
		x.Emit("event")
		if err := s.Data().Set("k", 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		nodes[0].srv.Of("/admin").Emit("end")
		p.expect("end")
		if keys := s.Data().Keys(); !slices.Equal(keys, []string{"k"}) {
			t.Errorf("the data of a socket has %q", keys)
		}
	})
}

// TestTooManySockets leaves out of the list what is too much.
func TestTooManySockets(t *testing.T) {
	bubble(t, admin.Options{Mode: admin.Development, MaxSockets: 5}, "a", func(t *testing.T, nodes []*node) {
		for _, nsp := range []string{"/big", "/small"} {
			nodes[0].srv.Of(nsp)
		}
		for range 6 {
			nodes[0].Connect(t, "/big", nil)
		}
		nodes[0].Connect(t, "/small", nil)
		time.Sleep(time.Second) // until everything about them has been told
		p, v := nodes[0].open(t), newView()
		p.watch(v, nodes[0])
		counts := make(map[string]int)
		for _, s := range v.sockets {
			counts[s.Nsp]++
		}
		if counts["/big"] != 0 || counts["/small"] != 1 {
			t.Errorf("listed are %v", counts)
		}
	})
}
