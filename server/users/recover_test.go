package users_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/internal/returning"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

// returner is a client that comes back, and notes the first arguments of events, which all have an offset.
type returner struct {
	returning.Client
	got []string
}

func newReturner(t testing.TB) *returner {
	r := &returner{}
	r.Client = returning.Client{T: t, On: func(name string, args []any, kept bool) {
		if len(args) != 1 || !kept {
			t.Fatalf("event %s with %v, with an offset: %v", name, args, kept)
		}
		r.got = append(r.got, fmt.Sprint(args[0]))
	}}
	return r
}

func (n *node) id() string { return string(n.srv.Node().ID) }

func (r *returner) expect(want string) {
	r.T.Helper()
	for len(r.got) < len(strings.Fields(want)) {
		r.Take(r.Read())
	}
	if got := strings.Join(r.got, " "); got != want {
		r.T.Errorf("got %q, want %q", got, want)
	}
	r.got = nil
}

// recovering runs a test in virtual time with a node whose clients can go on for two minutes, and one of them, bound to a user.
func recovering(t *testing.T, opts server.RecoveryOptions, f func(t *testing.T, w *world, n *node, r *returner)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, users.Options{Mixed: users.MixedOff})
		w.recovery = &opts
		n := w.startServer("a", nil)
		r := newReturner(t)
		r.Come(n)
		s, _ := n.srv.Of("/").Socket(r.SID)
		if err := n.dir.Bind(t.Context(), s, "u", "info"); err != nil {
			t.Fatal(err)
		}
		w.expectEvents("+u a")
		f(t, w, n, r)
	})
}

// TestAwayUser: what is sent to a user who is away comes when the client goes on, in its place among the broadcasts, and once; the user is
// bound again, and for the application it was never gone. After the time it is.
func TestAwayUser(t *testing.T) {
	recovering(t, server.RecoveryOptions{}, func(t *testing.T, w *world, n *node, r *returner) {
		for round := range 3 {
			r.Conn.Cut()
			synctest.Wait()
			time.Sleep(110 * time.Second)
			for i, emit := range []func(text string) error{
				func(text string) error { return n.emit("u", text) }, func(text string) error { return n.srv.Of("/").Emit("all", text) },
			} {
				for k := range 2 {
					if err := emit(text(2*i + k)); err != nil && !errors.Is(err, users.ErrKept) || i == 0 && !errors.Is(err, users.ErrAway) {
						t.Errorf("round %d: %v", round, err)
					}
				}
			}
			if err := n.dir.User("u").Volatile().Emit(t.Context(), "m", "lost"); !errors.Is(err, users.ErrAway) || errors.Is(err, users.ErrKept) {
				t.Errorf("a volatile message: %v", err)
			}
			if !r.Come(n) {
				t.Fatalf("round %d: did not go on: %v", round, n.srv.Stats().Recovery)
			}
			s, _ := n.srv.Of("/").Socket(r.SID)
			if user, ok := n.dir.UserOf(s); !ok || user != "u" || n.where("u") != n.id() {
				t.Errorf("round %d: user %q", round, user)
			}
			n.mustEmit("u", "new")
			r.expect("m0 m1 m2 m3 new")
			if p, err := n.dir.Everyone().Users(t.Context()); err != nil || len(p.Users) != 1 || string(p.Users[0].Info) != `"info"` {
				t.Errorf("round %d: %+v, %v", round, p, err)
			}
		}
		w.expectEvents()
		r.Conn.Cut()
		time.Sleep(119 * time.Second)
		if err := n.emit("u", "x"); !errors.Is(err, users.ErrKept) {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		if err := n.emit("u", "x"); !errors.Is(err, users.ErrOffline) {
			t.Error(err)
		}
		w.expectEvents("-u a")
		if r.Come(n) {
			t.Error("went on after the time")
		}
	})
}

// TestAwayAndGone: a client that has left on its own is away for the grace time alone, in front of and behind those that wait.
func TestAwayAndGone(t *testing.T) {
	recovering(t, server.RecoveryOptions{}, func(t *testing.T, w *world, n *node, r *returner) {
		for _, user := range []string{"v", "w"} {
			v := newReturner(t)
			v.Come(n)
			s, _ := n.srv.Of("/").Socket(v.SID)
			if err := n.dir.Bind(t.Context(), s, user, nil); err != nil {
				t.Fatal(err)
			}
			v.Conn.Send("41")
			synctest.Wait()
			r.Conn.Cut()
		}
		w.expectEvents("+v a", "+w a")
		time.Sleep(11 * time.Second)
		w.expectEvents("-v a", "-w a")
		if err := n.emit("v", "x"); !errors.Is(err, users.ErrOffline) {
			t.Error(err)
		}
		if err := n.emit("u", "x"); !errors.Is(err, users.ErrKept) {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		w.expectEvents("-u a")
	})
}

// TestAwayStoreEmptied: when the store has lost everything nobody is offline as long as a client may come back, for nobody knows.
func TestAwayStoreEmptied(t *testing.T) {
	recovering(t, server.RecoveryOptions{}, func(t *testing.T, w *world, n *node, _ *returner) {
		if err := n.emit("v", "x"); !errors.Is(err, users.ErrOffline) {
			t.Error(err)
		}
		w.store.flush()
		time.Sleep(30 * time.Second)
		if err := n.emit("v", "x"); !errors.Is(err, users.ErrKept) {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		if err := n.emit("v", "x"); !errors.Is(err, users.ErrOffline) {
			t.Error(err)
		}
	})
}

// TestAwayStoreForgets: the store may have been emptied before a node started. For that node, too, nobody is offline as long as a client may come
// back, unless the store forgets nothing.
func TestAwayStoreForgets(t *testing.T) {
	for _, forgets := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, users.Options{Mixed: users.MixedOff})
			w.recovery, w.forgets = &server.RecoveryOptions{}, forgets
			n, r := w.startServer("a", nil), newReturner(t)
			r.Come(n)
			s, _ := n.srv.Of("/").Socket(r.SID)
			if err := n.dir.Bind(t.Context(), s, "u", nil); err != nil { // which puts the node on the roll
				t.Fatal(err)
			}
			want := users.ErrOffline
			if forgets {
				want = users.ErrKept
			}
			for _, wait := range []time.Duration{0, 30 * time.Second, 80 * time.Second} {
				time.Sleep(wait)
				if err := n.emit("v", "x"); !errors.Is(err, want) {
					t.Errorf("forgets %v, %v later: %v", forgets, wait, err)
				}
			}
			time.Sleep(20 * time.Second)
			if err := n.emit("v", "x"); !errors.Is(err, users.ErrOffline) {
				t.Errorf("forgets %v, after the time: %v", forgets, err)
			}
		})
	}
}

// TestDeadConnection: a connection that is dead without anybody knowing loses nothing.
func TestDeadConnection(t *testing.T) {
	recovering(t, server.RecoveryOptions{}, func(t *testing.T, w *world, n *node, r *returner) {
		n.mustEmit("u", "1")
		r.expect("1")
		r.Conn.Stall()
		n.mustEmit("u", "2")
		n.mustEmit("u", "3")
		if !r.Come(n) {
			t.Fatalf("did not go on: %v", n.srv.Stats().Recovery)
		}
		r.expect("2 3")
		w.expectEvents()
	})
}

// TestReturnBeforeEnd: the handlers of the socket that was lost may take their time; when they have returned, the new one is still bound.
func TestReturnBeforeEnd(t *testing.T) {
	recovering(t, server.RecoveryOptions{}, func(t *testing.T, w *world, n *node, r *returner) {
		busy := make(chan struct{})
		n.srv.Of("/").Handle("busy", server.FuncAck(func(context.Context, *server.Socket, server.None) (server.None, error) {
			<-busy
			return server.None{}, nil
		}))
		r.Conn.Send(`420["busy"]`)
		synctest.Wait()
		r.Conn.Cut()
		if !r.Come(n) {
			t.Fatalf("did not go on: %v", n.srv.Stats().Recovery)
		}
		close(busy)
		synctest.Wait()
		if s, _ := n.srv.Of("/").Socket(r.SID); n.where("u") != n.id() {
			user, ok := n.dir.UserOf(s)
			t.Errorf("the socket has user %q, %v", user, ok)
		}
		n.mustEmit("u", "1")
		r.expect("1")
		w.expectEvents()
	})
}

// TestRecoverRefused: who may not be bound starts anew, and so does who was bound and may not go on.
func TestRecoverRefused(t *testing.T) {
	refuse := false
	opts := server.RecoveryOptions{Recheck: func(context.Context, *server.Socket) error {
		if refuse {
			return errors.New("no")
		}
		return nil
	}}
	recovering(t, opts, func(t *testing.T, w *world, n *node, r *returner) {
		full := true
		n.dir.UseBind(func(*server.Socket, string) error {
			if full {
				return errors.New("too many")
			}
			return nil
		})
		r.Conn.Cut()
		recovered := r.Come(n)
		synctest.Wait()
		if recovered || n.where("u") != "" {
			t.Errorf("went on: %v; the user is on %s", recovered, n.where("u"))
		}
		full = false
		s, _ := n.srv.Of("/").Socket(r.SID)
		if err := n.dir.Bind(t.Context(), s, "u", nil); err != nil {
			t.Fatal(err)
		}
		r.Conn.Cut()
		refuse = true
		recovered = r.Come(n)
		synctest.Wait()
		if recovered || n.where("u") != "" {
			t.Errorf("went on: %v; the user is on %s", recovered, n.where("u"))
		}
		if got := n.srv.Stats().Recovery; got["refused"] != 2 {
			t.Errorf("results %v", got)
		}
		w.expectEvents()
	})
}
