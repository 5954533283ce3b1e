package server_test

import (
	"context"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server"
)

// TestNode: a server has one name everywhere, and its sessions' ids begin with its tag.
func TestNode(t *testing.T) {
	nodes, _ := startCluster(t, server.Options{})
	for i, n := range nodes {
		self := n.Node()
		if want := adapter.NodeID(rune('a' + i)); self.ID != want || self.Tag != adapter.TagOf(string(want)) || n.Stats().Node != self {
			t.Errorf("node %d is %+v", i, self)
		}
		_, s := n.connect(t)
		if id := s.Conn().ID(); len(id) != 20 || id[:4] != self.Tag {
			t.Errorf("session %s does not begin with %s", id, self.Tag)
		}
	}
	list, err := nodes[1].Nodes(t.Context())
	if err != nil || len(list) != 3 || list[0].ID != "b" || list[1].ID != "a" || list[2].ID != "c" {
		t.Errorf("%v, error %v", list, err)
	}
	r, err := nodes[0].Of("/").FetchSockets(t.Context())
	if err != nil || len(r.Values) != 3 {
		t.Fatalf("%d sockets, error %v", len(r.Values), err)
	}
	seen := make(map[adapter.NodeID]bool)
	for _, s := range r.Values {
		seen[s.Node()] = true
	}
	if !seen["a"] || !seen["b"] || !seen["c"] {
		t.Errorf("the sockets are on %v", seen)
	}
}

// TestNodeName: the default differs from that of other processes, and a server that is alone has an identity too.
func TestNodeName(t *testing.T) {
	n := start(t, nil)
	if self := n.Node(); self.Name == "" || len(self.ID) != 16 || len(self.Tag) != 4 || self.Started.IsZero() {
		t.Errorf("%+v", self)
	}
	n = start(t, &server.Options{NodeName: "east-1", NodeAddress: "10.0.0.1:3001"})
	if self := n.Node(); self.Name != "east-1" || self.Address != "10.0.0.1:3001" || self.Tag != adapter.TagOf("east-1") {
		t.Errorf("%+v", self)
	}
}

// TestCloseFromWatcher ends a server because of what happens to another node.
func TestCloseFromWatcher(t *testing.T) {
	var cluster adaptertest.Cluster
	one, two := start(t, &server.Options{Adapter: cluster.Node("one")}), start(t, &server.Options{Adapter: cluster.Node("two")})
	acquaint(t, one, 1)
	closed := make(chan error, 1)
	one.OnNodeChange(func(c adapter.NodeChange) {
		if c.Reason == "good-bye" {
			closed <- one.Close()
		}
	})
	if err := two.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := await(t, closed); err != nil {
		t.Error(err)
	}
}
