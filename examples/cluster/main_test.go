package main

import (
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestTwoNodes runs two nodes in memory, without Redis: the application cannot tell the difference.
func TestTwoNodes(t *testing.T) {
	var cluster adaptertest.Cluster
	connect := func(node server.NodeID, user string) *servertest.Socket {
		srv, err := newServer(cluster.Node(node))
		if err != nil {
			t.Fatal(err)
		}
		s := servertest.New(t, srv, nil).Connect(t, "/", nil)
		s.EmitWithAck("login", user)
		return s
	}
	alice, bob := connect("one", "alice"), connect("two", "bob")
	who := func(s *servertest.Socket) (answer online) {
		t.Helper()
		if err := s.EmitWithAck("who").Unmarshal(0, &answer); err != nil {
			t.Fatal(err)
		}
		slices.Sort(answer.Users)
		return answer
	}

	for _, s := range []*servertest.Socket{alice, bob} {
		if got := who(s); !slices.Equal(got.Users, []string{"alice", "bob"}) || !got.Complete {
			t.Errorf("who answers %+v", got)
		}
	}

	// Bob acknowledges on his node, and Alice's node tells her.
	delivered := make(chan server.Args, 1)
	go func() { delivered <- alice.EmitWithAck("send", message{To: "bob", Text: "hi"}) }()
	bob.Expect("receive", "hi").Ack(true)
	var got bool
	if err := (<-delivered).Unmarshal(0, &got); err != nil || !got {
		t.Errorf("delivered: %v, %v", got, err)
	}

	// A node that has lost the others goes on with its own users, and says so.
	cluster.Cut("one")
	if got := who(alice); !slices.Equal(got.Users, []string{"alice"}) || got.Complete {
		t.Errorf("alone, who answers %+v", got)
	}
}
