package natsadapter

import (
	"context"
	"fmt"
	"testing"

	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

// userNode is a whole node: a server, its directory of users, and its store.
type userNode struct {
	*servertest.Server
	srv   *server.Server
	dir   *users.Directory
	store *UserStore
}

func newUserNode(t *testing.T, url string) *userNode {
	t.Helper()
	n := &userNode{store: userStore(t, url, prefixOf(t))}
	var err error
	if n.srv, err = server.New(&server.Options{Adapter: of(t, url), NodeName: t.Name() + url, Logger: quiet()}); err != nil {
		t.Fatal(err)
	}
	if n.dir, err = users.New(n.srv, users.Options{Store: n.store, Mixed: users.MixedOff, Logger: quiet()}); err != nil {
		t.Fatal(err)
	}
	n.Server = servertest.New(t, n.srv, nil)
	t.Cleanup(func() {
		if err := n.dir.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// TestDirectory: messages find their users on other nodes, each on a server of NATS of its own, also when the keeper has gone.
func TestDirectory(t *testing.T) {
	servers := natstest.Routed(t, 3)
	var nodes []*userNode
	var stores []*UserStore
	for _, s := range servers {
		n := newUserNode(t, s.URL)
		nodes, stores = append(nodes, n), append(stores, n.store)
	}
	redistest.Eventually(t, "the nodes know each other", func() bool {
		for _, n := range nodes {
			if count, err := n.srv.Of("/").ServerCount(within(t)); err != nil || count != len(nodes) {
				return false
			}
		}
		return true
	})
	clients := make([]*servertest.Socket, len(nodes))
	for i, n := range nodes {
		clients[i] = n.Connect(t, "/", nil)
		s, ok := n.srv.Of("/").Socket(clients[i].ID())
		if !ok {
			t.Fatal("the socket is not there")
		}
		if err := n.dir.Bind(within(t), s, fmt.Sprint("user", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	everybodyIsFound(t, nodes, clients, "before")
	keeper := agree(t, stores)
	keeper.Close() // the node goes on without a store of its own
	var left []*userNode
	var others []*UserStore
	var theirs []*servertest.Socket
	for i, n := range nodes {
		if n.store != keeper {
			left, others, theirs = append(left, n), append(others, n.store), append(theirs, clients[i])
		}
	}
	agree(t, others)
	everybodyIsFound(t, left, theirs, "at once")
	redistest.Eventually(t, "the users are written anew", func() bool {
		for i, n := range nodes {
			if n.store == keeper {
				continue
			}
			e, err := others[0].Lookup(within(t), "/", fmt.Sprint("user", i))
			if err != nil || len(e.Holders) != 1 {
				return false
			}
		}
		return true
	})
	everybodyIsFound(t, left, theirs, "after")
}

// everybodyIsFound sends from each node to the user of each.
func everybodyIsFound(t *testing.T, nodes []*userNode, clients []*servertest.Socket, what string) {
	t.Helper()
	for i, c := range clients {
		user, ok := "", false
		s, found := nodes[i].srv.Of("/").Socket(c.ID())
		if found {
			user, ok = nodes[i].dir.UserOf(s)
		}
		if !ok {
			t.Fatalf("%s: the socket has no user", what)
		}
		for j, from := range nodes {
			name := fmt.Sprint(what, j)
			if err := from.dir.User(user).Emit(context.Background(), name); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			c.Expect(name)
		}
	}
}
