package natsadapter

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/natstest"
)

// everyNode returns a function for adaptertest.Run. optionsOf returns those of a node but for the prefix.
func everyNode(optionsOf func(node int) Options) adaptertest.NewCluster {
	return func(t *testing.T, n int) []adapter.Builder {
		builders := make([]adapter.Builder, n)
		for i := range builders {
			opts := optionsOf(i)
			opts.Prefix = prefixOf(t) // keeps the clusters on one NATS apart
			builders[i] = New(&opts)
		}
		return builders
	}
}

func prefixOf(t testing.TB) string { return strings.NewReplacer("/", ".", " ", "_").Replace(t.Name()) }

func TestSuite(t *testing.T) {
	server := natstest.Single(t)
	for _, nodes := range []int{1, 2, 3} {
		t.Run(string(rune('0'+nodes))+" nodes", func(t *testing.T) {
			adaptertest.Run(t, nodes, everyNode(func(int) Options { return Options{Servers: []string{server.URL}} }))
		})
	}
}

// TestSuiteRouted has each node on a server of its own.
func TestSuiteRouted(t *testing.T) {
	servers := natstest.Routed(t, 3)
	adaptertest.Run(t, 3, everyNode(func(node int) Options { return Options{Servers: []string{servers[node].URL}} }))
}

func TestSuiteEmbedded(t *testing.T) {
	server := natstest.Embedded(t)
	adaptertest.Run(t, 2, everyNode(func(int) Options { return Options{Connect: []nats.Option{nats.InProcessServer(server)}} }))
}
