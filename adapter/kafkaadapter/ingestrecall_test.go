package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// haltingWire stands still when it has sent a number of messages, until its context ends: as a process that is killed then.
type haltingWire struct {
	adapter.EmitterWire
	left   int
	halted chan struct{}
}

func (w *haltingWire) Send(ctx context.Context, namespace string, m *adapter.Message) error {
	if err := w.EmitterWire.Send(ctx, namespace, m); err != nil {
		return err
	}
	if w.left--; w.left > 0 {
		return nil
	}
	close(w.halted)
	<-ctx.Done()
	return errors.New("killed")
}

// TestIngestRecalls has three processes of a group take records one after the other. The first is killed between the event of the third
// record and its commit: that comes again. What was committed does not come again, whichever process gets a record with its key.
func TestIngestRecalls(t *testing.T) {
	b := kafkatest.Shared(t)
	opts := options(t, b.Addr)
	orders := opts.Prefix + ".orders"
	makeTopics(t, b, orders)
	n := join(t, opts)[0]
	client := b.Client()
	write := func(ids ...string) {
		t.Helper()
		for _, id := range ids {
			r := &kgo.Record{Topic: orders, Value: []byte(fmt.Sprintf("%q", id)), Headers: []kgo.RecordHeader{
				{Key: ingestEvent, Value: []byte("e")}, {Key: ingestNamespace, Value: []byte("/chat")}, {Key: ingestID, Value: []byte(id)},
			}}
			if err := client.ProduceSync(within(t), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("a", "b", "c")
	complete := opts.withDefaults()
	wire := &haltingWire{EmitterWire: emitterWire{client: emitterOf(t, opts).client, opts: &complete}, left: 3, halted: make(chan struct{})}
	killed, err := NewIngest(&opts, &IngestOptions{Topics: []string{orders}}, adapter.NewEmitter(wire))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(within(t))
	ended := make(chan error, 1)
	go func() { ended <- killed.Run(ctx) }()
	<-wire.halted
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	all := []string{`["e","a"]`, `["e","b"]`, `["e","c"]`}
	gets(t, n, all...)

	write("a", "d", "b") // a producer tries again what it does not know to be done
	second, stop := ingesting(t, opts, IngestOptions{Topics: []string{orders}})
	all = append(all, `["e","c"]`, `["e","d"]`)
	gets(t, n, all[3:]...)
	redistest.Eventually(t, "the second has done all", func() bool { s := second.Stats(); return s.Events == 2 && s.Repeated == 2 })
	stop()

	write("c", "a", "e", "d")
	third, _ := ingesting(t, opts, IngestOptions{Topics: []string{orders}})
	redistest.Eventually(t, "the third has done all", func() bool { s := third.Stats(); return s.Events == 1 && s.Repeated == 3 })
	redistest.Eventually(t, "the last comes", func() bool { return slices.Contains(n.got(), `["e","e"]`) })
	if got, want := n.got(), append(all, `["e","e"]`); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
