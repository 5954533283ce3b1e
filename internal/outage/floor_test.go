package outage

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// bare and bareLinger are what Kafka costs with nothing of ours: a client for each node, which produces with acks=all and reads one
// partition. The second has the client gather what comes within 2 ms.
var (
	bare       = bareClient("kgo alone", 0)
	bareLinger = bareClient("kgo alone, 2 ms", 2*time.Millisecond)
)

const bareTopic = "bare"

// bareClient is a flavour for TestCost alone.
func bareClient(name string, linger time.Duration) *Flavour {
	return &Flavour{
		Name: name,
		Serve: func(t testing.TB) (Server, string) {
			b := kafkatest.Single(t, nil)
			admin := kadm.NewClient(b.Client())
			if _, err := admin.CreateTopic(t.Context(), 1, 1, nil, bareTopic); err != nil {
				t.Fatal(err)
			}
			return kafkaServer{b}, b.Addr
		},
		Node: func(t testing.TB, addr, _ string, _ func(adapter.BrokerState)) adapter.Builder {
			return adapter.BuilderFunc(func(local adapter.Local) (adapter.Adapter, error) {
				client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequiredAcks(kgo.AllISRAcks()), kgo.ProducerLinger(linger),
					kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(1<<20),
					kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{bareTopic: {0: kgo.NewOffset().AtStart()}}))
				if err != nil {
					return nil, err
				}
				b := &bareAdapter{Adapter: adapter.NewMemory(local), local: local, client: client, done: make(chan struct{})}
				go b.read()
				return b, nil
			})
		},
	}
}

// bareAdapter only broadcasts.
type bareAdapter struct {
	adapter.Adapter
	local  adapter.Local
	client *kgo.Client
	done   chan struct{}
}

// Broadcast produces the payload, and does not deliver here, as the nodes of a measurement have no sockets.
func (b *bareAdapter) Broadcast(p *parser.Packet, _ adapter.Selection, _ adapter.Flags) error {
	b.client.Produce(context.Background(), &kgo.Record{Topic: bareTopic, Value: p.Payload.JSON}, nil)
	return nil
}

// ServerCount returns 0, which stands for any number: nothing here knows who reads.
func (b *bareAdapter) ServerCount(context.Context) (int, error) { return 0, nil }

func (b *bareAdapter) read() {
	defer close(b.done)
	for {
		fetches := b.client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		fetches.EachRecord(func(r *kgo.Record) {
			p := &parser.Packet{Type: parser.Event, Namespace: namespace, ID: parser.NoID, Payload: parser.Payload{JSON: r.Value}}
			b.local.Deliver(p, adapter.Selection{}, adapter.Flags{})
		})
	}
}

func (b *bareAdapter) Close() error {
	b.client.Close()
	<-b.done
	return b.Adapter.Close()
}
