package kafkaadapter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
)

const (
	// surveyEvery is how often the ends of the partitions are asked for, surveyAgain how soon after something went wrong, and how
	// soon at most when there is something to find.
	surveyEvery = time.Second
	surveyAgain = 250 * time.Millisecond
)

// bounds are those of a partition: the offsets of its first record and of the next one, and the epoch of its leader.
type bounds struct {
	start, end int64
	epoch      int32
}

// monitor finds out whether Kafka works: it sees to the topics, asks for the ends of the partitions that are read here, which shows
// that their leaders answer and tells the readers where to begin, and watches that the readers reach them and that what is written is
// acknowledged. It is the only one that tells the client which partitions to read.
type monitor struct {
	// Static after construction.
	client  *kgo.Client
	opts    Options
	status  *brokerstate.Status
	readers *readers
	pub     *publisher
	wake    chan struct{} // capacity 1

	// Owned by run.
	topics  map[string]topicInfo // what they were when they were last looked at
	checked bool                 // they are as they should be, as far as is known
	writes  bool                 // the client may be told to write
	warned  map[string]bool      // topics whose configuration was complained of
	told    string               // the last trouble with them that the log knows

	// Guarded by mu.
	mu     sync.Mutex
	limits map[string]int // by topic: the longest message, 0 if it is not known
	more   []topic        // that are needed beside those of every node
	news   bool           // there is one that was not seen to
}

// newMonitor returns a monitor that gets the client and those that it watches before it runs.
func newMonitor(opts Options, status *brokerstate.Status) *monitor {
	return &monitor{opts: opts, status: status, wake: make(chan struct{}, 1), warned: make(map[string]bool), limits: make(map[string]int)}
}

// longest returns how long the messages of a topic may be. The client asks when it first writes to one, by which time the topics are
// known.
func (m *monitor) longest(topic string) int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.limits[topic]; n > 0 {
		return int32(min(max(n, 512), 1<<30))
	}
	return int32(min(m.opts.MaxMessage, cautiousMessage))
}

// need has one more topic seen to, before anything is read of it that is wanted from now on.
func (m *monitor) need(t topic) {
	m.mu.Lock()
	m.more, m.news = append(m.more, t), true
	m.mu.Unlock()
	m.poke()
}

// needed lists all topics, and reports whether one is new.
func (m *monitor) needed() (all []topic, news bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	news, m.news = m.news, false
	return append(m.opts.topics(), m.more...), news
}

func (m *monitor) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// run watches until ctx ends.
func (m *monitor) run(ctx context.Context) {
	for ctx.Err() == nil {
		began := time.Now()
		err := m.look(ctx)
		if ctx.Err() != nil {
			return
		}
		m.judge(err)
		m.pause(ctx, began, err)
	}
}

// pause waits until it is time to look again.
func (m *monitor) pause(ctx context.Context, began time.Time, err error) {
	wait := surveyEvery
	if err != nil || m.status.Is(Down) {
		wait = surveyAgain
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return
	case <-m.wake:
	case <-ctx.Done():
		return
	}
	if soonest := time.Until(began.Add(surveyAgain)); err != nil && soonest > 0 {
		timer.Reset(soonest)
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// judge sets the state.
func (m *monitor) judge(err error) {
	now := time.Now()
	if err == nil {
		err = m.readers.failure(now)
	}
	if err == nil {
		err = m.pub.failure(now)
	}
	if err != nil {
		m.status.Set(m, Down, err)
	} else {
		m.status.Set(m, Up, nil)
	}
}

// look sees to the topics, if there is a reason, and surveys the partitions.
func (m *monitor) look(ctx context.Context) error {
	topics, news := m.needed()
	m.checked = m.checked && !news
	if !m.checked {
		if err := m.check(ctx, topics); err != nil {
			return err
		}
	}
	m.readers.tell(m.readers.departed())
	m.readers.relieve()
	return m.survey(ctx)
}

// limited returns a context for one question to Kafka.
func (m *monitor) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, m.opts.AnswerTimeout, errNoAnswer)
}

// check creates topics that are missing, and finds out whether one is another than before.
func (m *monitor) check(ctx context.Context, topics []topic) error {
	asked, cancel := m.limited(ctx)
	infos, err := ensureTopics(asked, m.client, &m.opts, topics...)
	cancel()
	if err != nil {
		m.complain(err)
		return err
	}
	if !m.writes {
		if err := m.askProducerID(ctx); err != nil {
			m.complain(err)
			return err
		}
		m.writes = true
	}
	first := m.topics == nil
	before := m.topics
	m.topics, m.checked, m.told = infos, true, ""
	m.setLimits(infos)
	longest := make(map[string]int, len(infos))
	for name, info := range infos {
		m.warn(name, info)
		m.readers.identify(name, info.id)
		longest[name] = int(m.longest(name))
		if was := before[name].id; !first && was != info.id && was != (kadm.TopicID{}) {
			m.client.PurgeTopicsFromClient(name)
			m.readers.renew(name)
		}
	}
	m.pub.begin(longest)
	return nil
}

func (m *monitor) setLimits(infos map[string]topicInfo) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, info := range infos {
		m.limits[name] = info.maxMessage
	}
}

// complain logs what is wrong with the topics, once.
func (m *monitor) complain(err error) {
	if text := err.Error(); text != m.told && trouble(err) != "timeout" && trouble(err) != "connection" {
		m.told = text
		m.opts.Logger.Error("kafka topics are not as they should be", "error", err)
	}
}

// warn tells of topics that work, but not well, once.
func (m *monitor) warn(name string, info topicInfo) {
	if m.warned[name] {
		return
	}
	m.warned[name] = true
	if info.created {
		m.opts.Logger.Info("kafka topic was created", "topic", name)
	}
	if info.replicas == 1 {
		m.opts.Logger.Warn("kafka topic has a single replica: it stands still while its broker is away, and is lost with its disk", "topic", name)
	}
	if info.ownClock {
		m.opts.Logger.Warn("kafka topic has the clocks of its senders; so that what is too old is known by one clock, use kafka-configs.sh --alter --add-config message.timestamp.type=LogAppendTime",
			"topic", name)
	}
}

// askProducerID finds out whether this node may write at all: once the client itself has been refused an id as a producer, it never
// asks again.
func (m *monitor) askProducerID(ctx context.Context) error {
	asked, cancel := m.limited(ctx)
	defer cancel()
	req := kmsg.NewPtrInitProducerIDRequest()
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := req.RequestWith(asked, m.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	if err != nil {
		return fmt.Errorf("kafka refuses to have this node write, which needs the operation WRITE on the topics: %w", err)
	}
	return nil
}

// survey asks for the bounds of all partitions that are read here.
func (m *monitor) survey(ctx context.Context) error {
	all, unknown := m.readers.places()
	unseen := func(at place) bool { // of a topic that was needed a moment ago
		_, seen := m.topics[at.topic]
		return !seen
	}
	all, unknown = slices.DeleteFunc(all, unseen), slices.DeleteFunc(unknown, unseen)
	if len(all) == 0 {
		return nil
	}
	asked, cancel := m.limited(ctx)
	defer cancel()
	ends := listOffsets(asked, m.client, all, -1)
	var starts map[place]answer
	if len(unknown) > 0 {
		starts = listOffsets(asked, m.client, unknown, -2)
	}
	var failure error
	var steps []step
	for at, end := range ends {
		start, ask := starts[at]
		err := end.err
		if err == nil && ask {
			err = start.err
		}
		if err != nil {
			if missing(err) {
				m.checked = false
			}
			failure = fmt.Errorf("find the end of partition %d of %s: %w", at.partition, at.topic, err)
			continue
		}
		b := bounds{start.offset, end.offset, end.epoch}
		if s, some := m.readers.found(at, b); some {
			steps = append(steps, s)
		}
	}
	m.readers.tell(steps)
	if m.readers.suspicious(ends) {
		m.checked = false
	}
	return failure
}

// missing reports whether an error may mean that a topic was deleted.
func missing(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
}

// answer is what a leader says of one partition.
type answer struct {
	offset int64
	epoch  int32
	err    error
}

// listOffsets asks the leaders of partitions for their ends (-1) or starts (-2). There is an answer for each.
func listOffsets(ctx context.Context, client *kgo.Client, places []place, which int64) map[place]answer {
	answers := make(map[place]answer, len(places))
	for _, at := range places {
		answers[at] = answer{err: errNoAnswer}
	}
	for _, shard := range client.RequestSharded(ctx, offsetsRequest(places, which)) {
		if shard.Err != nil {
			err := shard.Err
			if errors.Is(err, context.DeadlineExceeded) {
				err = errNoAnswer
			}
			for _, t := range shard.Req.(*kmsg.ListOffsetsRequest).Topics {
				for _, p := range t.Partitions {
					answers[place{t.Topic, p.Partition}] = answer{err: err}
				}
			}
			continue
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				answers[place{t.Topic, p.Partition}] = answer{p.Offset, p.LeaderEpoch, kerr.ErrorForCode(p.ErrorCode)}
			}
		}
	}
	return answers
}

func offsetsRequest(places []place, which int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	topics := make(map[string]int)
	for _, at := range places {
		i, ok := topics[at.topic]
		if !ok {
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = at.topic
			i = len(req.Topics)
			topics[at.topic] = i
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.CurrentLeaderEpoch, p.Timestamp = at.partition, -1, which
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	return req
}
