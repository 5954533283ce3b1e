package users_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

// returner is a client that comes back, as the npm client does.
type returner struct {
	t                *testing.T
	c                *servertest.Client
	sid, pid, offset string
	got              []string // first arguments of events
}

func (n *node) id() string { return string(n.srv.Node().ID) }

// come connects and reports whether the client goes on.
func (r *returner) come(n *node) (recovered bool) {
	r.t.Helper()
	auth, _ := json.Marshal(map[string]string{"pid": r.pid, "offset": r.offset})
	switch {
	case r.pid == "":
		auth = nil
	case r.offset == "":
		auth = fmt.Appendf(nil, `{"pid":%q}`, r.pid)
	}
	r.c = n.Dial(r.t, nil)
	r.c.Send("40" + string(auth))
	for {
		text := r.c.Next().Data
		rest, connect := strings.CutPrefix(text, "40")
		if !connect {
			r.take(text)
			continue
		}
		var reply struct{ SID, PID string }
		if err := json.Unmarshal([]byte(rest), &reply); err != nil {
			r.t.Fatalf("answer to CONNECT: %s", text)
		}
		recovered = reply.SID == r.sid
		r.sid, r.pid = reply.SID, reply.PID
		return recovered
	}
}

func (r *returner) take(text string) {
	r.t.Helper()
	var list []string
	if err := json.Unmarshal([]byte(strings.TrimPrefix(text, "42")), &list); err != nil || len(list) != 3 {
		r.t.Fatalf("no event with an offset: %s", text)
	}
	r.got, r.offset = append(r.got, list[1]), list[2]
}

func (r *returner) expect(want string) {
	r.t.Helper()
	for len(r.got) < len(strings.Fields(want)) {
		r.take(r.c.Next().Data)
	}
	if got := strings.Join(r.got, " "); got != want {
		r.t.Errorf("got %q, want %q", got, want)
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
		r := &returner{t: t}
		r.come(n)
		s, _ := n.srv.Of("/").Socket(r.sid)
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
			r.c.Cut()
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
			if !r.come(n) {
				t.Fatalf("round %d: did not go on: %v", round, n.srv.Stats().Recovery)
			}
			s, _ := n.srv.Of("/").Socket(r.sid)
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
		r.c.Cut()
		time.Sleep(119 * time.Second)
		if err := n.emit("u", "x"); !errors.Is(err, users.ErrKept) {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		if err := n.emit("u", "x"); !errors.Is(err, users.ErrOffline) {
			t.Error(err)
		}
		w.expectEvents("-u a")
		if r.come(n) {
			t.Error("went on after the time")
		}
	})
}

// TestAwayAndGone: a client that has left on its own is away for the grace time alone, in front of and behind those that wait.
func TestAwayAndGone(t *testing.T) {
	recovering(t, server.RecoveryOptions{}, func(t *testing.T, w *world, n *node, r *returner) {
		v := &returner{t: t}
		for _, user := range []string{"v", "w"} {
			*v = returner{t: t}
			v.come(n)
			s, _ := n.srv.Of("/").Socket(v.sid)
			if err := n.dir.Bind(t.Context(), s, user, nil); err != nil {
				t.Fatal(err)
			}
			v.c.Send("41")
			synctest.Wait()
			r.c.Cut()
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

// TestDeadConnection: a connection that is dead without anybody knowing loses nothing.
func TestDeadConnection(t *testing.T) {
	recovering(t, server.RecoveryOptions{}, func(t *testing.T, w *world, n *node, r *returner) {
		n.mustEmit("u", "1")
		r.expect("1")
		r.c.Stall()
		n.mustEmit("u", "2")
		n.mustEmit("u", "3")
		if !r.come(n) {
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
		r.c.Send(`420["busy"]`)
		synctest.Wait()
		r.c.Cut()
		if !r.come(n) {
			t.Fatalf("did not go on: %v", n.srv.Stats().Recovery)
		}
		close(busy)
		synctest.Wait()
		if s, _ := n.srv.Of("/").Socket(r.sid); n.where("u") != n.id() {
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
		r.c.Cut()
		recovered := r.come(n)
		synctest.Wait()
		if recovered || n.where("u") != "" {
			t.Errorf("went on: %v; the user is on %s", recovered, n.where("u"))
		}
		full = false
		s, _ := n.srv.Of("/").Socket(r.sid)
		if err := n.dir.Bind(t.Context(), s, "u", nil); err != nil {
			t.Fatal(err)
		}
		r.c.Cut()
		refuse = true
		recovered = r.come(n)
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
