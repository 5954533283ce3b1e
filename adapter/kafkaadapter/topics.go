package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
)

// shortRetention is how long the topics keep what is of use for a moment only: what is for one node, and what nodes say of themselves.
const shortRetention = 10 * time.Minute

// topic is one that the cluster needs.
type topic struct {
	name       string
	partitions int // at least
	configs    map[string]string
}

// The names of the topics.
func (o *Options) logTopic() string     { return o.Prefix + ".log" }
func (o *Options) directTopic() string  { return o.Prefix + ".direct" }
func (o *Options) controlTopic() string { return o.Prefix + ".control" }

// topics are those that every node needs.
func (o *Options) topics() []topic {
	return []topic{
		{o.logTopic(), o.LogPartitions, o.kept(o.Retention, 128<<20)},
		{o.directTopic(), o.DirectPartitions, o.kept(shortRetention, 32<<20)},
		{o.controlTopic(), 1, o.kept(shortRetention, 16<<20)},
	}
}

// kept is the configuration of a topic that forgets what is old. The broker stamps what is appended: its clock is the only one that
// all nodes have in common.
func (o *Options) kept(retention time.Duration, segment int) map[string]string {
	configs := map[string]string{
		"cleanup.policy":         "delete",
		"message.timestamp.type": "LogAppendTime",
		"retention.ms":           strconv.FormatInt(retention.Milliseconds(), 10),
		"segment.ms":             strconv.FormatInt(max(retention/2, time.Minute).Milliseconds(), 10),
		"segment.bytes":          strconv.Itoa(max(segment, o.MaxMessage)),
		"max.message.bytes":      strconv.Itoa(o.MaxMessage),
	}
	if o.ReplicationFactor >= 3 {
		configs["min.insync.replicas"] = "2"
	}
	return configs
}

// command is how an operator creates a topic.
func (t *topic) command(opts *Options) string {
	var b strings.Builder
	fmt.Fprintf(&b, "kafka-topics.sh --bootstrap-server %s --create --topic %s --partitions %d --replication-factor %d",
		opts.Seeds[0], t.name, t.partitions, max(opts.ReplicationFactor, 1))
	for _, key := range slices.Sorted(maps.Keys(t.configs)) {
		fmt.Fprintf(&b, " --config %s=%s", key, t.configs[key])
	}
	return b.String()
}

// topicsAgain is how soon topics that were created are asked for again.
const topicsAgain = 50 * time.Millisecond

// topicInfo is what was found out about a topic.
type topicInfo struct {
	id         kadm.TopicID
	replicas   int           // the smallest number of any partition
	maxMessage int           // 0 if we may not know
	ownClock   bool          // records have the clock of their senders, not the broker's
	created    bool          // just now, by this node
	retention  time.Duration // 0 if we may not know, below 0 if it has no end
}

// ensureTopics creates the topics that are missing, as far as our rights allow, checks the others, and tells of all by name. The
// error says what to do.
func ensureTopics(ctx context.Context, client *kgo.Client, opts *Options, topics ...topic) (map[string]topicInfo, error) {
	admin := kadm.NewClient(client)
	details, err := findTopics(ctx, admin, topics)
	if err != nil {
		return nil, err
	}
	var created []topic
	for i := range topics {
		t := &topics[i]
		detail := details[t.name]
		if !errors.Is(detail.Err, kerr.UnknownTopicOrPartition) {
			if _, err := t.inspect(detail, opts); err != nil {
				return nil, err
			}
			continue
		}
		if err := t.create(ctx, admin, opts); err != nil {
			return nil, err
		}
		created = append(created, *t)
	}
	if err := awaitTopics(ctx, admin, slices.Clone(created), details); err != nil {
		return nil, err
	}
	infos := make(map[string]topicInfo, len(topics))
	for i := range topics {
		t := &topics[i]
		info, err := t.inspect(details[t.name], opts)
		if err != nil {
			return nil, err
		}
		info.created = slices.ContainsFunc(created, func(c topic) bool { return c.name == t.name })
		infos[t.name] = info
	}
	readConfigs(ctx, admin, infos)
	return infos, nil
}

// findTopics asks for topics. That one is not there, or not for us, is in the answer.
func findTopics(ctx context.Context, admin *kadm.Client, topics []topic) (kadm.TopicDetails, error) {
	names := make([]string, len(topics))
	for i := range topics {
		names[i] = topics[i].name
	}
	details, err := admin.ListTopics(ctx, names...)
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		details = make(kadm.TopicDetails, len(names))
		for _, name := range names {
			details[name] = kadm.TopicDetail{Topic: name, Err: err}
		}
		return details, nil
	case err != nil:
		return nil, fmt.Errorf("ask kafka for the topics %s: %w", strings.Join(names, ", "), err)
	}
	return details, nil
}

// create creates a topic that is missing.
func (t *topic) create(ctx context.Context, admin *kadm.Client, opts *Options) error {
	configs := make(map[string]*string, len(t.configs))
	for key, value := range t.configs {
		configs[key] = kadm.StringPtr(value)
	}
	factor := int16(-1) // the brokers' default
	if opts.ReplicationFactor > 0 {
		factor = int16(opts.ReplicationFactor)
	}
	_, err := admin.CreateTopic(ctx, int32(t.partitions), factor, configs, t.name)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("topic %s does not exist and cannot be created, use %s: %w", t.name, t.command(opts), err)
	}
	return nil
}

// awaitTopics waits until the brokers know topics that were created, and puts what they know into details.
func awaitTopics(ctx context.Context, admin *kadm.Client, topics []topic, details kadm.TopicDetails) error {
	for len(topics) > 0 {
		found, err := findTopics(ctx, admin, topics)
		if err != nil {
			return err
		}
		topics = slices.DeleteFunc(topics, func(t topic) bool {
			detail := found[t.name]
			details[t.name] = detail
			return detail.Err == nil && leaderless(detail) < 0
		})
		if len(topics) > 0 && brokerstate.Pause(ctx, topicsAgain) != nil {
			return fmt.Errorf("topic %s was created but has no leaders yet: %w", topics[0].name, ctx.Err())
		}
	}
	return nil
}

// leaderless returns a partition without a leader, -1 if there is none.
func leaderless(detail kadm.TopicDetail) int32 {
	for _, p := range detail.Partitions {
		if p.Leader < 0 {
			return p.Partition
		}
	}
	return -1
}

// inspect checks a topic that is there.
func (t *topic) inspect(detail kadm.TopicDetail, opts *Options) (topicInfo, error) {
	switch {
	case errors.Is(detail.Err, kerr.TopicAuthorizationFailed):
		return topicInfo{}, fmt.Errorf("topic %s does not exist or may not be used, it needs the operations READ, WRITE and DESCRIBE: %w", t.name, detail.Err)
	case detail.Err != nil:
		return topicInfo{}, fmt.Errorf("ask kafka for topic %s: %w", t.name, detail.Err)
	case len(detail.Partitions) < t.partitions:
		return topicInfo{}, fmt.Errorf("topic %s has %d partitions and needs %d, use kafka-topics.sh --bootstrap-server %s --alter --topic %s --partitions %d, or set fewer for all nodes",
			t.name, len(detail.Partitions), t.partitions, opts.Seeds[0], t.name, t.partitions)
	}
	info := topicInfo{id: detail.ID, replicas: len(detail.Partitions[0].Replicas)}
	for _, p := range detail.Partitions {
		info.replicas = min(info.replicas, len(p.Replicas))
	}
	return info, nil
}

// readConfigs notes what the configurations say, as far as they may be read.
func readConfigs(ctx context.Context, admin *kadm.Client, infos map[string]topicInfo) {
	configs, err := admin.DescribeTopicConfigs(ctx, slices.Collect(maps.Keys(infos))...)
	if err != nil {
		return
	}
	for _, config := range configs {
		info, ok := infos[config.Name]
		if !ok || config.Err != nil {
			continue
		}
		for _, c := range config.Configs {
			switch c.Key {
			case "max.message.bytes":
				info.maxMessage, _ = strconv.Atoi(c.MaybeValue())
			case "message.timestamp.type":
				info.ownClock = c.MaybeValue() == "CreateTime"
			case "retention.ms":
				ms, _ := strconv.ParseInt(c.MaybeValue(), 10, 64)
				info.retention = time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
			}
		}
		infos[config.Name] = info
	}
}
