package kafkaadapter

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestFaults has brokers answer with errors for a while: everything that is said meanwhile arrives, in order and once, and the state is Up
// again.
func TestFaults(t *testing.T) {
	for key, list := range map[kmsg.Key][]*kerr.Error{
		kmsg.Produce: {
			kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut,
			kerr.KafkaStorageError, kerr.UnknownTopicOrPartition,
		},
		kmsg.Fetch: {
			kerr.NotLeaderForPartition, kerr.OffsetOutOfRange, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.KafkaStorageError,
			kerr.OffsetNotAvailable, kerr.UnknownTopicID, kerr.UnknownServerError, kerr.TopicAuthorizationFailed, kerr.CorruptMessage,
		},
		kmsg.ListOffsets: {kerr.NotLeaderForPartition, kerr.LeaderNotAvailable, kerr.UnknownTopicOrPartition, kerr.UnknownServerError},
		kmsg.Metadata:    {kerr.LeaderNotAvailable, kerr.UnknownServerError, kerr.UnknownTopicOrPartition},
	} {
		for _, fault := range list {
			t.Run(key.Name()+"/"+fault.Message, func(t *testing.T) {
				t.Parallel()
				testFault(t, key, fault)
			})
		}
	}
}

func testFault(t *testing.T, key kmsg.Key, fault *kerr.Error) {
	c := fake(t)
	opts := options(t, c.ListenAddrs()...)
	nodes := join(t, opts, opts)
	from, to := nodes[0], nodes[1]
	stop := from.stream(t)
	redistest.Eventually(t, "messages arrive", func() bool { return len(to.numbers(t, from)) > 20 })
	h := c.Fault(kfake.Fault{Keys: []kmsg.Key{key}, Err: fault, Count: 3})
	defer h.Remove()
	redistest.Eventually(t, "the fault has struck", func() bool { return h.Hits() >= 3 })
	heard := len(to.numbers(t, from))
	redistest.Eventually(t, "messages arrive again", func() bool { return len(to.numbers(t, from)) > heard+20 })
	to.hears(t, from, 1, stop())
	from.awaitState(t, Up)
	to.awaitState(t, Up)
	if s := to.kafka.Stats(); s.Lost > 0 || s.NewTopics > 0 {
		t.Errorf("%+v", s)
	}
}
