package natsadapter

import (
	"fmt"
	"testing"

	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/returning"
	"github.com/sockeye-io/sockeye/server"
)

// TestRecovery has clients go from node to node, on one server and on three.
func TestRecovery(t *testing.T) {
	one := natstest.Single(t, natstest.JetStream(t, "single")...)
	t.Run("one server", func(t *testing.T) { returning.Roam(t, serverNodes(t, 3, recoveryBuilders(t, one)), 9, 300) })
	t.Run("order", func(t *testing.T) { returning.Order(t, serverNodes(t, 1, recoveryBuilders(t, one))[0]) })
	t.Run("three servers", func(t *testing.T) {
		returning.Roam(t, serverNodes(t, 3, recoveryBuilders(t, natstest.RoutedJetStream(t, 3)...)), 9, 300)
	})
}

// recoveryBuilders returns a function that makes the builders of nodes, on one server after the other.
func recoveryBuilders(t *testing.T, servers ...*natstest.Server) func() *Builder {
	i := 0
	return func() *Builder {
		s := servers[i%len(servers)]
		i++
		return New(&Options{Servers: []string{s.URL}, Prefix: prefixOf(t), RecoveryMaxBytes: 16 << 20, Logger: quiet()})
	}
}

// serverNodes starts nodes whose clients can go on.
func serverNodes(t *testing.T, n int, build func() *Builder) []*returning.Node {
	t.Helper()
	nodes := make([]*returning.Node, n)
	for i := range nodes {
		nodes[i] = returning.Start(t, build(), fmt.Sprint("node", i), server.RecoveryOptions{})
	}
	return nodes
}
