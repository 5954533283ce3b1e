package users_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

// expectStored checks that every directory has written what it has to.
func (w *world) expectStored() {
	w.t.Helper()
	synctest.Wait()
	for _, n := range w.nodes {
		if st := n.dir.Stats(); st.Pending != 0 || st.StoreAway {
			w.t.Errorf("%s: %+v", n.name, st)
		}
	}
}

// stream sends a message a second from each of the nodes and checks that each arrives once at all of the sockets.
func (w *world) stream(seconds int, user string, sockets ...*server.Socket) {
	w.t.Helper()
	for i := range seconds {
		for _, n := range w.nodes {
			n.mustEmit(user, n.name+text(i))
		}
		synctest.Wait()
		for _, s := range sockets {
			got := w.take(s)
			slices.Sort(got)
			var want []string
			for name := range w.nodes {
				want = append(want, name+text(i))
			}
			slices.Sort(want)
			if !slices.Equal(got, want) {
				w.t.Fatalf("after %d s socket %s got %q, want %q", i, s.ID(), got, want)
			}
		}
		time.Sleep(time.Second)
	}
}

// kill ends a node without a word.
func (w *world) kill(name string) {
	w.t.Helper()
	w.cluster.Kill(adapter.NodeID(name))
	if err := w.nodes[name].dir.Close(); err != nil {
		w.t.Error(err)
	}
	delete(w.nodes, name)
}

// TestStoreEmptied: what the nodes hold is written anew, and messages arrive all the time.
func TestStoreEmptied(t *testing.T) {
	bubble(t, users.Options{}, "a b c", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		_, sa := a.bind("u")
		_, sb := b.bind("u")
		_, sv := b.bind("v")
		cw, _ := a.bind("w")
		w.expectEvents("+u a", "+v b", "+w a")
		for range 3 {
			w.stream(2, "u", sa, sb)
			w.store.flush()
			w.stream(20, "u", sa, sb)
			w.stream(2, "v", sv)
			w.expectStored()
			w.expectEvents()
			w.expectWhere("u", "a b")
		}
		w.store.flush()
		leave(cw)
		time.Sleep(30 * time.Second)
		w.expectEvents("-w a")
		if st := a.dir.Stats(); st.Renewals != 4 {
			t.Errorf("%+v", st)
		}
	})
}

// TestStoreAway: this node's users go on, and what has changed is written when the store is back.
func TestStoreAway(t *testing.T) {
	bubble(t, users.Options{}, "a b", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		_, su := a.bind("u")
		cv, _ := a.bind("v")
		w.expectEvents("+u a", "+v a")
		w.store.set(func() { w.store.down = true })
		time.Sleep(10 * time.Second)
		_, s := b.connect()
		if err := b.dir.Bind(t.Context(), s, "u", nil); !errors.Is(err, server.ErrClusterUnavailable) {
			t.Errorf("bind: %v", err)
		}
		_, sx := b.connect()
		if err := b.dir.Bind(t.Context(), sx, "x", nil); !errors.Is(err, server.ErrClusterUnavailable) {
			t.Errorf("bind: %v", err)
		}
		leave(cv)
		w.stream(5, "x", sx)
		b.mustEmit("u", "1")
		w.expect("su", su, "1")
		w.expect("s", s, "1")
		if on, err := a.dir.User("x").Online(t.Context()); err != nil || !on {
			t.Errorf("online: %v, %v", on, err)
		}
		if _, err := a.dir.User("x").Nodes(t.Context()); !errors.Is(err, server.ErrClusterUnavailable) {
			t.Errorf("nodes: %v", err)
		}
		w.expectEvents()
		time.Sleep(time.Minute)
		w.store.set(func() { w.store.down = false })
		time.Sleep(10 * time.Second)
		w.expectStored()
		w.expectEvents("+x b")
		w.stream(2, "u", su, s)
		w.stream(2, "x", sx)
		w.expectWhere("u", "a b")
		time.Sleep(5 * time.Second)
		w.expectEvents("-v a")
	})
}

// TestStoreSlow: Bind waits no longer than it may, and what it has begun is finished.
func TestStoreSlow(t *testing.T) {
	bubble(t, users.Options{}, "a b", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		w.store.set(func() { w.store.delay = 3 * time.Second })
		_, s := a.connect()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.dir.Bind(ctx, s, "u", nil); !errors.Is(err, server.ErrClusterUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("bind: %v", err)
		}
		if err := b.dir.User("u").Emit(ctx, "message", "1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("emit: %v", err)
		}
		time.Sleep(10 * time.Second)
		w.expectEvents("+u a")
		b.mustEmit("u", "2")
		w.expect("s", s, "2")
		_, other := b.bind("u")
		a.mustEmit("u", "3")
		w.expect("s", s, "3")
		w.expect("other", other, "3")
	})
}

// TestAnswerOvertaken: the store says that a user is on the node that asks. When the answer comes the user has left that, and is elsewhere.
func TestAnswerOvertaken(t *testing.T) {
	bubble(t, users.Options{Mixed: users.MixedOff}, "a b", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		before, _ := a.bind("u")
		synctest.Wait()
		a.link.set(func() { a.link.delay = time.Second }) // what a tells the store comes late
		leave(before)
		synctest.Wait()
		var sent sync.WaitGroup
		a.link.set(func() { a.link.delay, a.link.slow = 0, 5*time.Second })
		sent.Go(func() { a.mustEmit("u", "late") })
		time.Sleep(2 * time.Second)
		_, after := b.bind("u")
		sent.Wait()
		w.expect("the user", after, "late")
	})
}

// TestAnswersLost: what was done is done once.
func TestAnswersLost(t *testing.T) {
	bubble(t, users.Options{}, "a b", func(t *testing.T, w *world) {
		a := w.nodes["a"]
		w.store.set(func() { w.store.forget = true })
		c, s := a.connect()
		if err := a.dir.Bind(t.Context(), s, "u", nil); !errors.Is(err, server.ErrClusterUnavailable) {
			t.Errorf("bind: %v", err)
		}
		time.Sleep(time.Minute)
		w.store.set(func() { w.store.forget = false })
		time.Sleep(10 * time.Second)
		w.expectEvents("+u a")
		w.store.set(func() { w.store.forget = true })
		leave(c)
		time.Sleep(time.Minute)
		w.store.set(func() { w.store.forget = false })
		time.Sleep(30 * time.Second)
		w.expectEvents("-u a")
		w.expectStored()
	})
}

// TestStoreRefuses: a store that answers questions and takes no changes loses no message and lets none run in circles.
func TestStoreRefuses(t *testing.T) {
	bubble(t, users.Options{}, "a b c", func(t *testing.T, w *world) {
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		ca, _ := a.bind("u")
		cb, _ := b.bind("u")
		c.mustEmit("u", "1")
		w.store.set(func() { w.store.refuse = true })
		leave(ca)
		leave(cb)
		synctest.Wait()
		for range 3 {
			_ = c.emit("u", "2")
			time.Sleep(time.Second)
		}
		for _, n := range w.nodes {
			if st := n.dir.Stats(); st.Forwarded > 30 {
				t.Errorf("%s: %+v", n.name, st)
			}
		}
		if lost := a.dir.Stats().Lost + b.dir.Stats().Lost; lost == 0 {
			t.Error("nobody counts what is lost")
		}
	})
}

// TestKill: the users of a node that has died are away until it is swept, and reachable as soon as they are elsewhere.
func TestKill(t *testing.T) {
	bubble(t, users.Options{}, "a b c d", func(t *testing.T, w *world) {
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		a.bind("u")
		a.bind("v")
		_, both := b.bind("v")
		ax, _ := a.bind("x")
		leave(ax) // it is away when the node dies
		time.Sleep(time.Second)
		w.expectEvents("+u a", "+v a", "+x a")
		w.kill("a")
		time.Sleep(15 * time.Second)
		if err := c.emit("u", "1"); !errors.Is(err, users.ErrAway) {
			t.Errorf("emit: %v", err)
		}
		w.stream(1, "v", both)
		w.expectWhere("u", "")
		_, s := c.bind("u")
		w.stream(2, "u", s)
		w.expectEvents()
		time.Sleep(6 * time.Minute)
		w.expectEvents("-x b|c|d")
		w.stream(2, "u", s)
		w.stream(2, "v", both)
		if lives, _, err := w.store.Roll(t.Context(), "/"); err != nil || len(lives) != 3 {
			t.Errorf("roll %v, error %v", lives, err)
		}
		if w.store.sweepers != 1 {
			t.Errorf("%d nodes swept", w.store.sweepers)
		}
	})
}

// TestGoodBye: the users of a node that has said good-bye are offline a grace time later.
func TestGoodBye(t *testing.T) {
	bubble(t, users.Options{}, "a b c", func(t *testing.T, w *world) {
		a := w.nodes["a"]
		a.bind("u")
		cv, _ := a.bind("v")
		if err := errors.Join(a.srv.Shutdown(t.Context()), a.dir.Close()); err != nil {
			t.Fatal(err)
		}
		delete(w.nodes, "a")
		cv.Client().ExpectClosed()
		time.Sleep(5 * time.Second)
		w.nodes["b"].bind("v")
		w.expectEvents("+u a", "+v a")
		time.Sleep(15 * time.Second)
		w.expectEvents("-u b|c")
	})
}

// TestCut: nothing is concluded from a minute's silence.
func TestCut(t *testing.T) {
	bubble(t, users.Options{}, "a b c", func(t *testing.T, w *world) {
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		_, su := a.bind("u")
		_, sv := b.bind("v")
		w.stream(1, "u", su)
		w.cluster.Cut("a")
		time.Sleep(15 * time.Second)
		for _, n := range []*node{b, c} {
			if err := n.emit("u", "1"); !errors.Is(err, users.ErrAway) {
				t.Errorf("emit: %v", err)
			}
		}
		// Both have one more while they do not hear each other.
		_, su2 := b.bind("u")
		_, sv2 := a.bind("v")
		time.Sleep(45 * time.Second)
		w.cluster.Heal("a")
		time.Sleep(10 * time.Second)
		w.take(su)
		w.expectEvents("+u a", "+v b")
		w.stream(3, "u", su, su2)
		w.stream(3, "v", sv, sv2)
	})
}

// TestFrozen: 15 s in a debugger change nothing.
func TestFrozen(t *testing.T) {
	bubble(t, users.Options{}, "a b c", func(t *testing.T, w *world) {
		_, su := w.nodes["a"].bind("u")
		_, other := w.nodes["b"].bind("u")
		w.cluster.Freeze("a")
		time.Sleep(15 * time.Second)
		w.cluster.Thaw("a")
		time.Sleep(5 * time.Second)
		w.expectEvents("+u a")
		w.stream(3, "u", su, other)
	})
}

// TestUnheardHolder: as long as there may be nodes without a directory, what is for a user goes to all nodes when none of those that
// are heard holds it, and comes once.
func TestUnheardHolder(t *testing.T) {
	bubble(t, users.Options{Mixed: users.MixedOn}, "a b c", func(t *testing.T, w *world) {
		_, su := w.nodes["a"].bind("u")
		w.cluster.Freeze("a")
		time.Sleep(15 * time.Second)
		w.nodes["b"].mustEmit("u", "1") // b finds a in the store, but has not heard it for too long
		w.cluster.Thaw("a")
		w.nodes["b"].mustEmit("u", "2")
		time.Sleep(5 * time.Second)
		w.nodes["b"].mustEmit("u", "3")
		w.expect("u", su, "1", "2", "3")
	})
}

// TestTakenForDead: a node that was cut off until its life was declared over writes its users again.
func TestTakenForDead(t *testing.T) {
	bubble(t, users.Options{Mixed: users.MixedOff}, "a b c", func(t *testing.T, w *world) {
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		_, su := a.bind("u")
		_, sv := a.bind("v")
		_, sv2 := b.bind("v")
		cx, _ := a.bind("x")
		w.expectEvents("+u a", "+v a", "+x a")
		w.cluster.Cut("a")
		a.link.set(func() { a.link.down = true })
		time.Sleep(time.Minute)
		leave(cx)
		w.expectEvents()
		time.Sleep(10 * time.Minute)
		w.expectEvents("-u b|c", "-x b|c")
		if err := c.emit("u", "1"); !errors.Is(err, users.ErrOffline) {
			t.Errorf("emit: %v", err)
		}
		w.cluster.Heal("a")
		a.link.set(func() { a.link.down = false })
		time.Sleep(30 * time.Second)
		w.expectStored()
		w.expectEvents("+u a")
		if life := a.srv.Node().Life; life == "a" {
			t.Errorf("life %s", life)
		}
		w.take(su)
		w.take(sv)
		w.stream(3, "u", su)
		w.stream(3, "v", sv, sv2)
		time.Sleep(10 * time.Minute)
		w.expectEvents()
		w.expectWhere("v", "a b")
	})
}

// TestSweptAlive: a node whose life was swept although it is a member notices and writes its users again.
func TestSweptAlive(t *testing.T) {
	bubble(t, users.Options{}, "a b", func(t *testing.T, w *world) {
		_, s := w.nodes["a"].bind("u")
		if err := w.store.Sweep(t.Context(), "/", "a", func(string) {}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		w.stream(2, "u", s)
		w.expectWhere("u", "a")
		w.expectEvents("+u a", "+u a") // whoever has swept has told of the end
	})
}

// TestOneName: two nodes with one name are two nodes.
func TestOneName(t *testing.T) {
	bubble(t, users.Options{}, "", func(t *testing.T, w *world) {
		for _, id := range []adapter.NodeID{"a", "b"} {
			w.startServer(string(id), namesake{w, id})
		}
		w.settle()
		_, sa := w.nodes["a"].bind("u")
		_, sb := w.nodes["b"].bind("u")
		w.stream(3, "u", sa, sb)
		w.expectEvents("+u a")
		time.Sleep(10 * time.Minute)
		w.stream(3, "u", sa, sb)
		w.expectEvents()
	})
}

// namesake is a node that is called as the others of its kind.
type namesake struct {
	w  *world
	id adapter.NodeID
}

func (n namesake) Open(self adapter.Node, changed func(adapter.Node)) (adapter.Cluster, error) {
	self.ID, self.Name, self.Life, self.Tag = n.id, "same", string(n.id), adapter.TagOf("same")
	return adapter.Join(self, changed, n.w.cluster.Broker(n.id), nil)
}
