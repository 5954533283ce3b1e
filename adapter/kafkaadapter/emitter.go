package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/envelope"
)

// emitterPatience is how long an emitter waits for Kafka at most without a deadline.
const emitterPatience = 10 * time.Second

// Emitter reaches the clients of a cluster of nodes with New from a process that serves none, see adapter.Emitter. Each call is one
// record, and returns when Kafka has it, after 10 s at most if the context has no deadline. The nodes get it even if they are cut off
// from Kafka at that moment, unless it is volatile. It cannot ask for anything, nor reach one node alone.
type Emitter struct {
	*adapter.Emitter
	client *kgo.Client
}

// NewEmitter returns an emitter for the namespace "/", which the caller closes. Of the options those have an effect that say how Kafka is
// reached, and Prefix and LogPartitions, which are those of the nodes. It makes no topics and connects with the first call; what is wrong
// with the options is the error.
func NewEmitter(opts *Options) (*Emitter, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	how, err := o.clientOptions()
	if err != nil {
		return nil, err
	}
	client, err := kgo.NewClient(append(how, prompt(&o)...)...)
	if err != nil {
		return nil, fmt.Errorf("make a kafka client: %w", err)
	}
	return &Emitter{adapter.NewEmitter(emitterWire{client, &o}), client}, nil
}

// Close ends the connections. What has not been taken yet is lost.
func (e *Emitter) Close() error {
	e.client.Close()
	return nil
}

// prompt are the options of a client that sends at once, and tries again soon while Kafka is away.
func prompt(o *Options) []kgo.Opt {
	return []kgo.Opt{
		kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordDeliveryTimeout(emitterPatience),
		kgo.ProducerBatchMaxBytes(int32(o.MaxMessage)), kgo.ProduceRequestTimeout(o.AnswerTimeout),
		kgo.RequestTimeoutOverhead(o.AnswerTimeout), kgo.DialTimeout(o.AnswerTimeout),
		kgo.MetadataMinAge(250 * time.Millisecond), kgo.MetadataMaxAge(time.Minute), kgo.DisableClientMetrics(),
		kgo.RetryBackoffFn(func(fails int) time.Duration { return min(50*time.Millisecond<<min(fails, 5), retryWithin) }),
	}
}

// emitterWire is the adapter.EmitterWire over Kafka.
type emitterWire struct {
	client *kgo.Client
	opts   *Options
}

// Send writes a message where a node would.
func (w emitterWire) Send(ctx context.Context, namespace string, m *adapter.Message) error {
	codec, err := envelope.New(envelope.Emitter, namespace, nil)
	if err != nil {
		return err
	}
	body, err := codec.Sharded(m)
	if err != nil {
		return err
	}
	if len(namespace) > maxHeader {
		return fmt.Errorf("%w: the namespace has %d bytes", adapter.ErrTooLarge, len(namespace))
	}
	l := letterOf(envelope.Emitter, namespace, m, body)
	if m.Flags.Volatile {
		l.at = -1 // the broker stamps it: the clock here may differ
	}
	at := logOf(w.opts, namespace)
	return produce(ctx, w.client, l.record(at.topic, at.partition))
}

// produce waits until Kafka has a record. The client itself may hold on to one that is under way for longer than ctx.
func produce(ctx context.Context, client *kgo.Client, record *kgo.Record) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, emitterPatience)
		defer cancel()
	}
	done := make(chan error, 1)
	client.TryProduce(ctx, record, func(_ *kgo.Record, err error) { done <- err })
	select {
	case err := <-done:
		if errors.Is(err, kerr.MessageTooLarge) || errors.Is(err, kerr.RecordListTooLarge) {
			return fmt.Errorf("%w: %w", adapter.ErrTooLarge, err)
		}
		return err
	case <-ctx.Done():
		return fmt.Errorf("wait for kafka: %w", ctx.Err())
	}
}
