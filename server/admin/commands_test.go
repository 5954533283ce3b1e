package admin_test

import (
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server/admin"
)

// TestCommands carries out what an operator on one node wants of sockets on two.
func TestCommands(t *testing.T) {
	bubble(t, admin.Options{}, "a b", func(t *testing.T, nodes []*node) {
		p := nodes[0].open(t)
		p.expect("config", "*")
		x, y := nodes[0].Connect(t, "/", nil), nodes[1].Connect(t, "/", nil)
		rooms := func(want string) {
			t.Helper()
			time.Sleep(time.Second)
			got := ""
			for i, id := range []string{x.ID(), y.ID()} {
				s, ok := nodes[i].srv.Of("/").Socket(id)
				if !ok {
					got += "- "
					continue
				}
				got += asJSON(s.Rooms()[1:]) + " "
			}
			if got != want {
				t.Errorf("rooms are %s, want %s", got, want)
			}
		}
		p.Emit("emit", "/", nil, "all", 1, []byte{1, 2})
		x.Expect("all", 1, []byte{1, 2})
		y.Expect("all", 1, []byte{1, 2})
		p.Emit("emit", "/", y.ID(), "one")
		y.Expect("one")
		p.Emit("join", "/", "r")
		rooms(`["r"] ["r"] `)
		p.Emit("join", "/", "s", y.ID())
		rooms(`["r"] ["r","s"] `)
		p.Emit("leave", "/", "r", "s")
		rooms(`["r"] ["s"] `)
		p.Emit("emit", "/", "s", "some", map[string]int{"n": 1})
		y.Expect("some", map[string]int{"n": 1})
		p.Emit("leave", "/", "r", nil)
		rooms(`[] ["s"] `)
		p.Emit("_disconnect", "/", false, "s")
		y.ExpectDisconnect()
		rooms(`[] - `)
		p.Emit("_disconnect", "/", true)
		x.Client().ExpectClosed()
		rooms(`- - `)
		if st := nodes[0].admin.Stats(); st.Commands != 9 || st.Pages != 1 {
			t.Errorf("counted %+v", st)
		}
	})
}

// TestCommandsRefused: what makes no sense does nothing and says so.
func TestCommandsRefused(t *testing.T) {
	bubble(t, admin.Options{}, "a", func(t *testing.T, nodes []*node) {
		p := nodes[0].open(t)
		p.expect("config", "*")
		x := nodes[0].Connect(t, "/", nil)
		long := make([]byte, 5000)
		for i := range long {
			long[i] = 'x'
		}
		for _, args := range [][]any{
			{"emit"}, {"emit", "/"}, {"emit", "/", nil}, {"emit", 1, nil, "e"}, {"emit", "/", []string{"r"}, "e"}, {"emit", "/", nil, 7},
			{"emit", "/", nil, "disconnect"}, {"emit", string(long), nil, "e"},
			{"emit", "/nowhere", nil, "e"}, {"join", "nowhere", "r"}, {"_disconnect", "/nowhere", true},
			{"join", "/"}, {"join", "/", nil}, {"join", "/", ""}, {"join", "/", 1}, {"join", "/", "r", 1}, {"join", "/", string(long)},
			{"leave", "/"}, {"leave", nil, "r"},
			{"_disconnect", "/", "yes"}, {"_disconnect", nil, true}, {"_disconnect", "/", true, true},
		} {
			answer := p.EmitWithAck(args[0].(string), args[1:]...)
			var failure struct{ Error struct{ Message string } }
			if err := answer.Unmarshal(0, &failure); err != nil || failure.Error.Message == "" {
				t.Errorf("%.60v: answered with %s", args, answer.At(0).JSON)
			}
		}
		if s, ok := nodes[0].srv.Of("/").Socket(x.ID()); !ok || len(s.Rooms()) != 1 {
			t.Error("the socket was changed")
		}
		if n := len(nodes[0].srv.Namespaces()); n != 2 {
			t.Errorf("%d namespaces, want 2", n)
		}
	})
}

func TestReadOnly(t *testing.T) {
	bubble(t, admin.Options{ReadOnly: true}, "a", func(t *testing.T, nodes []*node) {
		p := nodes[0].open(t)
		p.expect("config", "*")
		x := nodes[0].Connect(t, "/", nil)
		p.Emit("emit", "/", nil, "e")
		p.Emit("join", "/", "r")
		p.Emit("_disconnect", "/", true)
		time.Sleep(10 * time.Second)
		nodes[0].srv.Of("/").Emit("end")
		x.Expect("end")
		if s, ok := nodes[0].srv.Of("/").Socket(x.ID()); !ok || len(s.Rooms()) != 1 {
			t.Error("the socket was changed")
		}
	})
}
