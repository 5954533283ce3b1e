package main

import (
	"log/slog"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

// TestBoardGathers has 10,000 users come within 20 seconds: the number of announcements must not follow theirs.
func TestBoardGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cluster adaptertest.Cluster
		srv, _ := node(t, &cluster, "n1", users.NewMemoryStore())
		var mu sync.Mutex
		var news []change
		b := &board{names: newNodeNames(srv), tell: func(c change) { mu.Lock(); defer mu.Unlock(); news = append(news, c) }}
		v := &view{complete: true, people: make(map[name]users.Present), rooms: make(map[name]int), newPeople: make(map[name][]string), newRooms: make(map[name]int)}
		b.view = v
		const many = 10_000
		for i := range many {
			p := users.Present{User: strconv.Itoa(i), Nodes: []server.NodeID{"n1"}, Sockets: 1}
			b.peopleChanged(v, &users.Change{Joined: []users.Present{p}, Users: i + 1, Sockets: i + 1})
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if len(news) > 40 {
			t.Errorf("%d announcements for %d users", len(news), many)
		}
		if last := news[len(news)-1]; last.Total != many || !last.Stale || last.Within < many {
			t.Errorf("the last announcement is %+v", last)
		}
		if l := v.list(b.names); len(l.Users) != maxListed || l.Total != many {
			t.Errorf("%d users of %d are listed", len(l.Users), l.Total)
		}
	})
}

// TestNews says only what is different from what was told.
func TestNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cluster adaptertest.Cluster
		srv, _ := node(t, &cluster, "n1", users.NewMemoryStore())
		b := &board{names: newNodeNames(srv), tell: func(change) {}}
		v := &view{complete: true, people: make(map[name]users.Present), rooms: make(map[name]int), newPeople: make(map[name][]string), newRooms: make(map[name]int)}
		at := func(user string, nodes ...server.NodeID) users.Present {
			return users.Present{User: user, Nodes: nodes}
		}
		in := func(room string) []users.Present { return []users.Present{{User: "x", Room: room}} }
		for _, step := range []struct {
			people, rooms users.Change
			want          change
		}{
			{users.Change{Joined: []users.Present{at("ann", "n1"), at("bob", "n2")}, Users: 2}, users.Change{Joined: in("#a")},
				change{Online: []person{{"ann", []string{"n1"}}, {"bob", []string{"n2"}}}, Rooms: []roomSize{{"#a", 1}}, condition: condition{Total: 2}}},
			{users.Change{Updated: []users.Present{at("bob", "n1", "n2")}, Users: 2}, users.Change{Joined: in("#a")},
				change{Online: []person{{"bob", []string{"n1", "n2"}}}, Rooms: []roomSize{{"#a", 2}}, condition: condition{Total: 2}}},
			{users.Change{Left: []users.Present{at("ann", "n1")}, Users: 1, Missing: []server.NodeID{"n3"}}, users.Change{Left: append(in("#a"), in("#a")...)},
				change{Offline: []name{"ann"}, Rooms: []roomSize{{"#a", 0}}, condition: condition{Total: 1, Missing: []string{"n3"}}}},
			{users.Change{Joined: []users.Present{at("eve", "n1")}, Left: []users.Present{at("eve", "n1")}, Users: 1, Incomplete: true}, users.Change{Joined: in("#")},
				change{condition: condition{Total: 1, Incomplete: true}}},
		} {
			b.peopleChanged(v, &step.people)
			b.roomsChanged(v, &step.rooms)
			if got, changed := v.news(b.names, 0); !changed || !reflect.DeepEqual(got, step.want) {
				t.Errorf("got %+v, %v, want %+v", got, changed, step.want)
			}
			if got, changed := v.news(b.names, 0); changed {
				t.Errorf("told twice: %+v", got)
			}
		}
	})
}

// node is a server with the chat app in a cluster.
func node(t *testing.T, cluster *adaptertest.Cluster, id server.NodeID, store adapter.UserStore) (*server.Server, *servertest.Server) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	srv, err := server.New(&server.Options{Adapter: cluster.Node(id), NodeName: string(id), DisableClientFiles: true, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := users.New(srv, users.Options{Store: store, Mixed: users.MixedOff, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	newChat(srv, dir, false)
	web := servertest.New(t, srv, nil)
	t.Cleanup(func() {
		if err := dir.Close(); err != nil {
			t.Error(err)
		}
	})
	return srv, web
}

func ask[T any](t *testing.T, s *servertest.Socket, event string, args ...any) (answer T) {
	t.Helper()
	if err := s.EmitWithAck(event, args...).Unmarshal(0, &answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestPresenceAcrossNodes has users on three nodes, one of which loses the others for a while, and one dies.
func TestPresenceAcrossNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cluster adaptertest.Cluster
		store := users.NewMemoryStore()
		_, one := node(t, &cluster, "n1", store)
		_, two := node(t, &cluster, "n2", store)
		dying, three := node(t, &cluster, "n3", store)
		time.Sleep(20 * time.Second)
		ann, bob, eve := one.Connect(t, "/", nil), two.Connect(t, "/", nil), three.Connect(t, "/", nil)
		at := func(user name, node string) person { return person{user, []string{node}} }

		ask[loggedIn](t, ann, "login", "ann")
		ask[loggedIn](t, bob, "login", "bob")
		want := listing{Users: []person{at("ann", "n1"), at("bob", "n2")}, Rooms: []roomSize{}, condition: condition{Total: 2}}
		if got := ask[listing](t, ann, "watch"); !reflect.DeepEqual(got, want) {
			t.Fatalf("watch answered %+v, want %+v", got, want)
		}
		ask[loggedIn](t, eve, "login", "eve")
		time.Sleep(time.Second)
		ann.Expect("presence", change{Online: []person{at("eve", "n3")}, condition: condition{Total: 3}})
		ask[membership](t, eve, "join", "#a")
		time.Sleep(time.Second)
		ann.Expect("presence", change{Rooms: []roomSize{{"#a", 1}}, condition: condition{Total: 3}})
		if got := ask[memberList](t, ann, "members", "#a"); !reflect.DeepEqual(got, memberList{"#a", []name{"eve"}, 1}) {
			t.Errorf("members are %+v", got)
		}
		for to, want := range map[string]delivery{"eve": {Online: true, Devices: 1}, "nobody": {}} {
			if got := ask[delivery](t, ann, "send", map[string]any{"to": to, "message": "hi"}); got != want {
				t.Errorf("to %s: %+v, want %+v", to, got, want)
			}
		}
		eve.Expect("receive", "hi", about{From: "ann"})

		// Alone, a node tells of its own users only, and serves them without waiting.
		cluster.Cut("n1")
		time.Sleep(time.Minute)
		start := time.Now()
		other := one.Connect(t, "/", nil)
		ask[loggedIn](t, other, "login", "joe")
		if got := ask[delivery](t, other, "send", map[string]any{"to": "ann", "message": "alone?"}); !got.Online || time.Since(start) > clusterPatience {
			t.Errorf("a message on the same node: %+v after %v", got, time.Since(start))
		}
		time.Sleep(time.Second)
		alone := ask[listing](t, ann, "watch")
		if !reflect.DeepEqual(alone.Users, []person{at("ann", "n1"), at("joe", "n1")}) || !alone.Alone {
			t.Errorf("alone: %+v", alone)
		}
		cluster.Heal("n1")
		time.Sleep(time.Minute)
		whole := ask[listing](t, ann, "watch")
		want = listing{Users: []person{at("ann", "n1"), at("bob", "n2"), at("eve", "n3"), at("joe", "n1")}, Rooms: []roomSize{{"#a", 1}}, condition: condition{Total: 4}}
		if !reflect.DeepEqual(whole, want) {
			t.Errorf("after the heal: %+v, want %+v", whole, want)
		}

		// A node that is gone takes its users with it.
		dying.Close()
		time.Sleep(time.Minute)
		if got := ask[listing](t, ann, "watch"); got.Total != 3 || len(got.Rooms) != 0 {
			t.Errorf("without n3: %+v", got)
		}
	})
}

// TestClusterView has one user look at where another one's message went.
func TestClusterView(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cluster adaptertest.Cluster
		store := users.NewMemoryStore()
		_, one := node(t, &cluster, "n1", store)
		_, two := node(t, &cluster, "n2", store)
		time.Sleep(20 * time.Second)
		ann, bob := one.Connect(t, "/", nil), two.Connect(t, "/", nil)
		ask[loggedIn](t, ann, "login", "ann")
		ask[loggedIn](t, bob, "login", "bob")
		ask[delivery](t, ann, "send", map[string]any{"to": "bob", "message": "not seen"})
		if v := ask[clusterView](t, bob, "cluster"); len(v.Trips) != 0 || len(v.Nodes) != 2 {
			t.Errorf("at first: %+v", v)
		}
		ask[delivery](t, ann, "send", map[string]any{"to": "bob", "message": "seen"})
		ask[delivery](t, bob, "send", map[string]any{"to": "#a", "message": "seen"})
		time.Sleep(lookPause)
		v := ask[clusterView](t, bob, "cluster")
		for i, n := range v.Nodes {
			if n.Users != 1 || n.Sockets != 1 || n.Self != (n.Name == "n2") || n.Self == (n.Trip != nil) || n.State != "alive" || n.Name != []string{"n1", "n2"}[i] {
				t.Errorf("node %+v", n)
			}
		}
		if len(v.Trips) != 2 {
			t.Fatalf("trips are %+v", v.Trips)
		}
		for _, trip := range v.Trips {
			if trip.All != (trip.From == "n2") || !trip.All && !reflect.DeepEqual(trip.To, []string{"n2"}) {
				t.Errorf("trip %+v", trip)
			}
		}
	})
}
