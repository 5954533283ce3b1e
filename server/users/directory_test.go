package users_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

// TestUser goes through what can be said to a user with two sockets on two nodes.
func TestUser(t *testing.T) {
	bubble(t, users.Options{}, "a b c", func(t *testing.T, w *world) {
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		ctx := t.Context()
		ca, sa := a.bind("u")
		w.expectEvents("+u a")
		cb, sb := b.bind("u")
		w.expectEvents()
		w.expectWhere("u", "a b")
		for _, name := range []string{"a", "b", "c"} {
			n := w.nodes[name]
			n.mustEmit("u", n.name)
			w.expect("sa", sa, n.name)
			w.expect("sb", sb, n.name)
		}
		if r, err := c.dir.User("u").Sockets(ctx); err != nil || len(r.Values) != 2 {
			t.Errorf("sockets %v, error %v", r, err)
		}
		if err := c.dir.User("u").Join(ctx, "x"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if len(sa.Rooms()) != 3 || len(sb.Rooms()) != 3 {
			t.Errorf("rooms %v and %v", sa.Rooms(), sb.Rooms())
		}
		if err := c.dir.User("u").Leave(ctx, "x"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if len(sa.Rooms()) != 2 || len(sb.Rooms()) != 2 {
			t.Errorf("rooms %v and %v", sa.Rooms(), sb.Rooms())
		}
		if err := c.dir.User("u").Disconnect(ctx); err != nil {
			t.Error(err)
		}
		ca.Expect("message", "a")
		ca.Expect("message", "b")
		ca.ExpectDisconnect()
		cb.ExpectDisconnect()
		synctest.Wait() // until the OnDisconnect functions have returned
		w.expectWhere("u", "")
		if err := c.emit("u", "x"); !errors.Is(err, users.ErrAway) {
			t.Errorf("emit to who is away: %v", err)
		}
		w.expectEvents()
		time.Sleep(11 * time.Second)
		w.expectEvents("-u a|b")
		if err := c.emit("u", "x"); !errors.Is(err, users.ErrOffline) {
			t.Errorf("emit to who is offline: %v", err)
		}
	})
}

// TestEmitWithAck gathers the answers of all sockets.
func TestEmitWithAck(t *testing.T) {
	bubble(t, users.Options{}, "a b", func(t *testing.T, w *world) {
		one, _ := w.nodes["a"].bind("u")
		two, _ := w.nodes["b"].bind("u")
		replies := make(chan server.Replies[string], 1)
		go func() {
			r, err := users.EmitWithAck[string](t.Context(), w.nodes["b"].dir.User("u"), "ask")
			if err != nil {
				t.Error(err)
			}
			replies <- r
		}()
		one.Expect("ask").Ack("1")
		two.Expect("ask").Ack("2")
		if r := <-replies; len(r.Values) != 2 || r.Expected != 2 {
			t.Errorf("%+v", r)
		}
		if _, err := users.EmitWithAck[string](t.Context(), w.nodes["b"].dir.User("v"), "ask"); !errors.Is(err, users.ErrOffline) {
			t.Errorf("nobody: %v", err)
		}
	})
}

// TestGrace: a reconnect is no event, wherever it is.
func TestGrace(t *testing.T) {
	bubble(t, users.Options{}, "a b", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		c, _ := a.bind("u")
		for range 5 {
			leave(c)
			time.Sleep(9 * time.Second)
			c, _ = a.bind("u")
			time.Sleep(20 * time.Second)
		}
		for range 5 {
			leave(c)
			time.Sleep(9 * time.Second)
			c, _ = b.bind("u")
			leave(c)
			time.Sleep(9 * time.Second)
			c, _ = a.bind("u")
		}
		w.expectEvents("+u a")
		leave(c)
		time.Sleep(9 * time.Second)
		w.expectEvents()
		time.Sleep(2 * time.Second)
		w.expectEvents("-u a")
		c, _ = b.bind("u")
		w.expectEvents("+u b")
		leave(c)
		time.Sleep(time.Minute)
		w.expectEvents("-u b")
	})
}

// TestRebind: a socket has one user; nobody else is disturbed.
func TestRebind(t *testing.T) {
	bubble(t, users.Options{Grace: -1}, "a b", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		_, s := a.bind("u")
		_, other := a.bind("u")
		if err := a.dir.Bind(t.Context(), s, "v", map[string]int{"x": 1}); err != nil {
			t.Fatal(err)
		}
		w.expectEvents("+u a", "+v a")
		b.mustEmit("u", "1")
		b.mustEmit("v", "2")
		w.expect("s", s, "2")
		w.expect("other", other, "1")
		if id, ok := a.dir.UserOf(s); !ok || id != "v" {
			t.Errorf("bound to %q", id)
		}
		r, err := b.dir.User("v").Sockets(t.Context())
		if err != nil || len(r.Values) != 1 || string(r.Values[0].Data()) != `{"sockeye.user":{"id":"v","info":{"x":1}}}` {
			t.Errorf("%+v %v", r, err)
		}
		if err := a.dir.Unbind(t.Context(), s); err != nil {
			t.Error(err)
		}
		if _, ok := a.dir.UserOf(s); ok || len(s.Rooms()) != 1 || len(s.Data().Keys()) != 0 {
			t.Errorf("rooms %v, data %v", s.Rooms(), s.Data().Keys())
		}
		w.expectEvents("-v a")
		if err := a.dir.Unbind(t.Context(), s); err != nil {
			t.Error(err)
		}
		w.expectWhere("u", "a")
		w.expectWhere("v", "")
	})
}

// TestIDs: what is no id is refused, everything else is one.
func TestIDs(t *testing.T) {
	bubble(t, users.Options{}, "a b", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		_, s := a.connect()
		for _, id := range []string{"", strings.Repeat("x", 257), strings.Repeat("x", 10<<10), "a\xffb"} {
			for _, err := range []error{
				a.dir.Bind(t.Context(), s, id, nil), a.emit(id, "x"), a.dir.User(id).Disconnect(t.Context()),
			} {
				if !errors.Is(err, users.ErrUserID) {
					t.Errorf("%.10q: %v", id, err)
				}
			}
		}
		for _, id := range []string{"*", "a\x00b", "\n\r\t", "{x}", "[a-z]?*\\", "#a,b#", "~x", "+x", "ключ", strings.Repeat("x", 256), s.ID()} {
			_, s := a.bind(id)
			b.mustEmit(id, "1")
			a.mustEmit(id, "2")
			if got := w.take(s); len(got) != 2 {
				t.Errorf("%q got %q", id, got)
			}
		}
	})
}

// TestManySockets: a user with 1,000 sockets costs the store one entry.
func TestManySockets(t *testing.T) {
	bubble(t, users.Options{}, "a b", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		c := a.Dial(t, nil)
		first := c.Connect("/", nil)
		s, _ := a.srv.Of("/").Socket(first.ID())
		if err := a.dir.Bind(t.Context(), s, "u", nil); err != nil {
			t.Fatal(err)
		}
		for range 999 {
			a.bind("u")
		}
		if st := a.dir.Stats(); st.Writes != 1 || st.Users != 1 || st.Sockets != 1000 {
			t.Errorf("%+v", st)
		}
		b.mustEmit("u", "x")
		synctest.Wait()
		if len(w.got) != 1000 {
			t.Errorf("%d sockets got it", len(w.got))
		}
	})
}

// TestBindBeforeConnect binds in a middleware: a socket that is refused afterwards is no ghost.
func TestBindBeforeConnect(t *testing.T) {
	bubble(t, users.Options{Grace: -1}, "a b", func(t *testing.T, w *world) {
		a := w.nodes["a"]
		refused, taken := map[string]string{"is": "refused"}, map[string]string{"is": "taken"}
		a.srv.Of("/").Use(func(ctx context.Context, s *server.Socket) error {
			id := string(s.Auth())
			if err := a.dir.Bind(ctx, s, id, nil); err != nil {
				return err
			}
			if id == `{"is":"refused"}` {
				return &server.ClientError{Message: "no"}
			}
			return nil
		})
		a.Dial(t, nil).ConnectRefused("/", refused)
		time.Sleep(time.Second)
		w.expectWhere(`{"is":"refused"}`, "")
		c := a.Dial(t, nil).Connect("/", taken)
		w.expectWhere(`{"is":"taken"}`, "a")
		w.nodes["b"].mustEmit(`{"is":"taken"}`, "x")
		c.Expect("message", "x")
		leave(c)
		time.Sleep(time.Second)
		w.expectWhere(`{"is":"taken"}`, "")
		w.expectEvents(`+{"is":"refused"} a`, `-{"is":"refused"} a`, `+{"is":"taken"} a`, `-{"is":"taken"} a`)
		if st := a.dir.Stats(); st.Users+st.Sockets+st.Pending+st.Away != 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}

// TestBindAfterDisconnect: a socket that has gone is no ghost either.
func TestBindAfterDisconnect(t *testing.T) {
	bubble(t, users.Options{}, "a", func(t *testing.T, w *world) {
		a := w.nodes["a"]
		c, s := a.connect()
		leave(c)
		synctest.Wait()
		if err := a.dir.Bind(t.Context(), s, "u", nil); !errors.Is(err, server.ErrDisconnected) {
			t.Errorf("error %v", err)
		}
		time.Sleep(time.Minute)
		if st := a.dir.Stats(); st.Users+st.Sockets+st.Pending+st.Away != 0 {
			t.Errorf("left behind: %+v", st)
		}
	})
}

// TestReturnBeforeRelease: a user who comes back before the store knows that it was gone is held as before, for the other holders, too.
func TestReturnBeforeRelease(t *testing.T) {
	bubble(t, users.Options{}, "a b", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		ca, _ := a.bind("u")
		_, sb := b.bind("u")
		b.mustEmit("u", "1") // b is told when the user leaves a
		a.link.set(func() { a.link.delay = 3 * time.Second })
		leave(ca)
		synctest.Wait()
		_, sa := a.connect()
		if err := a.dir.Bind(t.Context(), sa, "u", nil); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			b.mustEmit("u", "2")
			w.expect("a", sa, "2")
			time.Sleep(5 * time.Second)
		}
		w.take(sb)
		a.mustEmit("u", "3")
		w.expect("b", sb, "3")
	})
}

// TestReturnAfterLostRelease: a user who comes back before it is known whether the store has taken the release is written again.
func TestReturnAfterLostRelease(t *testing.T) {
	bubble(t, users.Options{}, "a b", func(t *testing.T, w *world) {
		a := w.nodes["a"]
		ca, _ := a.bind("u")
		a.link.set(func() { a.link.forget = true })
		leave(ca)
		synctest.Wait()
		_, sa := a.connect()
		if err := a.dir.Bind(t.Context(), sa, "u", nil); !errors.Is(err, server.ErrClusterUnavailable) {
			t.Errorf("bind: %v", err)
		}
		a.link.set(func() { a.link.forget = false })
		time.Sleep(10 * time.Second)
		w.expectStored()
		w.nodes["b"].mustEmit("u", "1")
		w.expect("a", sa, "1")
	})
}

// TestLateCorrection: what a node says of a moment ago does not undo what it has said since.
func TestLateCorrection(t *testing.T) {
	bubble(t, users.Options{}, "a b", func(t *testing.T, w *world) {
		a, b := w.nodes["a"], w.nodes["b"]
		_, sa := a.bind("u")
		_, sb := b.bind("u")
		late := map[string]any{"from": "b", "user": "u", "holders": []string{"a"}}
		if err := b.srv.Of("/").ServerSideEmitTo("a", "sockeye:users", late); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		a.mustEmit("u", "1")
		w.expect("a", sa, "1")
		w.expect("b", sb, "1")
	})
}

// TestSenderIsTold: who remembers where a user is forgets it when the user goes, and is not corrected by a message that misses it.
func TestSenderIsTold(t *testing.T) {
	bubble(t, users.Options{}, "a b c", func(t *testing.T, w *world) {
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		ca, _ := a.bind("u")
		b.mustEmit("u", "1")
		synctest.Wait()
		if st := b.dir.Stats(); st.Cached != 1 {
			t.Errorf("%+v", st)
		}
		leave(ca)
		_, sc := c.bind("u")
		synctest.Wait()
		if st := b.dir.Stats(); st.Cached != 0 {
			t.Errorf("%+v", st)
		}
		b.mustEmit("u", "2")
		w.expect("c", sc, "2")
		if st := a.dir.Stats(); st.Forwarded != 0 {
			t.Errorf("%+v", st)
		}
	})
}
