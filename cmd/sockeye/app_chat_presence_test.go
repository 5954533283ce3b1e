package main

import (
	"context"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

func TestDifference(t *testing.T) {
	before := count([]present{{user: "ann", node: "n1", rooms: []name{"#a", "#b"}}, {user: "bob", node: "n1"}, {user: "eve", node: "n1", rooms: []name{"#a"}}})
	now := count([]present{{user: "ann", node: "n1", rooms: []name{"#a"}}, {user: "bob", node: "n2", rooms: []name{"#c"}}})
	for _, tc := range []struct {
		what        string
		before, now *census
		want        change
		changed     bool
	}{
		{"come, gone and moved", before, now, change{
			Online: []person{{"bob", []string{"n2"}}}, Offline: []name{"eve"}, Total: 2,
			Rooms: []roomSize{{"#a", 1}, {"#b", 0}, {"#c", 1}},
		}, true},
		{"nothing", now, now, change{Total: 2}, false},
		{"the others are lost", now, &census{alone: true, users: now.users, rooms: now.rooms}, change{Total: 2, Alone: true}, true},
	} {
		if got, changed := difference(tc.before, tc.now, time.Second); changed != tc.changed || !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: got %+v, %v, want %+v, %v", tc.what, got, changed, tc.want, tc.changed)
		}
	}
	var many []present
	for i := range maxChanges + 1 {
		many = append(many, present{user: name(strconv.Itoa(i))})
	}
	want := change{Total: maxChanges + 1, Stale: true, Within: 3000}
	if got, changed := difference(count(nil), count(many), 3*time.Second); !changed || !reflect.DeepEqual(got, want) {
		t.Errorf("too many: got %+v, %v, want %+v", got, changed, want)
	}
}

func TestWithMissing(t *testing.T) {
	before := count([]present{
		{user: "ann", node: "n1"}, {user: "bob", node: "n1"}, {user: "eve", node: "n2", rooms: []name{"#a"}}, {user: "joe"},
	})
	now := count([]present{{user: "ann", node: "n1"}, {user: "new", node: "n3", rooms: []name{"#a"}}})
	got := now.withMissing(before)
	var users []name
	for _, p := range got.users {
		users = append(users, p.User)
	}
	if want := []name{"ann", "eve", "joe", "new"}; !slices.Equal(users, want) {
		t.Errorf("got %q, want %q: bob's node did answer", users, want)
	}
	if room := got.rooms["#a"].users; !slices.Equal(room, []name{"eve", "new"}) {
		t.Errorf("in the room are %q", room)
	}
	if len(now.rooms["#a"].users) != 1 {
		t.Error("the census itself was changed")
	}
}

// TestBoardGathers logs in 10,000 users within 20 seconds: the number of announcements must not follow theirs.
func TestBoardGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var sockets []present
		var asked, hints int
		var news []change
		b := &board{
			ask: func(context.Context, time.Time) (*census, error) {
				mu.Lock()
				defer mu.Unlock()
				asked++
				c := count(sockets)
				c.complete, c.at = true, time.Now()
				return c, nil
			},
			nodes:     func(context.Context) (int, error) { return 1, nil },
			tellNodes: func() { mu.Lock(); defer mu.Unlock(); hints++ },
			tell:      func(c change) { mu.Lock(); defer mu.Unlock(); news = append(news, c) },
		}
		b.enter()
		const users = 10_000
		for i := range users {
			mu.Lock()
			sockets = append(sockets, present{user: name(strconv.Itoa(i)), node: "n"})
			mu.Unlock()
			b.note()
			time.Sleep(2 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		mu.Lock()
		if len(news) > 20 || asked > 30 || hints > 20 {
			t.Errorf("%d announcements, %d questions and %d hints for %d users", len(news), asked, hints, users)
		}
		if last := news[len(news)-1]; last.Total != users {
			t.Errorf("the last announcement is %+v", last)
		}
		asked = 0
		mu.Unlock()
		b.leave()
		time.Sleep(time.Hour)
		b.note()
		time.Sleep(time.Hour)
		if asked != 0 {
			t.Errorf("%d questions while nobody watches", asked)
		}
	})
}

// node is a server with the chat app in a cluster.
func node(t *testing.T, cluster *adaptertest.Cluster, id server.NodeID) (*server.Server, *servertest.Server) {
	t.Helper()
	srv, err := server.New(&server.Options{Adapter: cluster.Node(id), DisableClientFiles: true})
	if err != nil {
		t.Fatal(err)
	}
	newChat(srv)
	return srv, servertest.New(t, srv, nil)
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
		_, one := node(t, &cluster, "n1")
		_, two := node(t, &cluster, "n2")
		dying, three := node(t, &cluster, "n3")
		ann, bob, eve := one.Connect(t, "/", nil), two.Connect(t, "/", nil), three.Connect(t, "/", nil)
		at := func(user name, node string) person { return person{user, []string{node}} }

		ask[loggedIn](t, ann, "login", "ann")
		ask[loggedIn](t, bob, "login", "bob")
		want := listing{Users: []person{at("ann", "n1"), at("bob", "n2")}, Total: 2, Rooms: []roomSize{}}
		if got := ask[listing](t, ann, "watch"); !reflect.DeepEqual(got, want) {
			t.Fatalf("watch answered %+v, want %+v", got, want)
		}
		// A change on another node is told within its own wait and this node's.
		ask[loggedIn](t, eve, "login", "eve")
		ask[membership](t, eve, "join", "#a")
		time.Sleep(3 * minPresenceWait)
		ann.Expect("presence", change{Online: []person{at("eve", "n3")}, Rooms: []roomSize{{"#a", 1}}, Total: 3})
		if got := ask[delivery](t, ann, "send", map[string]any{"to": "eve", "message": "hi"}); !got.Online {
			t.Error("a message to another node found nobody")
		}
		eve.Expect("receive", "hi", about{From: "ann"})

		// Alone, a node tells of its own users only, and serves them without waiting.
		cluster.Cut("n1")
		time.Sleep(unsureAge + maxViewAge)
		ann.Expect("presence", change{Offline: []name{"bob", "eve"}, Rooms: []roomSize{{"#a", 0}}, Total: 1, Alone: true})
		start := time.Now()
		other := one.Connect(t, "/", nil)
		ask[loggedIn](t, other, "login", "joe")
		if got := ask[delivery](t, other, "send", map[string]any{"to": "ann", "message": "alone?"}); !got.Online || time.Since(start) > 0 {
			t.Errorf("a message on the same node: %+v after %v", got, time.Since(start))
		}
		ann.Expect("receive", "alone?", about{From: "joe"})
		time.Sleep(3 * minPresenceWait)
		ann.Expect("presence", change{Online: []person{at("joe", "n1")}, Total: 2, Alone: true})
		cluster.Heal("n1")
		time.Sleep(maxViewAge + pulse)
		ann.Expect("presence", change{Online: []person{at("bob", "n2"), at("eve", "n3")}, Rooms: []roomSize{{"#a", 1}}, Total: 4})

		// What a node that does not answer is not forgotten at once, but in the end.
		cluster.Cut("n3")
		time.Sleep(2*maxViewAge + silence)
		ann.Expect("presence", change{Offline: []name{"eve"}, Rooms: []roomSize{{"#a", 0}}, Total: 3})
		cluster.Heal("n3")
		time.Sleep(2 * unsureAge)
		ann.Expect("presence", change{Online: []person{at("eve", "n3")}, Rooms: []roomSize{{"#a", 1}}, Total: 4})

		// A node that is gone takes its users with it.
		dying.Close()
		time.Sleep(2 * pulse)
		ann.Expect("presence", change{Offline: []name{"eve"}, Rooms: []roomSize{{"#a", 0}}, Total: 3})
	})
}
