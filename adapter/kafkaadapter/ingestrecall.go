package kafkaadapter

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// recallWithin bounds how long the keys of a partition are read back.
	recallWithin = 10 * time.Second
	// fewestRecalled is how many records of a partition are read back at least.
	fewestRecalled = 1000
)

// The group gives partitions to this process, and takes them away. What was done of one meanwhile others have seen.
func (i *Ingest) assigned(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	i.own(partitions, true)
}

func (i *Ingest) lost(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
	i.own(partitions, false)
}

func (i *Ingest) own(partitions map[string][]int32, mine bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for topic, list := range partitions {
		for _, p := range list {
			if at := (place{topic, p}); mine {
				i.mine[at] = false
			} else {
				delete(i.mine, at)
			}
		}
	}
}

// recall has this process know the idempotency keys of what was done of a partition before it got that: it reads back the records
// before its first one. Their number is bounded, so that those of all partitions are remembered together. If that fails the reason is
// logged, and a key of that time may come again.
func (i *Ingest) recall(ctx context.Context, first *kgo.Record) {
	at := place{first.Topic, first.Partition}
	i.mu.Lock()
	known, ok := i.mine[at]
	back := max(int64(len(i.ids.order)/max(len(i.mine), 1)), fewestRecalled)
	if ok {
		i.mine[at] = true
	}
	i.mu.Unlock()
	if known || !ok || first.Offset == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, recallWithin)
	defer cancel()
	if err := i.readBack(ctx, at, max(first.Offset-back, 0), first.Offset); err != nil && ctx.Err() != context.Canceled {
		i.opts.Logger.Warn("idempotency keys of what was done before cannot be read: events with one of them may come again",
			"topic", at.topic, "partition", at.partition, "error", err)
	}
}

// readBack notes the keys of the records from an offset up to another one, at which there is a record.
func (i *Ingest) readBack(ctx context.Context, at place, from, to int64) error {
	how, err := i.opts.clientOptions()
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(append(append(how, prompt(&i.opts)...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{at.topic: {at.partition: kgo.NewOffset().At(from)}}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // of what is there
	)...)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetches := client.PollFetches(ctx)
		for _, failed := range fetches.Errors() {
			return fmt.Errorf("read %s: %w", at.topic, failed.Err)
		}
		for _, r := range fetches.Records() {
			if r.Offset >= to {
				return nil
			}
			i.seen(r)
		}
	}
}

// seen notes the key of a record that others have done.
func (i *Ingest) seen(r *kgo.Record) {
	for _, h := range r.Headers {
		if h.Key == ingestID && len(h.Value) > 0 {
			i.mu.Lock()
			i.ids.add(string(h.Value))
			i.mu.Unlock()
		}
	}
}
