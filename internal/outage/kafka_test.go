package outage

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/kafkaadapter"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
)

// Kafka loses nothing: what is said while a node cannot reach it is in the log, or waits for it. In ordered namespaces a node gets
// its own broadcasts back from there.
var (
	kafka   = onKafka("kafka", nil)
	ordered = onKafka("kafka ordered", func(string) bool { return true })
)

func onKafka(name string, ordered func(namespace string) bool) *Flavour {
	return &Flavour{
		Name: name,
		Serve: func(t testing.TB) (Server, string) {
			b := kafkatest.Single(t, nil)
			return kafkaServer{b}, b.Addr
		},
		Node: func(t testing.TB, addr, via string, changed func(adapter.BrokerState)) adapter.Builder {
			// The broker tells its own address, which is not to be used.
			dial := kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, via)
			})
			return kafkaadapter.New(&kafkaadapter.Options{
				Seeds: []string{addr}, ClientOptions: []kgo.Opt{dial}, Logger: slog.New(slog.DiscardHandler),
				Ordered:       ordered,
				QueueAge:      2 * time.Minute, // a slow machine may take half a minute to start Kafka
				OnStateChange: func(state adapter.BrokerState, _ error) { changed(state) },
			})
		},
		Promise: func(Trouble) Promise {
			return Promise{Lossless: true, Noticed: 9 * time.Second, Crossing: 15 * time.Second}
		},
	}
}

// kafkaServer is a broker as a Server.
type kafkaServer struct{ *kafkatest.Broker }

func (s kafkaServer) Pause()  { s.Freeze() }
func (s kafkaServer) Resume() { s.Thaw() }
