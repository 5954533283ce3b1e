package kafkaadapter

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/internal/seldom"
)

// ledgerPage bounds how many records of a ledger are read at once.
const ledgerPage = 10_000

// ledger is a topic of one partition that nodes append to, and read from its beginning: what has to be kept for a time. It connects when
// it is first used. All methods may be called concurrently, and end with their context.
type ledger struct {
	// Static after construction.
	opts   Options
	topic  topic
	warned seldom.Keyed
	using  chan struct{} // has a token while somebody connects or reads

	// Guarded by mu.
	mu     sync.Mutex
	now    *ledgerClient // nil until it is first used, and after close
	closed bool
}

// ledgerClient is a client for one topic as long as that is not made anew.
type ledgerClient struct {
	*kgo.Client
	id   kadm.TopicID
	info topicInfo
	ends *endOffsets
}

func newLedger(opts Options, name string, retention time.Duration) *ledger {
	t := topic{name: name, partitions: 1, configs: opts.kept(retention, 16<<20)}
	t.configs["retention.bytes"] = "-1"
	return &ledger{opts: opts, topic: t, using: make(chan struct{}, 1)}
}

// close ends what is under way with an error.
func (l *ledger) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.now != nil {
		l.now.Close()
		l.now = nil
	}
}

// turn waits until nobody else connects or reads. end is to be called in the end.
func (l *ledger) turn(ctx context.Context) (end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case l.using <- struct{}{}:
		return func() { <-l.using }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// client returns the client, and makes one if there is none. It is for who has the turn.
func (l *ledger) client(ctx context.Context) (*ledgerClient, error) {
	l.mu.Lock()
	c, closed := l.now, l.closed
	l.mu.Unlock()
	switch {
	case closed:
		return nil, errStoreClosed
	case c == nil:
		return l.connect(ctx)
	}
	return c, nil
}

// current returns the client for the topic that is there now, as client does.
func (l *ledger) current(ctx context.Context) (*ledgerClient, error) {
	c, err := l.client(ctx)
	if err != nil {
		return nil, err
	}
	details, err := kadm.NewClient(c.Client).ListTopics(ctx, l.topic.name)
	if err != nil {
		return nil, fmt.Errorf("ask kafka for topic %s: %w", l.topic.name, err)
	}
	if d := details[l.topic.name]; d.Err == nil && d.ID == c.id {
		return c, nil
	} else if d.Err != nil && !errors.Is(d.Err, kerr.UnknownTopicOrPartition) {
		return nil, fmt.Errorf("ask kafka for topic %s: %w", l.topic.name, d.Err)
	}
	l.opts.Logger.Warn("a topic of kafka was deleted or made anew; what it kept is lost", "topic", l.topic.name)
	l.mu.Lock()
	l.now = nil
	l.mu.Unlock()
	c.Close()
	return l.connect(ctx)
}

// connect makes a client, and the topic if it is missing.
func (l *ledger) connect(ctx context.Context) (*ledgerClient, error) {
	how, err := l.opts.clientOptions()
	if err != nil {
		return nil, err
	}
	how = append(how, prompt(&l.opts)...)
	client, err := kgo.NewClient(append(how, kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.KeepControlRecords(), kgo.DisableFetchSessions())...)
	if err != nil {
		return nil, err
	}
	infos, err := ensureTopics(ctx, client, &l.opts, l.topic)
	if err != nil {
		client.Close()
		return nil, err
	}
	info := infos[l.topic.name]
	c := &ledgerClient{Client: client, id: info.id, info: info, ends: newEndOffsets(client, l.topic.name, 1, l.opts.AnswerTimeout)}
	if _, ok := l.warned.Pass("topic", time.Hour); ok && info.replicas == 1 {
		l.opts.Logger.Warn("kafka topic has a single replica: it stands still while its broker is away, and is lost with its disk", "topic", l.topic.name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		client.Close()
		return nil, errStoreClosed
	}
	l.now = c
	return c, nil
}

// append writes a record that is to be kept for a time at least, and returns when all replicas have it.
func (l *ledger) append(ctx context.Context, record *kgo.Record, keep time.Duration) error {
	c, err := func() (*ledgerClient, error) {
		end, err := l.turn(ctx)
		if err != nil {
			return nil, err
		}
		defer end()
		c, err := l.client(ctx)
		if err == nil {
			err = l.stretch(ctx, c, keep)
		}
		return c, err
	}()
	if err != nil {
		return err
	}
	record.Topic, record.Partition = l.topic.name, 0
	return c.ProduceSync(ctx, record).FirstErr()
}

// stretch sees to it that the topic keeps its records for a time. What we may not know we leave to whoever made the topic.
func (l *ledger) stretch(ctx context.Context, c *ledgerClient, keep time.Duration) error {
	if c.info.retention <= 0 || keep <= c.info.retention {
		return nil
	}
	text := strconv.FormatInt(min(keep, math.MaxInt64-time.Hour).Milliseconds()+1, 10)
	change := []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &text}}
	answers, err := kadm.NewClient(c.Client).AlterTopicConfigs(ctx, change, l.topic.name)
	for _, a := range answers {
		err = errors.Join(err, a.Err)
	}
	if err != nil {
		return fmt.Errorf("topic %s keeps records for %v, not for %v, use "+
			"kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name %s --add-config retention.ms=%s: %w",
			l.topic.name, c.info.retention, keep, l.opts.Seeds[0], l.topic.name, text, err)
	}
	c.info.retention = keep
	return nil
}

// read returns records behind a cursor, the oldest first, and the cursor behind them; "" stands before the first. No records say that
// there are no more.
func (l *ledger) read(ctx context.Context, cursor string) (records []*kgo.Record, next string, err error) {
	end, err := l.turn(ctx)
	if err != nil {
		return nil, cursor, err
	}
	defer end()
	c, err := l.current(ctx)
	if err != nil {
		return nil, cursor, err
	}
	last, err := c.ends.list(ctx, latest)
	if err != nil {
		return nil, cursor, err
	}
	from := parseCursor(cursor, c.id)
	if from == last[0] {
		return nil, cursor, nil
	}
	first, err := c.ends.list(ctx, earliest)
	if err != nil {
		return nil, cursor, err
	}
	if from < first[0] || from > last[0] { // removed, or lost
		from = first[0]
	}
	if from >= last[0] {
		return nil, cursor, nil
	}
	records, err = c.fetch(ctx, l.topic.name, from, last[0])
	if n := len(records); n > 0 {
		return records, cursorAt(c.id, records[n-1].Offset+1), nil
	}
	return nil, cursor, err
}

// fetch reads from an offset up to another one, but no more than a page.
func (c *ledgerClient) fetch(ctx context.Context, topic string, from, to int64) (records []*kgo.Record, err error) {
	c.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(from)}})
	defer c.RemoveConsumePartitions(map[string][]int32{topic: {0}})
	for from < to && len(records) < ledgerPage {
		fetches := c.PollRecords(ctx, ledgerPage-len(records))
		for _, failed := range fetches.Errors() {
			if ctx.Err() != nil || errors.Is(failed.Err, kgo.ErrClientClosed) || !kerr.IsRetriable(failed.Err) {
				return records, fmt.Errorf("read %s: %w", topic, failed.Err)
			}
		}
		for _, record := range fetches.Records() {
			if record.Offset >= from { // the client may still have something of a former reading
				records, from = append(records, record), record.Offset+1
			}
		}
	}
	return records, nil
}

// cursorAt is a place in a topic, which is void when the topic is made anew.
func cursorAt(id kadm.TopicID, offset int64) string {
	return hex.EncodeToString(id[:]) + ":" + strconv.FormatInt(offset, 10)
}

// parseCursor returns the offset of a cursor, -1 if that is no place in the topic.
func parseCursor(cursor string, id kadm.TopicID) int64 {
	topic, text, _ := strings.Cut(cursor, ":")
	offset, err := strconv.ParseInt(text, 10, 64)
	if err != nil || offset < 0 || topic != hex.EncodeToString(id[:]) {
		return -1
	}
	return offset
}
