package kafkaadapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
)

const (
	// pastPage is how many bytes of a partition are fetched at once for a client that comes back.
	pastPage = 1 << 20
	// pastRecords and pastBytes bound what is read for one client, what is not for it included.
	pastRecords = 100_000
	pastBytes   = 64 << 20
	// pastAgain is how long a partition is left alone whose leader is another one than was thought.
	pastAgain = 100 * time.Millisecond
)

// past reads again what was read before. It has a client of its own, because questions to a broker wait behind the node's own reading,
// for which Kafka takes its time. Its connections end when nobody has come back for a while. All methods may be called concurrently.
type past struct {
	// Static.
	opts *Options

	// Guarded by mu.
	mu     sync.Mutex
	client *kgo.Client // nil before the first use
	closed bool
}

// use returns the client.
func (p *past) use() (*kgo.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, unavailable(errClosed)
	case p.client != nil:
		return p.client, nil
	}
	how, err := p.opts.clientOptions()
	if err != nil {
		return nil, err
	}
	p.client, err = kgo.NewClient(append(how, prompt(p.opts)...)...)
	return p.client, err
}

func (p *past) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed = true; p.client != nil {
		p.client.Close()
	}
}

// position is a place in a partition: everything before next was read.
type position struct {
	topic kadm.TopicID // which tells topics of one name apart that came one after the other; zero with brokers before version 2.8
	epoch int32        // of the leader that has written what stands before it; -1 if it is not known
	next  int64
}

// read calls each with the records behind a position until it returns false, or until it has had all that were there at some moment
// after the call, and returns where that ends. What is not all there any more is adapter.ErrHistoryGap.
func (p *past) read(ctx context.Context, at place, from position, each func(r *kgo.Record) bool) (end position, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*p.opts.AnswerTimeout)
	defer cancel()
	client, err := p.use()
	if err != nil {
		return end, err
	}
	for {
		end, err = p.readOnce(ctx, client, at, &from, each)
		if err == nil || !kerr.IsRetriable(err) || missing(err) {
			break
		}
		if brokerstate.Pause(ctx, pastAgain) != nil {
			break
		}
	}
	switch {
	case errors.Is(err, kerr.OffsetOutOfRange), missing(err):
		return end, adapter.ErrHistoryGap
	case err != nil && !errors.Is(err, adapter.ErrHistoryGap) && !errors.Is(err, adapter.ErrHistoryLimit):
		return end, fmt.Errorf("read partition %d of %s again: %w: %w", at.partition, at.topic, adapter.ErrClusterUnavailable, err)
	}
	return end, err
}

// since returns a position in a partition from which on everything is read that came within some time before its last record. at says which
// topic it is.
func (p *past) since(ctx context.Context, where place, at position, window time.Duration) (position, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*p.opts.AnswerTimeout)
	defer cancel()
	client, err := p.use()
	if err != nil {
		return at, err
	}
	first, last := listOffsets(ctx, client, []place{where}, earliest)[where], listOffsets(ctx, client, []place{where}, latest)[where]
	if err := cmp.Or(first.err, last.err); err != nil {
		return at, err
	}
	at.epoch, at.next = -1, first.offset
	if first.offset == last.offset {
		return at, nil
	}
	var newest time.Time
	end := at
	end.next = last.offset - 1
	if _, err := p.read(ctx, where, end, func(r *kgo.Record) bool {
		newest = r.Timestamp
		return true
	}); err != nil {
		return at, err
	}
	then := listOffsets(ctx, client, []place{where}, newest.Add(-window).UnixMilli())[where]
	if then.err == nil && then.offset >= 0 && !newest.IsZero() {
		at.next = max(at.next, then.offset)
	}
	return at, then.err
}

// readOnce moves from on, and may be called again after an error.
func (p *past) readOnce(ctx context.Context, client *kgo.Client, at place, from *position, each func(r *kgo.Record) bool) (end position, err error) {
	last, leader, err := lastOffset(ctx, client, at)
	if err != nil {
		return end, err
	}
	end = position{from.topic, last.epoch, last.offset}
	if from.next > end.next {
		return end, adapter.ErrHistoryGap
	}
	if from.epoch >= 0 {
		if err := p.unchanged(ctx, client, at, *from); err != nil {
			return end, err
		}
	}
	bytes, records := 0, 0
	for first := true; first || from.next < end.next; first = false { // the first page tells that the topic is the one that is meant
		page, next, err := fetchPage(ctx, client, leader, at, *from)
		if err != nil {
			return end, err
		}
		for _, r := range page {
			from.next = r.Offset + 1
			if r.Offset >= end.next {
				return end, nil
			}
			if !each(r) {
				return position{from.topic, r.LeaderEpoch, from.next}, nil
			}
			records++
			bytes += len(r.Value)
		}
		if from.next = max(from.next, next); records > pastRecords || bytes > pastBytes {
			return end, adapter.ErrHistoryLimit
		}
	}
	return end, nil
}

// lastOffset asks where a partition ends, and which broker is its leader.
func lastOffset(ctx context.Context, client *kgo.Client, at place) (last answer, leader int32, err error) {
	for _, shard := range client.RequestSharded(ctx, offsetsRequest([]place{at}, latest)) {
		if shard.Err != nil {
			return last, 0, shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				return answer{offset: p.Offset, epoch: p.LeaderEpoch}, shard.Meta.NodeID, kerr.ErrorForCode(p.ErrorCode)
			}
		}
	}
	return last, 0, errNoAnswer
}

// unchanged returns adapter.ErrHistoryGap if what stands before a position is not what it was: a leader that had not everything has been
// elected.
func (p *past) unchanged(ctx context.Context, client *kgo.Client, at place, from position) error {
	req := kmsg.NewPtrOffsetForLeaderEpochRequest()
	req.ReplicaID = -1
	topic := kmsg.NewOffsetForLeaderEpochRequestTopic()
	topic.Topic = at.topic
	partition := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
	partition.Partition, partition.CurrentLeaderEpoch, partition.LeaderEpoch = at.partition, -1, from.epoch
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	for _, shard := range client.RequestSharded(ctx, req) {
		if shard.Err != nil {
			return shard.Err
		}
		for _, t := range shard.Resp.(*kmsg.OffsetForLeaderEpochResponse).Topics {
			for _, answer := range t.Partitions {
				err := kerr.ErrorForCode(answer.ErrorCode)
				if err == nil && answer.EndOffset < from.next {
					err = adapter.ErrHistoryGap
				}
				return err
			}
		}
	}
	return errNoAnswer
}

// fetchPage reads some records of a partition, and tells where the next ones begin.
func fetchPage(ctx context.Context, client *kgo.Client, leader int32, at place, from position) (records []*kgo.Record, next int64, err error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MinBytes, req.MaxBytes, req.SessionEpoch = -1, 1, pastPage, -1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = at.topic, from.topic
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.Partition, partition.FetchOffset, partition.PartitionMaxBytes = at.partition, from.next, pastPage
	topic.Partitions = append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	raw, err := client.Broker(int(leader)).RetriableRequest(ctx, req)
	if err != nil {
		return nil, 0, err
	}
	resp := raw.(*kmsg.FetchResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, 0, err
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			fetched, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
				Offset: from.next, Topic: at.topic, Partition: at.partition,
			}, &resp.Topics[i].Partitions[j], kgo.DefaultDecompressor(), nil)
			return fetched.Records, next, fetched.Err
		}
	}
	return nil, 0, errNoAnswer
}
