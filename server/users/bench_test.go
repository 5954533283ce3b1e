package users_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

// benchCluster is two servers with directories on a bus in memory, which know of each other.
type benchCluster struct {
	srv    [2]*server.Server
	dir    [2]*users.Directory
	client [2]*servertest.Server
}

func newBenchCluster(b *testing.B) *benchCluster {
	b.Helper()
	var c benchCluster
	cluster, store := new(adaptertest.Cluster), users.NewMemoryStore()
	for i := range c.srv {
		id := adapter.NodeID(fmt.Sprint("node", i))
		srv, err := server.New(&server.Options{Adapter: cluster.Node(id), NodeName: string(id), Logger: logger()})
		if err != nil {
			b.Fatal(err)
		}
		dir, err := users.New(srv, users.Options{Store: store, Mixed: users.MixedOff, Logger: logger()})
		if err != nil {
			b.Fatal(err)
		}
		c.srv[i], c.dir[i], c.client[i] = srv, dir, servertest.New(b, srv, nil)
		b.Cleanup(func() { _ = dir.Close() })
	}
	deadline := time.Now().Add(30 * time.Second)
	for known := 0; known < 2; {
		nodes, err := c.srv[0].Nodes(b.Context())
		if known = len(nodes); err != nil || time.Now().After(deadline) {
			b.Fatalf("the nodes do not know each other: %v, error %v", nodes, err)
		}
	}
	return &c
}

func (c *benchCluster) connect(b *testing.B, i int) (*servertest.Socket, *server.Socket) {
	b.Helper()
	client := c.client[i].Connect(b, "/", nil)
	s, ok := c.srv[i].Of("/").Socket(client.ID())
	if !ok {
		b.Fatal("the socket is not there")
	}
	return client, s
}

// BenchmarkEmit is a message to a user of this node, and to one of another node who is in the cache; volatile, so that nothing piles up
// where clients do not read.
func BenchmarkEmit(b *testing.B) {
	for i, where := range []string{"local", "remote"} {
		b.Run(where, func(b *testing.B) {
			c := newBenchCluster(b)
			_, s := c.connect(b, i)
			if err := c.dir[i].Bind(b.Context(), s, "u", nil); err != nil {
				b.Fatal(err)
			}
			u := c.dir[0].User("u").Volatile()
			if err := u.Emit(b.Context(), "message", "x"); err != nil {
				b.Fatal(err)
			}
			before := c.dir[0].Stats().Lookups
			b.ReportAllocs()
			for b.Loop() {
				if err := u.Emit(b.Context(), "message", "x"); err != nil {
					b.Fatal(err)
				}
			}
			if asked := c.dir[0].Stats().Lookups - before; asked > 0 {
				b.Errorf("the store was asked %d times", asked)
			}
		})
	}
}

// BenchmarkBind binds a socket to a user who is nowhere else, and unbinds it, with a store in memory.
func BenchmarkBind(b *testing.B) {
	c := newBenchCluster(b)
	_, s := c.connect(b, 0)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.dir[0].Bind(b.Context(), s, "u", nil); err != nil {
			b.Fatal(err)
		}
		if err := c.dir[0].Unbind(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}
