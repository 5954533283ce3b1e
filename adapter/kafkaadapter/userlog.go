package kafkaadapter

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sockeye-io/sockeye/internal/seldom"
)

// userCheck is how often the topic is looked at: whether it is still the same, and whether something is to be affirmed.
const userCheck = 5 * time.Second

// userLog is one reading of the users' topic, from its first record on. It ends when the topic is another one, or has lost something.
type userLog struct {
	// Static after construction.
	opts   *UserStoreOptions
	client *kgo.Client
	topic  string
	id     kadm.TopicID
	tables []*userTable // by partition
	writer uint64       // in the records of this reading
	ends   *endOffsets
	bad    func(record *kgo.Record) // told of records that are none of ours
	warned *seldom.Keyed

	// Guarded by mu.
	mu      sync.Mutex
	number  uint64
	waiting map[uint64]func(told, error) // by number of the change
}

// openUserLog finds the topic, or makes it, and reads all that it has.
func openUserLog(ctx context.Context, opts *UserStoreOptions, bad func(*kgo.Record), warned *seldom.Keyed) (*userLog, error) {
	how, err := opts.clientOptions()
	if err != nil {
		return nil, err
	}
	how = append(how, prompt(&opts.Options)...)
	client, err := kgo.NewClient(append(how, kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.DisableFetchSessions())...)
	if err != nil {
		return nil, err
	}
	l := &userLog{opts: opts, client: client, topic: opts.usersTopic(), bad: bad, warned: warned, waiting: make(map[uint64]func(told, error))}
	var id [8]byte
	_, _ = rand.Read(id[:])
	l.writer = binary.BigEndian.Uint64(id[:])
	if err := l.begin(ctx); err != nil {
		client.Close()
		return nil, err
	}
	return l, nil
}

// begin finds the partitions and where they begin.
func (l *userLog) begin(ctx context.Context) error {
	admin := kadm.NewClient(l.client)
	t := l.opts.users()
	details, err := admin.ListTopics(ctx, l.topic)
	if err != nil {
		return err
	}
	if n := len(details[l.topic].Partitions); n > 0 {
		t.partitions = n
	}
	infos, err := ensureTopics(ctx, l.client, &l.opts.Options, t)
	if err != nil {
		return err
	}
	l.id = infos[l.topic].id
	l.warn(ctx, admin, infos[l.topic])
	if details, err = admin.ListTopics(ctx, l.topic); err != nil {
		return err
	}
	l.ends = newEndOffsets(l.client, l.topic, len(details[l.topic].Partitions), l.opts.AnswerTimeout)
	starts, err := l.ends.list(ctx, earliest)
	if err != nil {
		return err
	}
	from := make(map[int32]kgo.Offset)
	for partition, start := range starts {
		l.tables = append(l.tables, newUserTable(start))
		from[int32(partition)] = kgo.NewOffset().At(start)
	}
	l.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{l.topic: from})
	return nil
}

// warn tells of a topic that will lose something.
func (l *userLog) warn(ctx context.Context, admin *kadm.Client, info topicInfo) {
	if _, ok := l.warned.Pass("topic", time.Hour); !ok {
		return
	}
	if info.replicas == 1 {
		l.opts.Logger.Warn("kafka topic has a single replica: it stands still while its broker is away, and is lost with its disk", "topic", l.topic)
	}
	configs, err := admin.DescribeTopicConfigs(ctx, l.topic)
	if err != nil {
		return // we need not be allowed to ask
	}
	for _, config := range configs {
		for _, c := range config.Configs {
			if c.Key == "cleanup.policy" && c.MaybeValue() != "compact" {
				l.opts.Logger.Warn("the users' topic must have cleanup.policy=compact: users would be forgotten", "topic", l.topic, "cleanup.policy", c.MaybeValue())
			}
		}
	}
}

// load waits until all was read that is there now.
func (l *userLog) load(ctx context.Context) error {
	ends, err := l.ends.list(ctx, latest)
	if err != nil {
		return err
	}
	for partition, end := range ends {
		if err := l.await(ctx, int32(partition), end); err != nil {
			return err
		}
	}
	return l.prove(ctx)
}

// prove waits until a record of each partition was written and read: the client may need a moment for a topic that is new to it.
func (l *userLog) prove(ctx context.Context) error {
	records := make([]userRecord, len(l.tables))
	for partition := range records {
		key := userKey(ofProof, "", strconv.Itoa(partition))
		records[partition] = l.build(key, userStep{do: stepPut, state: strconv.FormatUint(l.writer, 16)})
	}
	b := newUserBatch(l, records, func() {})
	select {
	case <-b.all:
		_, err := b.first(nil)
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await waits until everything before an offset was read.
func (l *userLog) await(ctx context.Context, partition int32, end int64) error {
	for {
		moved := l.tables[partition].reached(end)
		if moved == nil {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// read reads until ctx ends, or until the topic is not what it was, and returns why.
func (l *userLog) read(ctx context.Context) error {
	for {
		fetches := l.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, err := range fetches.Errors() {
			if errors.Is(err.Err, kerr.UnknownTopicOrPartition) || !kerr.IsRetriable(err.Err) {
				return fmt.Errorf("read %s: %w", l.topic, err.Err)
			}
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Partition < 0 || int(p.Partition) >= len(l.tables) {
				return // watch ends a reading of a topic that has got partitions
			}
			table := l.tables[p.Partition]
			if first := p.LogStartOffset; first > 0 && table.starts(first) {
				table.cut(first)
			}
			for _, record := range p.Records {
				l.take(table, record)
			}
			if n := len(p.Records); n > 0 {
				table.reach(p.Records[n-1].Offset + 1)
			}
		})
	}
}

func (l *userLog) take(table *userTable, record *kgo.Record) {
	w, err := table.take(record, len(l.tables))
	if err != nil {
		l.bad(record)
		return
	}
	if w.record.writer != l.writer {
		return
	}
	if w.wrong {
		l.write(table.affirm(w.record.key), nil)
	}
	if done := l.waiter(w.record.number); done != nil {
		done(w, nil)
	}
}

// waiter returns who waits for a change, once.
func (l *userLog) waiter(number uint64) func(told, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	done := l.waiting[number]
	delete(l.waiting, number)
	return done
}

// write appends a record, does not block, and calls done once: when what it did was read, or when it is known that it was not
// written. Nothing is called any more after the end of the reading, see end.
func (l *userLog) write(r userRecord, done func(told, error)) {
	l.mu.Lock()
	l.number++
	r.writer, r.number = l.writer, l.number
	if done != nil {
		l.waiting[r.number] = done
	}
	l.mu.Unlock()
	record := r.encode(l.topic, userPartition(r.key, len(l.tables)))
	l.client.TryProduce(context.Background(), record, func(_ *kgo.Record, err error) {
		if err == nil {
			return
		}
		if done := l.waiter(r.number); done != nil {
			done(told{}, err)
		}
	})
}

// watch looks after the topic until ctx ends, or until it is another one.
func (l *userLog) watch(ctx context.Context) error {
	tick := time.NewTicker(userCheck)
	defer tick.Stop()
	admin := kadm.NewClient(l.client)
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, table := range l.tables {
			for _, r := range table.tidy(time.Now()) {
				l.write(r, nil)
			}
		}
		asking, cancel := context.WithTimeout(ctx, l.opts.AnswerTimeout)
		details, err := admin.ListTopics(asking, l.topic)
		cancel()
		now := details[l.topic]
		switch {
		case err != nil:
		case errors.Is(now.Err, kerr.UnknownTopicOrPartition):
			return fmt.Errorf("topic %s is gone", l.topic)
		case now.Err == nil && (now.ID != l.id || len(now.Partitions) != len(l.tables)):
			return fmt.Errorf("topic %s was made anew or has got partitions", l.topic)
		}
	}
}

// serve reads and watches until one of them ends, or ctx.
func (l *userLog) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ends := make(chan error, 2)
	go func() { ends <- l.read(ctx) }()
	go func() { ends <- l.watch(ctx) }()
	err := <-ends
	cancel()
	<-ends
	return err
}

// end closes the client and fails who waits.
func (l *userLog) end(err error) {
	l.client.Close()
	l.mu.Lock()
	waiting := l.waiting
	l.waiting = make(map[uint64]func(told, error))
	l.mu.Unlock()
	for _, done := range waiting {
		done(told{}, err)
	}
}

// Which offsets are asked for.
const (
	latest   = -1
	earliest = -2
)

// endOffsets asks where the partitions end. Whoever asks while a question is open shares the next one with others.
type endOffsets struct {
	// Static after construction.
	client     *kgo.Client
	topic      string
	partitions int
	timeout    time.Duration

	// Guarded by mu.
	mu   sync.Mutex
	busy bool
	next *endQuestion // nil if nobody waits for the next one
}

type endQuestion struct {
	done chan struct{}
	// Set before done is closed.
	ends []int64
	err  error
}

func newEndOffsets(client *kgo.Client, topic string, partitions int, timeout time.Duration) *endOffsets {
	return &endOffsets{client: client, topic: topic, partitions: partitions, timeout: timeout}
}

// now returns where the partitions end at a moment after the call.
func (e *endOffsets) now(ctx context.Context) ([]int64, error) {
	e.mu.Lock()
	if e.next == nil {
		e.next = &endQuestion{done: make(chan struct{})}
	}
	q := e.next
	if !e.busy {
		e.busy = true
		go e.ask()
	}
	e.mu.Unlock()
	select {
	case <-q.done:
		return q.ends, q.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask asks until nobody wants to know. Each question has its time.
func (e *endOffsets) ask() {
	for {
		e.mu.Lock()
		q := e.next
		e.next = nil
		e.busy = q != nil
		e.mu.Unlock()
		if q == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), e.timeout)
		q.ends, q.err = e.list(ctx, latest)
		cancel()
		close(q.done)
	}
}

// list asks for an offset of every partition.
func (e *endOffsets) list(ctx context.Context, which int64) ([]int64, error) {
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID = -1
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = e.topic
	for partition := range e.partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = int32(partition), which
		topic.Partitions = append(topic.Partitions, p)
	}
	request.Topics = append(request.Topics, topic)
	answer, err := request.RequestWith(ctx, e.client)
	if err != nil {
		return nil, err
	}
	offsets := make([]int64, e.partitions)
	known := 0
	for _, t := range answer.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, err
			}
			if p.Partition >= 0 && int(p.Partition) < len(offsets) {
				offsets[p.Partition] = p.Offset
				known++
			}
		}
	}
	if known != len(offsets) {
		return nil, fmt.Errorf("kafka tells the offsets of %d of %d partitions", known, len(offsets))
	}
	return offsets, nil
}
