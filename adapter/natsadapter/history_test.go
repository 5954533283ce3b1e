package natsadapter

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/natstest"
)

// TestHistory runs the suite of histories on one server, with files.
func TestHistory(t *testing.T) {
	s := natstest.Single(t, natstest.JetStream(t, "single")...)
	adaptertest.RunHistory(t, 3, everyNode(func(int) Options {
		return Options{Servers: []string{s.URL}, RecoveryMaxBytes: 1 << 20, Logger: quiet()}
	}))
}

// TestHistoryRouted has each node on a server of its own, and three replicas of everything.
func TestHistoryRouted(t *testing.T) {
	servers := natstest.RoutedJetStream(t, 3)
	adaptertest.RunHistory(t, 3, everyNode(func(node int) Options {
		return Options{Servers: []string{servers[node].URL}, RecoveryInMemory: true, RecoveryMaxBytes: 1 << 20, Logger: quiet()}
	}))
}

// TestHistoryEmbedded has a server in this process.
func TestHistoryEmbedded(t *testing.T) {
	s := natstest.EmbeddedWith(t, &server.Options{DontListen: true, JetStream: true, StoreDir: t.TempDir(), JetStreamMaxMemory: 61 << 20})
	adaptertest.RunHistory(t, 2, everyNode(func(int) Options {
		return Options{
			Connect: []nats.Option{nats.InProcessServer(s)}, RecoveryInMemory: true, RecoveryMaxBytes: 1 << 20, Logger: quiet(),
		}
	}))
}
