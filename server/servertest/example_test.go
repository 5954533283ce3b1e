package servertest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// An example has no *testing.T; in a test, use the one that it gets.
func Example() {
	example(func(t testing.TB) {
		srv, err := server.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		chat := srv.Of("/")
		chat.Handle("login", server.FuncAck(func(ctx context.Context, s *server.Socket, name string) (string, error) {
			return "welcome " + name, s.Join(ctx, name)
		}))
		type message struct{ To, Text string }
		chat.Handle("send", server.Func(func(_ context.Context, s *server.Socket, m message) error {
			return s.To(m.To).Emit("receive", m.Text)
		}))

		node := servertest.New(t, srv, nil)
		alice, bob := node.Connect(t, "/", nil), node.Connect(t, "/", nil)
		var welcome string
		if err := bob.EmitWithAck("login", "bob").Unmarshal(0, &welcome); err != nil {
			t.Fatal(err)
		}
		fmt.Println(welcome)
		alice.Emit("send", map[string]string{"To": "bob", "Text": "hi"})
		bob.Expect("receive", "hi")
		fmt.Println("bob has the message")
	})
	// Output:
	// welcome bob
	// bob has the message
}

// A client on the wire level: the upgrade from polling to websocket, packet by packet.
func ExampleClient() {
	example(func(t testing.TB) {
		srv, err := server.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		srv.Of("/").Handle("echo", server.FuncAck(func(_ context.Context, _ *server.Socket, args server.Args) (server.Args, error) {
			return args, nil
		}))

		c := servertest.New(t, srv, nil).Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
		c.Send("40")
		c.Next() // 40{"sid":...}
		c.Send(`420["echo",1]`)
		fmt.Println(c.Next())
		c.Upgrade()
		c.Send(`421["echo",{"a":[]}]`)
		fmt.Println(c.Next())
		c.Send("4nonsense")
		fmt.Println(c.ExpectClosed())
	})
	// Output:
	// "430[1]"
	// "431[{\"a\":[]}]"
	// connection ended with code 1005
}
