package users_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

// watch follows a group and keeps what it is told.
type watch struct {
	w  *world
	mu sync.Mutex
	// Guarded by mu.
	changes []users.Change
	seen    map[string]users.Present
}

func (w *world) watch(ctx context.Context, g users.Group) *watch {
	w.t.Helper()
	v := &watch{w: w, seen: make(map[string]users.Present)}
	if err := g.Watch(ctx, v.take); err != nil {
		w.t.Fatal(err)
	}
	return v
}

func keyOf(p users.Present) string { return p.User + p.Room }

func (v *watch) take(c users.Change) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.changes = append(v.changes, c)
	for _, p := range c.Joined {
		if _, ok := v.seen[keyOf(p)]; ok {
			v.w.t.Errorf("%s has joined twice", keyOf(p))
		}
		v.seen[keyOf(p)] = p
	}
	for _, p := range c.Left {
		if _, ok := v.seen[keyOf(p)]; !ok {
			v.w.t.Errorf("%s has left and was not there", keyOf(p))
		}
		delete(v.seen, keyOf(p))
	}
	for _, p := range c.Updated {
		if _, ok := v.seen[keyOf(p)]; !ok {
			v.w.t.Errorf("%s is updated and is not there", keyOf(p))
		}
		v.seen[keyOf(p)] = p
	}
	if len(v.seen) != c.Users {
		v.w.t.Errorf("%d users are there, the change says %d", len(v.seen), c.Users)
	}
}

// news returns what was told since the last call, in short: "+ann@a,b", "-bob", "~ann@a", "missing c".
func (v *watch) news() string {
	time.Sleep(3 * time.Second)
	synctest.Wait()
	v.mu.Lock()
	defer v.mu.Unlock()
	var words []string
	for _, c := range v.changes {
		for _, p := range c.Joined {
			words = append(words, "+"+brief(p))
		}
		for _, p := range c.Left {
			words = append(words, "-"+keyOf(p))
		}
		for _, p := range c.Updated {
			words = append(words, "~"+brief(p))
		}
		if len(c.Missing) > 0 {
			words = append(words, "missing "+join(c.Missing))
		}
	}
	v.changes = nil
	return strings.Join(words, " ")
}

func brief(p users.Present) string { return keyOf(p) + "@" + join(p.Nodes) }

func join(nodes []adapter.NodeID) string {
	var names []string
	for _, n := range nodes {
		names = append(names, string(n))
	}
	return strings.Join(names, ",")
}

func (v *watch) expect(want string) {
	v.w.t.Helper()
	if got := v.news(); got != want {
		v.w.t.Errorf("watcher was told %q, want %q", got, want)
	}
}

// list shows who is in a group, by Users, and checks Count against it.
func (w *world) list(g users.Group) string {
	w.t.Helper()
	p, err := g.Users(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := g.Count(w.t.Context())
	if err != nil || c.Users != len(p.Users) || c.Sockets != p.Sockets || !slices.Equal(c.Missing, p.Missing) {
		w.t.Errorf("count says %+v, error %v, the list %+v", c, err, p)
	}
	var words []string
	for _, u := range p.Users {
		words = append(words, fmt.Sprintf("%s*%d", brief(u), u.Sockets))
	}
	if len(p.Missing) > 0 {
		words = append(words, "missing "+join(p.Missing))
	}
	return strings.Join(words, " ")
}

func mustJoin(t *testing.T, s *server.Socket, rooms ...string) {
	t.Helper()
	if err := s.Join(t.Context(), rooms...); err != nil {
		t.Fatal(err)
	}
}

func TestPresenceIsAsked(t *testing.T) {
	bubble(t, users.Options{}, "a b c", func(t *testing.T, w *world) {
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		_, ann := a.bind("ann")
		_, _ = a.bind("ann")
		_, annB := b.bind("ann")
		bobClient, bob := c.bind("bob")
		_, stranger := c.connect()
		mustJoin(t, ann, "#x", "#y")
		mustJoin(t, annB, "#x")
		mustJoin(t, bob, "#y")
		mustJoin(t, stranger, "#x")
		if err := b.dir.Bind(t.Context(), annB, "ann", map[string]int{"age": 7}); err != nil {
			t.Fatal(err)
		}
		for _, n := range w.nodes {
			for what, g := range map[string]users.Group{
				"ann@a,b*3 bob@c*1":               n.dir.Everyone(),
				"ann@a,b*2":                       n.dir.Room("#x"),
				"ann@a*1 bob@c*1":                 n.dir.Room("#y"),
				"ann#x@a,b*2 ann#y@a*1 bob#y@c*1": n.dir.RoomsWith("#"),
				"":                                n.dir.Room("#z"),
			} {
				if got := w.list(g); got != what {
					t.Errorf("on %s: got %q, want %q", n.name, got, what)
				}
			}
		}
		p, err := c.dir.Everyone().Users(t.Context())
		if err != nil || string(p.Users[0].Info) != `{"age":7}` {
			t.Errorf("info %s, error %v", p.Users[0].Info, err)
		}
		w.cluster.Cut("b")
		if got, want := w.list(a.dir.Everyone()), "ann@a*2 bob@c*1 missing b"; got != want {
			t.Errorf("without b: %q, want %q", got, want)
		}
		w.cluster.Heal("b")
		leave(bobClient)
		w.settle()
		if got, want := w.list(a.dir.Everyone()), "ann@a,b*3"; got != want {
			t.Errorf("in the end: %q, want %q", got, want)
		}
	})
}

func TestPresenceIsWatched(t *testing.T) {
	bubble(t, users.Options{}, "a b c", func(t *testing.T, w *world) {
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		_, ann := a.bind("ann")
		mustJoin(t, ann, "#x")
		room, all := w.watch(t.Context(), a.dir.Room("#x")), w.watch(t.Context(), c.dir.Everyone())
		room.expect("+ann@a")
		all.expect("+ann@a")
		second, annB := b.bind("ann")
		mustJoin(t, annB, "#x")
		room.expect("~ann@a,b")
		all.expect("~ann@a,b")
		_, annA := a.bind("ann") // one more socket is no news
		mustJoin(t, annA, "#x")
		room.expect("")
		ann.Leave("#x")
		room.expect("")
		annA.Leave("#x")
		room.expect("~ann@b")
		leave(second)
		room.expect("-ann")
		all.expect("~ann@a")

		// Who joins before the login is there after it; another user on the same socket takes the place.
		_, late := c.connect()
		mustJoin(t, late, "#x")
		room.expect("")
		for _, user := range []string{"eve", "mia"} {
			if err := c.dir.Bind(t.Context(), late, user, nil); err != nil {
				t.Fatal(err)
			}
		}
		room.expect("+mia@c")
		if err := c.dir.Bind(t.Context(), late, "mia", "new"); err != nil {
			t.Fatal(err)
		}
		room.expect("~mia@c")
		if err := c.dir.Unbind(t.Context(), late); err != nil {
			t.Fatal(err)
		}
		room.expect("-mia")
	})
}

// TestPresenceThroughFaults cuts, freezes and kills nodes under a watcher.
func TestPresenceThroughFaults(t *testing.T) {
	bubble(t, users.Options{}, "a b c", func(t *testing.T, w *world) {
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		a.bind("ann")
		b.bind("bob")
		c.bind("bob")
		c.bind("eve")
		v := w.watch(t.Context(), a.dir.Everyone())
		v.expect("+ann@a +bob@b,c +eve@c")
		w.cluster.Cut("c")
		time.Sleep(time.Minute)
		v.expect("-eve ~bob@b missing c")
		c.bind("zoe") // the store takes it; nobody can ask the node
		w.cluster.Heal("c")
		time.Sleep(time.Minute)
		if got := v.news(); !strings.Contains(got, "+eve@c") || !strings.Contains(got, "+zoe@c") || !strings.Contains(got, "~bob@b,c") {
			t.Errorf("after the heal: %q", got)
		}
		w.cluster.Kill("b")
		time.Sleep(10 * time.Minute)
		if got := v.news(); !strings.Contains(got, "~bob@c") {
			t.Errorf("after the death of a node: %q", got)
		}
		w.start("d").bind("dan")
		if got := v.news(); !strings.HasSuffix(got, "+dan@d") {
			t.Errorf("a node that comes: %q", got)
		}
	})
}

// TestPresenceAfterLoss loses what a node says while nobody notices that it is away.
func TestPresenceAfterLoss(t *testing.T) {
	bubble(t, users.Options{}, "a b", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		v := w.watch(t.Context(), a.dir.Everyone())
		for i := range 5 {
			w.cluster.Cut("b")
			client, _ := b.connect()
			s, _ := b.srv.Of("/").Socket(client.ID())
			_ = b.dir.Bind(t.Context(), s, fmt.Sprintf("user%d", i), nil)
			time.Sleep(300 * time.Millisecond)
			w.cluster.Heal("b")
			time.Sleep(time.Duration(i) * time.Second)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		v.mu.Lock()
		defer v.mu.Unlock()
		if len(v.seen) != 5 {
			t.Errorf("%d of 5 users are seen", len(v.seen))
		}
	})
}

// TestPresenceEnds has the last watcher go: the other node forgets it.
func TestPresenceEnds(t *testing.T) {
	bubble(t, users.Options{}, "a b", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		ctx, cancel := context.WithCancel(t.Context())
		v := w.watch(ctx, a.dir.Room("#x"))
		_, s := b.bind("bob")
		mustJoin(t, s, "#x")
		v.expect("+bob@b")
		cancel()
		time.Sleep(time.Minute)
		s.Leave("#x")
		v.expect("")
		if n := b.dir.Stats().Watched; n != 0 {
			t.Errorf("%d groups are watched still", n)
		}
	})
}

// TestPresenceMatchesTruth moves many users at random and compares in the end.
func TestPresenceMatchesTruth(t *testing.T) {
	bubble(t, users.Options{}, "a b c", func(t *testing.T, w *world) {
		v, rooms := w.watch(t.Context(), w.nodes["a"].dir.Everyone()), w.watch(t.Context(), w.nodes["b"].dir.RoomsWith("#"))
		random := rand.New(rand.NewPCG(1, 2))
		type one struct {
			c    *servertest.Socket
			s    *server.Socket
			node *node
		}
		var open []one
		nodes := []*node{w.nodes["a"], w.nodes["b"], w.nodes["c"]}
		for range 300 {
			switch n := nodes[random.IntN(3)]; {
			case len(open) < 10 || random.IntN(3) == 0:
				c, s := n.bind(fmt.Sprintf("u%d", random.IntN(20)))
				open = append(open, one{c, s, n})
			default:
				i := random.IntN(len(open))
				o := open[i]
				room := fmt.Sprintf("#%d", random.IntN(3))
				switch random.IntN(4) {
				case 0:
					leave(o.c)
					open = slices.Delete(open, i, i+1)
				case 1:
					o.s.Leave(room)
				default:
					mustJoin(t, o.s, room)
				}
			}
			time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for what, g := range map[*watch]users.Group{v: nodes[2].dir.Everyone(), rooms: nodes[2].dir.RoomsWith("#")} {
			p, err := g.Users(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			what.mu.Lock()
			seen := what.seen
			what.mu.Unlock()
			if len(p.Users) != len(seen) {
				t.Errorf("%d are seen, %d are there", len(seen), len(p.Users))
			}
			for _, u := range p.Users {
				if brief(u) != brief(seen[keyOf(u)]) {
					t.Errorf("%s is seen as %s", brief(u), brief(seen[keyOf(u)]))
				}
			}
		}
	})
}

// TestExcept leaves a socket out, here and elsewhere, and counts the sockets of a user.
func TestExcept(t *testing.T) {
	bubble(t, users.Options{}, "a b c", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		_, one := a.bind("ann")
		_, two := a.bind("ann")
		_, three := b.bind("ann")
		for _, n := range w.nodes {
			for _, but := range []*server.Socket{one, three} {
				ann := n.dir.User("ann").Except(but.ID())
				if err := ann.Volatile().Emit(t.Context(), "message", n.name); err != nil {
					t.Fatal(err)
				}
				for _, s := range []*server.Socket{one, two, three} {
					want := []string{n.name}
					if s == but {
						want = nil
					}
					w.expect("a socket", s, want...)
				}
			}
			if c, err := n.dir.User("ann").Count(t.Context()); err != nil || c.Sockets != 3 {
				t.Errorf("%d sockets, error %v", c.Sockets, err)
			}
			if c, err := n.dir.User("nobody").Count(t.Context()); err != nil || c.Sockets != 0 {
				t.Errorf("nobody has %d sockets, error %v", c.Sockets, err)
			}
		}
	})
}
