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
	infos := make(map[string]topicInfo, len(topics))
	for i := range topics {
		t := &topics[i]
		detail, err := t.find(ctx, admin)
		if err != nil {
			return nil, err
		}
		created := errors.Is(detail.Err, kerr.UnknownTopicOrPartition)
		if created {
			if detail, err = t.create(ctx, admin, opts); err != nil {
				return nil, err
			}
		}
		info, err := t.inspect(detail, opts)
		if err != nil {
			return nil, err
		}
		info.created = created
		infos[t.name] = info
	}
	readConfigs(ctx, admin, infos)
	return infos, nil
}

// find asks for a topic. That it is not there, or not for us, is in the answer.
func (t *topic) find(ctx context.Context, admin *kadm.Client) (kadm.TopicDetail, error) {
	details, err := admin.ListTopics(ctx, t.name)
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return kadm.TopicDetail{Topic: t.name, Err: err}, nil
	case err != nil:
		return kadm.TopicDetail{}, fmt.Errorf("ask kafka for topic %s: %w", t.name, err)
	}
	return details[t.name], nil
}

// create creates a topic and waits until the brokers know it.
func (t *topic) create(ctx context.Context, admin *kadm.Client, opts *Options) (kadm.TopicDetail, error) {
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
		return kadm.TopicDetail{}, fmt.Errorf("topic %s does not exist and cannot be created, use %s: %w", t.name, t.command(opts), err)
	}
	for {
		detail, err := t.find(ctx, admin)
		if err != nil {
			return kadm.TopicDetail{}, err
		}
		if detail.Err == nil && leaderless(detail) < 0 {
			return detail, nil
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return kadm.TopicDetail{}, fmt.Errorf("topic %s was created but has no leaders yet: %w", t.name, ctx.Err())
		}
	}
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
