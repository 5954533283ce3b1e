package adapter_test

import (
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
)

// wrapped is a broker whose buses a test has changed.
type wrapped struct {
	adapter.Broker
	wrap func(adapter.Bus) adapter.Bus
}

func (w wrapped) Bus(local adapter.Local) (adapter.Bus, error) {
	b, err := w.Broker.Bus(local)
	if err != nil || w.wrap == nil {
		return b, err
	}
	return w.wrap(b), nil
}

// lone is the only adapter of a node: it closes the node with itself.
type lone struct {
	adapter.Clustered
	cluster adapter.Cluster
}

func (l lone) Close() error {
	err := l.Clustered.Close()
	if closeErr := l.cluster.Close(); err == nil {
		err = closeErr
	}
	return err
}

// join makes a node with one namespace. wrap may be nil.
func join(c *adaptertest.Cluster, id adapter.NodeID, local adapter.Local, wrap func(adapter.Bus) adapter.Bus) (adapter.Clustered, error) {
	return joinBroker(id, wrapped{c.Broker(id), wrap}, local)
}

func joinBroker(id adapter.NodeID, broker adapter.Broker, local adapter.Local) (adapter.Clustered, error) {
	cluster, err := adapter.Join(adapter.Node{ID: id, Name: string(id)}, nil, broker, nil)
	if err != nil {
		return nil, err
	}
	a, err := cluster.New(local)
	if err != nil {
		_ = cluster.Close()
		return nil, err
	}
	return lone{a.(adapter.Clustered), cluster}, nil
}

// mustJoin is join for a test that cannot go on without.
func mustJoin(t *testing.T, c *adaptertest.Cluster, id adapter.NodeID, local adapter.Local, wrap func(adapter.Bus) adapter.Bus) adapter.Clustered {
	t.Helper()
	a, err := join(c, id, local, wrap)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
