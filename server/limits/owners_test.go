package limits_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/limits"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

// bound is a node whose clients say in their auth object who they are, and may log in as somebody else by an event.
func bound(t *testing.T, o *limits.Options) (*node, *users.Directory) {
	t.Helper()
	n := start(t, o, nil)
	dir, err := users.New(n.Server, users.Options{Store: users.NewMemoryStore(), Mixed: users.MixedOff, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := dir.Close(); err != nil {
			t.Error(err)
		}
	})
	n.limits.Follow(dir)
	n.Of("/").Use(func(ctx context.Context, s *server.Socket) error {
		var as struct {
			User string
			Fail bool
		}
		if err := json.Unmarshal(s.Handshake().Auth, &as); err != nil || as.User == "" {
			return err
		}
		err := dir.Bind(ctx, s, as.User, nil)
		if err == nil && as.Fail {
			return &server.ClientError{Message: "no"}
		}
		return err
	})
	n.Of("/").Handle("login", server.FuncAck(func(ctx context.Context, s *server.Socket, user string) (bool, error) {
		return true, dir.Bind(ctx, s, user, nil)
	}))
	return n, dir
}

const tooMany = `{"message":"Too many connections","data":{"code":"user_connections"}}`

// as connects as somebody.
func (n *node) as(t *testing.T, user string) *servertest.Socket {
	t.Helper()
	return n.web.Dial(t, from("192.0.2.1:1")).Connect("/", map[string]any{"user": user})
}

// One connection too many of a user is refused where it says whose it is, by CONNECT_ERROR or as the answer to a login, and those that
// are there, and other users, do not notice. Who goes makes room.
func TestConnectionsPerUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, dir := bound(t, &limits.Options{ConnectionsPerUser: 2})
		one, two, good := n.as(t, "eve"), n.as(t, "eve"), n.as(t, "ann")
		third := n.web.Dial(t, from("192.0.2.1:1"))
		third.Send(`40{"user":"eve"}`)
		third.Expect(`44` + tooMany)
		late := n.connect(t, "192.0.2.1:1")
		expectReply(t, late.EmitWithAck("login", "eve"), `{"error":`+tooMany+`}`)
		expectReply(t, good.EmitWithAck("login", "eve"), `{"error":`+tooMany+`}`)
		local, _ := n.Of("/").Socket(good.ID())
		if user, _ := dir.UserOf(local); user != "ann" {
			t.Errorf("who was refused as eve is %q", user)
		}
		for _, s := range []*servertest.Socket{one, two, good, late} {
			echo(t, s)
		}
		n.expectHits(t, map[string]uint64{"user_connections": 3})
		expectReply(t, one.EmitWithAck("login", "eve"), "true") // once more is nothing new
		expectReply(t, one.EmitWithAck("login", "bob"), "true")
		third.Connect("/", map[string]any{"user": "eve"}).Disconnect()
		synctest.Wait()
		expectReply(t, late.EmitWithAck("login", "eve"), "true")
		two.Client().Cut()
		synctest.Wait()
		n.as(t, "eve")
		if owned := n.limits.Owned(); owned != 3 {
			t.Errorf("%d users own connections, want eve, ann and bob", owned)
		}
	})
}

// Who fails behind the directory, or goes while it is asked, counts no more.
func TestConnectionsPerUserThatFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := bound(t, &limits.Options{ConnectionsPerUser: 2})
		for range 5 {
			c := n.web.Dial(t, from("192.0.2.1:1"))
			c.Send(`40{"user":"eve","fail":true}`)
			c.Expect(`44{"message":"no"}`)
			synctest.Wait()
			if owned := n.limits.Owned(); owned != 0 {
				t.Fatalf("%d users own connections while nobody is in", owned)
			}
		}
		for range 2 {
			echo(t, n.as(t, "eve"))
		}
		n.expectHits(t, nil)
	})
}

// Where sockets tell by themselves whose they are, one too many is disconnected, and its other namespaces stay. A connection counts
// once for each user, however many sockets it has.
func TestConnectionsPerUserOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &limits.Options{
			ConnectionsPerUser: 1,
			UserOf: func(s *server.Socket) string {
				var as struct{ User string }
				_ = json.Unmarshal(s.Handshake().Auth, &as) // who says nothing is nobody
				return as.User
			},
		}, nil)
		first := n.as(t, "eve")
		echo(t, first.Client().Connect("/a", map[string]any{"user": "eve"}))
		second := n.web.Dial(t, from("192.0.2.1:1"))
		other := second.Connect("/a", map[string]any{"user": "ann"})
		second.Connect("/", map[string]any{"user": "eve"}).ExpectDisconnect()
		echo(t, other)
		echo(t, first)
		n.expectHits(t, map[string]uint64{"user_connections": 1})
		first.Client().Close()
		synctest.Wait()
		echo(t, n.as(t, "eve"))
		if owned := n.limits.Owned(); owned != 2 {
			t.Errorf("%d users own connections, want eve and ann", owned)
		}
	})
}

// The connection that is one too many is closed where that is wanted.
func TestConnectionsPerUserDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, _ := bound(t, &limits.Options{ConnectionsPerUser: 1, UserConnectionsAction: limits.Disconnect})
		first := n.as(t, "eve")
		second := n.web.Dial(t, from("192.0.2.1:1"))
		second.Send(`40{"user":"eve"}`)
		second.ExpectClosed()
		echo(t, first)
		n.expectHits(t, map[string]uint64{"user_connections": 1})
	})
}
