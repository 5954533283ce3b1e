package server_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestVolatile sends to a client that has stopped reading. What is volatile is dropped and counted; the rest waits, and
// arrives in order.
func TestVolatile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := server.New(&server.Options{Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		n := servertest.New(t, srv, nil)
		alice, bob := n.Connect(t, "/", nil), n.Connect(t, "/", nil)
		main := srv.Of("/")
		s, _ := main.Socket(alice.ID())
		drops := func() uint64 { return srv.Stats().Engine.Drops["volatile"] }
		emit := func(err error) {
			t.Helper()
			if err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}

		emit(s.Volatile().Emit("ready", 1))
		emit(main.Volatile().Emit("ready", 2))
		for _, c := range []*servertest.Socket{alice, bob} {
			if c == alice {
				c.Expect("ready", 1)
			}
			c.Expect("ready", 2)
		}
		if got := drops(); got != 0 {
			t.Errorf("%d drops with idle clients", got)
		}

		alice.Client().Stall()
		emit(s.Emit("long", strings.Repeat("x", 1<<20))) // fills what is between the two
		emit(s.Volatile().Emit("dropped"))
		emit(s.Compress(false).Volatile().Emit("dropped"))
		emit(main.Volatile().Emit("bob only"))
		emit(s.Broadcast().Volatile().Emit("bob only, too"))
		emit(s.Emit("last"))
		if got := drops(); got != 3 {
			t.Errorf("%d drops, want 3", got)
		}
		bob.Expect("bob only")
		bob.Expect("bob only, too")
		alice.Client().Resume()
		alice.Expect("long", strings.Repeat("x", 1<<20))
		alice.Expect("last")
		emit(s.Volatile().Emit("ready", 3))
		alice.Expect("ready", 3)
	})
}
