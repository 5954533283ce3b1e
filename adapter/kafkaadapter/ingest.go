package kafkaadapter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
	"github.com/sockeye-io/sockeye/adapter/internal/defaults"
	"github.com/sockeye-io/sockeye/internal/seldom"
)

// The headers of records that become events. The value is a JSON array with the arguments of the event, any other JSON value is the one
// argument, and nothing is none.
const (
	ingestEvent     = "event"     // the name of the event; required
	ingestNamespace = "namespace" // "/" by default
	ingestRoom      = "room"      // the sockets in one of these rooms, or of these users; without any, all of the namespace
	ingestUser      = "user"
	ingestExcept    = "except" // but not those in one of these rooms
	ingestID        = "id"     // idempotency key: of records with the same one only the first becomes an event
)

// Headers that a record gets on its way to the dead letters.
const (
	deadReason = "sockeye-error"
	deadSource = "sockeye-source" // topic/partition/offset
)

const (
	// ingestPoll is how many records are taken at once.
	ingestPoll = 500
	// ingestRetry is how long it takes until something is tried again that the broker of the cluster did not take.
	ingestRetry = 500 * time.Millisecond
	// ingestAttempt is how long one attempt may take.
	ingestAttempt = 5 * time.Second
	// defaultIDs is how many idempotency keys are remembered.
	defaultIDs = 100_000
)

// IngestOptions configure an Ingest. Topics is required.
type IngestOptions struct {
	// Topics are those whose records become events. They are there already.
	Topics []string
	// Group is the consumer group: processes with the same one share the partitions. Default: <prefix>.ingest.
	Group string
	// DeadLetters is the topic for records that cannot become events; "": they are counted and logged alone. It is there already. What is
	// too long for it goes there without its value, or, if the rest is too long too, is counted and logged alone.
	DeadLetters string
	// UserRoomPrefix is that of the nodes' directory of users. Default: "".
	UserRoomPrefix string
	// PassID has each event get one more argument, the last: the idempotency key, or topic/partition/offset of a record without one. It
	// lets clients leave out what they get twice.
	PassID bool
	// IDs is how many idempotency keys this process remembers, and about how many records it reads back when it gets partitions.
	// Default: 100,000.
	IDs int
}

// Ingest makes events of records. It takes each at least once: a record is done when the broker of the cluster has its event, or
// Kafka the dead letter. Records of one partition become events one after the other, in order.
//
// A record with an idempotency key that another one had before it becomes no event. Each process remembers the keys of what it has
// done, and reads back those of what was done of a partition before that came to it, by another process or before a new start: the
// last IDs records of its partitions together. Records with the same key have to be in the same partition, as those with the same
// Kafka key are. What a process has emitted and could not commit before it was killed comes again.
type Ingest struct {
	// Static after construction.
	opts   Options
	ingest IngestOptions
	to     *adapter.Emitter
	warned seldom.Keyed

	// Guarded by mu.
	mu    sync.Mutex
	stats IngestStats
	ids   *recentIDs
	mine  map[place]bool // partitions of this process, and whether what was done of them before is known
}

// IngestStats tells of an Ingest.
type IngestStats struct {
	Events     uint64 // emitted
	Repeated   uint64 // left out because of their idempotency key
	Dead       uint64 // could not become events
	Retries    uint64 // attempts that failed because the broker was away
	LastReason error  // why the last dead one could not
}

// NewIngest returns an Ingest of a Kafka that writes to a cluster, over whatever broker. What is wrong with the options is the error.
func NewIngest(opts *Options, ingest *IngestOptions, to *adapter.Emitter) (*Ingest, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	i := &Ingest{opts: o.withDefaults(), to: to, mine: make(map[place]bool)}
	if ingest != nil {
		i.ingest = *ingest
	}
	i.ingest.Topics = slices.Clone(i.ingest.Topics)
	i.ingest.Group = cmp.Or(i.ingest.Group, i.opts.Prefix+".ingest")
	i.ids = newRecentIDs(defaults.Positive(i.ingest.IDs, defaultIDs))
	if err := i.opts.check(); err != nil {
		return nil, err
	}
	if _, err := i.opts.clientOptions(); err != nil {
		return nil, err
	}
	if len(i.ingest.Topics) == 0 {
		return nil, errors.New("no topic is named")
	}
	if slices.Contains(i.ingest.Topics, i.ingest.DeadLetters) {
		return nil, fmt.Errorf("topic %s cannot take the dead letters of itself", i.ingest.DeadLetters)
	}
	for _, own := range []string{i.opts.logTopic(), i.opts.directTopic(), i.opts.controlTopic(), i.opts.Prefix + ".users", i.opts.Prefix + ".revoked", i.opts.Prefix + ".admin"} {
		if slices.Contains(i.ingest.Topics, own) || i.ingest.DeadLetters == own {
			return nil, fmt.Errorf("topic %s is one of the cluster's own", own)
		}
	}
	return i, nil
}

// Stats returns the current figures.
func (i *Ingest) Stats() IngestStats {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.stats
}

// Run takes records until ctx ends, and returns nil then, or an error that waiting does not heal. It is called once.
func (i *Ingest) Run(ctx context.Context) error {
	how, err := i.opts.clientOptions()
	if err != nil {
		return err
	}
	how = append(how, prompt(&i.opts)...)
	client, err := kgo.NewClient(append(how,
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), // of dead letters
		kgo.ConsumeTopics(i.ingest.Topics...), kgo.ConsumerGroup(i.ingest.Group), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(i.assigned), kgo.OnPartitionsRevoked(i.lost), kgo.OnPartitionsLost(i.lost),
	)...)
	if err != nil {
		return fmt.Errorf("make a kafka client: %w", err)
	}
	defer client.CloseAllowingRebalance()
	for {
		err := i.some(ctx, client)
		client.AllowRebalance()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// some takes some records and commits them.
func (i *Ingest) some(ctx context.Context, client *kgo.Client) error {
	fetches := client.PollRecords(ctx, ingestPoll)
	for _, err := range fetches.Errors() {
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err.Err, kerr.TopicAuthorizationFailed), errors.Is(err.Err, kerr.GroupAuthorizationFailed):
			return fmt.Errorf("read %s: %w", err.Topic, err.Err)
		}
		if _, ok := i.warned.Pass("read", userWarnEvery); ok {
			i.opts.Logger.Warn("records cannot be read", "topic", err.Topic, "error", err.Err)
		}
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var done []*kgo.Record
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		all.Go(func() {
			if last := i.partition(ctx, client, p.Records); last != nil {
				mu.Lock()
				done = append(done, last)
				mu.Unlock()
			}
		})
	})
	all.Wait()
	if len(done) == 0 {
		return nil
	}
	// What was done is committed even if ctx has ended meanwhile.
	committing, cancel := context.WithTimeout(context.WithoutCancel(ctx), ingestAttempt)
	defer cancel()
	if err := client.CommitRecords(committing, done...); err != nil {
		if _, ok := i.warned.Pass("commit", userWarnEvery); ok {
			i.opts.Logger.Warn("what was taken is not committed and will be taken again", "group", i.ingest.Group, "error", err)
		}
	}
	return nil
}

// partition takes records of one partition in order and returns the last that is done.
func (i *Ingest) partition(ctx context.Context, client *kgo.Client, records []*kgo.Record) (last *kgo.Record) {
	if len(records) > 0 {
		i.recall(ctx, records[0])
	}
	for _, r := range records {
		if !i.take(ctx, client, r) {
			break
		}
		last = r
	}
	return last
}

// take reports whether a record is done: it tries until it is, or ctx ends.
func (i *Ingest) take(ctx context.Context, client *kgo.Client, r *kgo.Record) bool {
	e, err := parseIngest(r)
	if err == nil && !i.isNew(e.id) {
		return true
	}
	for {
		attempt, cancel := context.WithTimeout(ctx, ingestAttempt)
		if err == nil {
			err = i.emit(attempt, r, &e)
			if err == nil {
				cancel()
				i.count(func(s *IngestStats) { s.Events++ })
				return true
			}
		}
		if hopeless(err) {
			dead := i.bury(attempt, client, r, err)
			cancel()
			if dead == nil {
				return true
			}
		}
		cancel()
		i.count(func(s *IngestStats) { s.Retries++ })
		if _, ok := i.warned.Pass("emit", userWarnEvery); ok && ctx.Err() == nil {
			i.opts.Logger.Warn("an event cannot be sent, and is tried again", "source", sourceOf(r), "error", err)
		}
		if brokerstate.Pause(ctx, ingestRetry) != nil {
			return false
		}
		if !hopeless(err) {
			err = nil
		}
	}
}

func (i *Ingest) count(f func(*IngestStats)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f(&i.stats)
}

// isNew reports whether an idempotency key has not been seen, and remembers it.
func (i *Ingest) isNew(id string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if id != "" && !i.ids.add(id) {
		i.stats.Repeated++
		return false
	}
	return true
}

// emit sends the event of a record.
func (i *Ingest) emit(ctx context.Context, r *kgo.Record, e *ingested) error {
	target := i.to.Of(e.namespace).Except(e.except...)
	rooms := slices.Clone(e.rooms)
	for _, user := range e.users {
		rooms = append(rooms, i.ingest.UserRoomPrefix+user)
	}
	if len(rooms) > 0 { // without a room everybody is meant
		target = target.To(rooms...)
	}
	args := e.args
	if i.ingest.PassID {
		args = append(slices.Clip(args), cmp.Or(e.id, sourceOf(r)))
	}
	return target.Emit(ctx, e.event, args...)
}

// hopeless reports whether it does not help to try again: the record is wrong, or too long.
func hopeless(err error) bool {
	return errors.Is(err, errIngest) || errors.Is(err, adapter.ErrReservedEvent) || errors.Is(err, adapter.ErrTooLarge)
}

// bury puts a record to the dead letters: without its value if it is too long for them, and if it is so even then, not at all.
func (i *Ingest) bury(ctx context.Context, client *kgo.Client, r *kgo.Record, reason error) error {
	if i.ingest.DeadLetters != "" {
		headers := slices.DeleteFunc(slices.Clone(r.Headers), func(h kgo.RecordHeader) bool { return h.Key == deadReason || h.Key == deadSource })
		headers = append(headers, kgo.RecordHeader{Key: deadReason, Value: []byte(reason.Error())}, kgo.RecordHeader{Key: deadSource, Value: []byte(sourceOf(r))})
		write := func(value []byte) error {
			return produce(ctx, client, &kgo.Record{Topic: i.ingest.DeadLetters, Key: r.Key, Value: value, Headers: headers})
		}
		err := write(r.Value)
		if errors.Is(err, adapter.ErrTooLarge) {
			err = write(nil) // its headers say where the value is
		}
		if err != nil && !errors.Is(err, adapter.ErrTooLarge) {
			return fmt.Errorf("write to %s: %w", i.ingest.DeadLetters, err)
		}
	}
	i.count(func(s *IngestStats) { s.Dead, s.LastReason = s.Dead+1, reason })
	if _, ok := i.warned.Pass("dead", userWarnEvery); ok {
		i.opts.Logger.Warn("a record cannot become an event", "source", sourceOf(r), "reason", reason, "dead letters", i.ingest.DeadLetters)
	}
	return nil
}

func sourceOf(r *kgo.Record) string { return fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset) }

// errIngest says that a record cannot become an event.
var errIngest = errors.New("no event")

// ingested is a record as an event.
type ingested struct {
	event, namespace, id string
	rooms, users, except []string
	args                 []any
}

// parseIngest reads a record. Its errors wrap errIngest.
func parseIngest(r *kgo.Record) (e ingested, err error) {
	e.namespace = "/"
	for _, h := range r.Headers {
		value := string(h.Value)
		switch h.Key {
		case ingestEvent:
			e.event = value
		case ingestNamespace:
			e.namespace = value
		case ingestID:
			e.id = value
		case ingestRoom:
			e.rooms = append(e.rooms, value)
		case ingestUser:
			e.users = append(e.users, value)
		case ingestExcept:
			e.except = append(e.except, value)
		}
	}
	switch {
	case e.event == "":
		return e, fmt.Errorf("%w: the header %s is missing", errIngest, ingestEvent)
	case !strings.HasPrefix(e.namespace, "/") || strings.ContainsAny(e.namespace, ",?"):
		return e, fmt.Errorf("%w: namespace %.100q", errIngest, e.namespace)
	case len(e.namespace) > maxHeader:
		return e, fmt.Errorf("%w: namespace of %d bytes", errIngest, len(e.namespace))
	}
	e.args, err = ingestArgs(r.Value)
	return e, err
}
