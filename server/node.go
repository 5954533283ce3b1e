package server

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// defaultNodeName is unique on this host while the process runs.
func defaultNodeName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}

// joinCluster makes the server a node of its cluster.
func (srv *Server) joinCluster() error {
	self := adapter.Node{
		ID: adapter.NewNodeID(), Name: srv.opts.NodeName, Tag: adapter.TagOf(srv.opts.NodeName), Address: srv.opts.NodeAddress,
		Started: time.Now(), Version: version(),
	}
	if srv.opts.Forwarder != nil {
		self.Address, self.Key = srv.opts.Forwarder.Announce()
	}
	cluster, err := srv.opts.Adapter.Open(self, srv.nodeChanged)
	if err != nil {
		return err
	}
	srv.cluster = cluster
	srv.nodeChanged(cluster.Self())
	return nil
}

// nodeChanged has new session ids begin with the node's tag.
func (srv *Server) nodeChanged(self adapter.Node) {
	if err := srv.engine.SetTag(self.Tag); err != nil {
		srv.opts.Logger.Error("session ids do not tell their node", "node", self.Name, "error", err)
	}
}

// version is that of the module, as far as the build tells.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	const module = "github.com/sockeye-io/sockeye"
	if info.Main.Path == module {
		return info.Main.Version
	}
	for _, dep := range info.Deps {
		if dep.Path == module {
			return dep.Version
		}
	}
	return ""
}

// Node tells what the other nodes of the cluster know of this server. Its ID is the server's name in all namespaces and results.
func (srv *Server) Node() adapter.Node { return srv.cluster.Self() }

// Nodes lists the nodes of the cluster that are known, this one first, then by name, silent ones included. It waits until
// the broker has been reached, and returns ErrClusterUnavailable beside the list when ctx ends first. Node.js nodes are not
// in it: they are only counted, see Namespace.ServerCount.
func (srv *Server) Nodes(ctx context.Context) ([]adapter.Node, error) { return srv.cluster.Nodes(ctx) }

// OnNodeChange registers a function that is told what happens to the other nodes, one change after the other, beginning with
// those that are known. It must not block for long. The returned function removes it.
func (srv *Server) OnNodeChange(f func(adapter.NodeChange)) (remove func()) {
	return srv.cluster.Watch(f)
}
