package kafkaadapter

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/brokerstate"
	"github.com/sockeye-io/sockeye/adapter/internal/store"
	"github.com/sockeye-io/sockeye/internal/seldom"
)

const (
	defaultUserPartitions = 8
	// sweepBatch is how many users a sweep takes from a life at once.
	sweepBatch = 128
	// userRetry is how long a store, and a sweep, wait for a Kafka that is away before they try again.
	userRetry = 500 * time.Millisecond
	// userWarnEvery is how often a kind of trouble is logged.
	userWarnEvery = time.Minute
)

var (
	errStoreClosed  = errors.New("the store is closed")
	errStoreStarted = errors.New("the users' topic has not been read yet")
	errOtherLog     = errors.New("the users' topic is read anew")
)

// UserStoreOptions configure a UserStore. Seeds is required; of the others of Options those have an effect that say how Kafka is
// reached, and Prefix, ReplicationFactor, AnswerTimeout and Logger.
type UserStoreOptions struct {
	Options

	// Partitions is how many the topic gets if the store creates it. Of a topic that is there its own number counts. Default: 8.
	Partitions int
}

// UserStore keeps the users of a cluster in a topic of Kafka, <prefix>.users, and in the memory of each node that uses it. All
// methods may be called concurrently.
//
// The topic is compacted: it keeps the last record of each user. A node reads all of it when its store is first used, and calls fail
// with adapter.ErrClusterUnavailable until it has. A change is a record, and what comes of it is decided by its place in the topic,
// where all nodes see it alike. A question is answered from memory, when that has got as far as the topic had at the time of the call.
type UserStore struct {
	// Static after construction.
	opts    UserStoreOptions
	log     *slog.Logger
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	done    chan struct{} // closed when the goroutine has ended
	writing chan struct{} // has a token while changes are under way
	bad     atomic.Uint64
	warned  seldom.Keyed

	// Guarded by mu.
	mu      sync.Mutex
	started bool
	current *userLog      // nil until the topic was read
	reason  error         // why it is nil
	changed chan struct{} // closed when current is there; nil if nobody waits
}

var _ adapter.UserStore = (*UserStore)(nil)

// NewUserStore returns a store, which the caller closes. It connects when it is first used. What is wrong with the options is the
// error.
func NewUserStore(opts *UserStoreOptions) (*UserStore, error) {
	var o UserStoreOptions
	if opts != nil {
		o = *opts
	}
	o.Options = o.withDefaults()
	o.Partitions = cmp.Or(o.Partitions, defaultUserPartitions)
	if err := o.check(); err != nil {
		return nil, err
	}
	if _, err := o.clientOptions(); err != nil {
		return nil, err
	}
	if o.Partitions < 1 || o.Partitions > maxPartitions {
		return nil, fmt.Errorf("the users' topic needs 1 to %d partitions, not %d", maxPartitions, o.Partitions)
	}
	s := &UserStore{opts: o, log: o.Logger, done: make(chan struct{}), writing: make(chan struct{}, 1), reason: errStoreStarted}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

func (o *UserStoreOptions) usersTopic() string { return o.Prefix + ".users" }

// users is the topic. What was removed is told long enough for nodes that are reading; what is new is not compacted before every
// node can have seen to it that the last record of each user is right.
func (o *UserStoreOptions) users() topic {
	configs := map[string]string{
		"cleanup.policy":            "compact",
		"message.timestamp.type":    "LogAppendTime",
		"min.compaction.lag.ms":     strconv.FormatInt(emptiedFor.Milliseconds(), 10),
		"delete.retention.ms":       "86400000",
		"segment.ms":                "3600000",
		"segment.bytes":             strconv.Itoa(32 << 20),
		"min.cleanable.dirty.ratio": "0.3",
	}
	if o.ReplicationFactor >= 3 {
		configs["min.insync.replicas"] = "2"
	}
	return topic{name: o.usersTopic(), partitions: o.Partitions, configs: configs}
}

// Close ends the store. Calls fail from then on.
func (s *UserStore) Close() error {
	s.mu.Lock()
	started := s.started
	s.started = true // and does not start any more
	s.mu.Unlock()
	s.cancel()
	if started {
		<-s.done
	}
	return nil
}

// Ready waits until the topic was read, and returns why not when ctx ends first.
func (s *UserStore) Ready(ctx context.Context) error {
	_, err := s.reading(ctx)
	return userFailure("read the users", err)
}

// UserStoreStats tells of a store.
type UserStoreStats struct {
	Users     int    // of all namespaces, in memory
	BadFrames uint64 // records that no Sockeye node of this version writes
	Ready     bool   // the topic was read
}

// Stats returns the current figures.
func (s *UserStore) Stats() UserStoreStats {
	s.mu.Lock()
	l := s.current
	s.mu.Unlock()
	stats := UserStoreStats{BadFrames: s.bad.Load(), Ready: l != nil}
	if l != nil {
		for _, t := range l.tables {
			stats.Users += t.size()
		}
	}
	return stats
}

// run reads the topic, again and again, until the store is closed.
func (s *UserStore) run() {
	defer close(s.done)
	for s.ctx.Err() == nil {
		err := s.readOnce()
		if s.ctx.Err() != nil {
			return
		}
		if _, ok := s.warned.Pass("read", userWarnEvery); ok {
			s.log.Warn("the users' topic cannot be read", "topic", s.opts.usersTopic(), "error", err)
		}
		_ = brokerstate.Pause(s.ctx, userRetry)
	}
}

// readOnce reads the topic until that fails.
func (s *UserStore) readOnce() error {
	opening, cancel := context.WithTimeout(s.ctx, 10*s.opts.AnswerTimeout)
	l, err := openUserLog(opening, &s.opts, s.badRecord, &s.warned)
	cancel()
	if err != nil {
		s.set(nil, err)
		return err
	}
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	var failed error // set before loaded is closed
	loaded := make(chan struct{})
	go func() {
		defer close(loaded)
		if failed = l.load(ctx); failed != nil {
			cancel()
			return
		}
		s.set(l, nil)
	}()
	err = l.serve(ctx)
	cancel()
	<-loaded
	if failed != nil && !errors.Is(failed, context.Canceled) {
		err = failed // which has ended the other
	}
	s.set(nil, errors.Join(errOtherLog, err))
	l.end(errOtherLog)
	return err
}

// badRecord counts a record of somebody else.
func (s *UserStore) badRecord(record *kgo.Record) {
	s.bad.Add(1)
	if _, ok := s.warned.Pass("bad", userWarnEvery); ok {
		s.log.Warn("a record of users cannot be read", "topic", record.Topic, "partition", record.Partition, "offset", record.Offset)
	}
}

// set notes which reading is used.
func (s *UserStore) set(l *userLog, reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current, s.reason = l, reason
	if l != nil && s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// reading returns the reading that is used, and waits for it.
func (s *UserStore) reading(ctx context.Context) (*userLog, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		s.mu.Lock()
		if !s.started {
			s.started = true
			go s.run()
		}
		l, reason := s.current, s.reason
		if s.changed == nil {
			s.changed = make(chan struct{})
		}
		changed := s.changed
		s.mu.Unlock()
		if l != nil {
			return l, nil
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return nil, errStoreClosed
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), reason)
		}
	}
}

// bounded is a context for something that Kafka answers within a time when it can be reached.
func (s *UserStore) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.opts.AnswerTimeout)
}

// upToDate returns the reading when its memory has got as far as the topic had at the time of the call; of one partition, or of all
// for -1.
func (s *UserStore) upToDate(ctx context.Context, partition func(partitions int) int32) (*userLog, error) {
	l, err := s.reading(ctx)
	if err != nil {
		return nil, err
	}
	ends, err := l.ends.now(ctx)
	if err != nil {
		return nil, err
	}
	only := partition(len(l.tables))
	for p, end := range ends {
		if only >= 0 && only != int32(p) {
			continue
		}
		if err := l.await(ctx, int32(p), end); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// everyPartition is for upToDate.
func everyPartition(int) int32 { return -1 }

// Apply implements adapter.UserStore.
func (s *UserStore) Apply(ctx context.Context, namespace string, changes []adapter.UserChange) ([]adapter.UserOutcome, error) {
	outcomes, err := store.Apply(changes, func(batch []adapter.UserChange) ([]adapter.UserOutcome, error) { return s.apply(ctx, namespace, batch) })
	return outcomes, userFailure("change users", err)
}

func (s *UserStore) apply(ctx context.Context, namespace string, changes []adapter.UserChange) ([]adapter.UserOutcome, error) {
	for _, c := range changes {
		switch {
		case !isLife(c.Life):
			return nil, store.Misuse(fmt.Sprintf("illegal life %q", c.Life))
		case c.Op < adapter.UserHold || c.Op > adapter.UserForget:
			return nil, store.Misuse(fmt.Sprintf("unknown operation %d", c.Op))
		}
	}
	done, err := s.write(ctx, func(l *userLog) []userRecord {
		records := make([]userRecord, len(changes))
		for i, c := range changes {
			records[i] = l.build(userKey(ofUser, namespace, c.User), userStep{do: userVerb(c.Op), life: c.Life})
		}
		return records
	})
	outcomes := make([]adapter.UserOutcome, 0, len(done))
	for i, w := range done {
		outcomes = append(outcomes, outcomeOf(changes[i], w.now, w.before))
	}
	return outcomes, err
}

// place is what is known of a key.
func (l *userLog) place(key string) userPlace {
	return l.tables[userPartition(key, len(l.tables))].lookup(key)
}

// build makes the record of a step from what is known of its key.
func (l *userLog) build(key string, s userStep) userRecord {
	place := l.place(key)
	if s.state == "" {
		s.state = s.after(place.state(), time.Now())
	}
	return userRecord{key: key, base: place.version, userStep: s}
}

// write appends records and returns what they have done, up to the first that failed. Writers take turns, also with what was given
// up: it may be appended late, and must not come behind something newer.
func (s *UserStore) write(ctx context.Context, build func(*userLog) []userRecord) ([]told, error) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	l, err := s.reading(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case s.writing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-s.ctx.Done():
		return nil, errStoreClosed
	}
	b := newUserBatch(l, build(l), func() { <-s.writing })
	select {
	case <-b.all:
	case <-ctx.Done():
		return b.first(ctx.Err())
	}
	return b.first(nil)
}

// userBatch is what is appended together.
type userBatch struct {
	all chan struct{} // closed when everything is known

	// Guarded by mu.
	mu   sync.Mutex
	left int
	done []bool
	told []told
	errs []error
}

// newUserBatch appends records and calls end when what became of all is known.
func newUserBatch(l *userLog, records []userRecord, end func()) *userBatch {
	n := len(records)
	b := &userBatch{all: make(chan struct{}), left: n, done: make([]bool, n), told: make([]told, n), errs: make([]error, n)}
	for i, r := range records {
		l.write(r, func(w told, err error) {
			b.mu.Lock()
			b.done[i], b.told[i], b.errs[i] = true, w, err
			b.left--
			last := b.left == 0
			b.mu.Unlock()
			if last {
				close(b.all)
				end()
			}
		})
	}
	return b
}

// first returns what the records have done up to the first that failed, or of which nothing is known for a reason.
func (b *userBatch) first(reason error) ([]told, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, done := range b.done {
		switch {
		case !done:
			return b.told[:i:i], reason
		case b.errs[i] != nil:
			return b.told[:i:i], b.errs[i]
		}
	}
	return b.told, nil
}

// Lookup implements adapter.UserStore.
func (s *UserStore) Lookup(ctx context.Context, namespace, user string) (adapter.UserEntry, error) {
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	key := userKey(ofUser, namespace, user)
	l, err := s.upToDate(bounded, func(partitions int) int32 { return userPartition(key, partitions) })
	if err != nil {
		return adapter.UserEntry{}, userFailure("look a user up", err)
	}
	u := parseUser(l.place(key).state())
	return adapter.UserEntry{Holders: u.holders, Away: u.away, Epoch: l.epoch(namespace)}, nil
}

// epochKey is the key of a partition's epoch. Each has one of its own, so that the loss of one partition shows.
func epochKey(namespace string, partition int32) string {
	return userKey(ofEpoch, namespace, strconv.Itoa(int(partition)))
}

// epoch stands for the epochs of all partitions; "" if one is missing.
func (l *userLog) epoch(namespace string) string {
	hash := sha256.New()
	for partition, table := range l.tables {
		epoch := table.lookup(epochKey(namespace, int32(partition))).state()
		if epoch == "" {
			return ""
		}
		_, _ = hash.Write([]byte(epoch + ","))
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
}

// Enrol implements adapter.UserStore.
func (s *UserStore) Enrol(ctx context.Context, namespace, life, node string) (string, error) {
	if !isLife(life) {
		return "", userFailure("enrol", store.Misuse(fmt.Sprintf("illegal life %q", life)))
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	l, err := s.upToDate(bounded, everyPartition)
	if err == nil {
		_, err = s.write(bounded, func(l *userLog) []userRecord {
			records := []userRecord{l.build(userKey(ofRoll, namespace, life), userStep{do: stepPut, state: rollMark + node})}
			for partition, table := range l.tables {
				if key := epochKey(namespace, int32(partition)); table.lookup(key).state() == "" {
					records = append(records, l.build(key, userStep{do: stepDraw, state: rand.Text()[:12]}))
				}
			}
			return records
		})
	}
	if err != nil {
		return "", userFailure("enrol", err)
	}
	return l.epoch(namespace), nil
}

// Roll implements adapter.UserStore.
func (s *UserStore) Roll(ctx context.Context, namespace string) (map[string]string, string, error) {
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	l, err := s.upToDate(bounded, everyPartition)
	if err != nil {
		return nil, "", userFailure("read the roll", err)
	}
	return maps.Clone(l.tables[0].roll(namespace)), l.epoch(namespace), nil
}

// Claim implements adapter.UserStore. Times are those of the broker.
func (s *UserStore) Claim(ctx context.Context, namespace, life, by string, ttl time.Duration) (bool, error) {
	ttl = min(max(ttl, time.Millisecond), maxClaim)
	done, err := s.write(ctx, func(l *userLog) []userRecord {
		key := userKey(ofClaim, namespace, life)
		return []userRecord{l.build(key, userStep{do: stepClaim, life: by, ttl: ttl})}
	})
	if err != nil {
		return false, userFailure("claim a life", err)
	}
	c, _ := parseClaim(done[0].now)
	return c.by == by, nil
}

// Sweep implements adapter.UserStore. While Kafka is away in the middle of it, it waits until ctx ends.
func (s *UserStore) Sweep(ctx context.Context, namespace, life string, last func(user string)) error {
	var users []string
	err := s.persist(ctx, func(ctx context.Context) error {
		bounded, cancel := s.bounded(ctx)
		defer cancel()
		l, err := s.upToDate(bounded, everyPartition)
		if err != nil {
			return err
		}
		users = nil
		for _, table := range l.tables {
			users = append(users, table.held(namespace, life)...)
		}
		return nil
	})
	for len(users) > 0 && err == nil {
		n := min(len(users), sweepBatch)
		err = s.forget(ctx, namespace, life, users[:n], last)
		users = users[n:]
	}
	if err == nil {
		err = s.persist(ctx, func(ctx context.Context) error {
			_, err := s.write(ctx, func(l *userLog) []userRecord {
				return []userRecord{l.build(userKey(ofRoll, namespace, life), userStep{do: stepPut})}
			})
			return err
		})
	}
	return userFailure("sweep a life", err)
}

// forget takes users from a life. Who of them is gone is known for certain only when the change was read, so it asks until it was.
func (s *UserStore) forget(ctx context.Context, namespace, life string, users []string, last func(user string)) error {
	changes := make([]adapter.UserChange, len(users))
	for i, user := range users {
		changes[i] = adapter.UserChange{Op: adapter.UserForget, User: user, Life: life}
	}
	return s.persist(ctx, func(ctx context.Context) error {
		outcomes, err := s.apply(ctx, namespace, changes)
		for i, o := range outcomes {
			if o.Last {
				last(changes[i].User)
			}
		}
		changes = changes[len(outcomes):]
		return err
	})
}

// persist does something again while Kafka is away.
func (s *UserStore) persist(ctx context.Context, do func(context.Context) error) error {
	for {
		err := do(ctx)
		if err == nil || ctx.Err() != nil || !userTrouble(err) {
			return err
		}
		if err := brokerstate.Pause(ctx, userRetry); err != nil {
			return err
		}
	}
}

// userTrouble reports whether an error says that Kafka cannot be used for now.
func userTrouble(err error) bool {
	var wrong store.Misuse
	return !errors.As(err, &wrong) && !errors.Is(err, context.Canceled) && !errors.Is(err, errStoreClosed)
}

// userFailure says what has failed.
func userFailure(action string, err error) error { return store.Failure(action, err, userTrouble(err)) }
