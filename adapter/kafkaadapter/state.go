package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
)

// State says whether the cluster can be reached through Kafka, see adapter.BrokerState. It is Up when the topics are as they should
// be, all partitions that are read here have been found and are read up to their end, and what is written is acknowledged.
type State = adapter.BrokerState

// States of the way to Kafka.
const (
	Starting = adapter.BrokerStarting
	Up       = adapter.BrokerUp
	Down     = adapter.BrokerDown
)

var (
	errNoAnswer = errors.New("no answer from kafka")
	errNotRead  = errors.New("kafka does not hand over what is in a partition")
	errTooOld   = errors.New("kafka did not take the message in time")
	errClosed   = errors.New("the server closes")
	errTooLarge = fmt.Errorf("%w: it is longer than max.message.bytes of its topic", adapter.ErrTooLarge)
	errNewTopic = errors.New("topic was deleted and made anew")
)

// newStatus returns the state of a hub.
func newStatus(opts Options) *brokerstate.Status {
	return brokerstate.New(brokerstate.Options{Name: "kafka adapter", Logger: opts.Logger, OnChange: opts.OnStateChange})
}

// trouble names the kind of an error in statistics.
func trouble(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed), errors.Is(err, kerr.ClusterAuthorizationFailed), errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return "noperm"
	case errors.Is(err, kerr.SaslAuthenticationFailed), errors.Is(err, kerr.UnsupportedSaslMechanism), errors.Is(err, kerr.IllegalSaslState):
		return "auth"
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge), errors.Is(err, errTooLarge):
		return "toolarge"
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID), errors.Is(err, errNewTopic):
		return "notopic"
	case errors.Is(err, kgo.ErrRecordTimeout), errors.Is(err, kgo.ErrRecordRetries), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errNoAnswer),
		errors.Is(err, kerr.RequestTimedOut), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, kerr.NotEnoughReplicas), errors.Is(err, kerr.NotEnoughReplicasAfterAppend):
		return "noreplicas"
	case errors.As(err, new(*kerr.Error)):
		return "other"
	}
	return "connection"
}
