package kafkaadapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

const (
	lifeA = "00112233445566aa"
	lifeB = "00112233445566aa-2"
)

func userStore(t *testing.T, b *kafkatest.Broker, opts UserStoreOptions) *UserStore {
	t.Helper()
	opts.Seeds = []string{b.Addr}
	if opts.Prefix == "" {
		opts.Prefix = prefixOf(t)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := NewUserStore(&opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Ready(inTime(t)); err != nil { // else the first call may be too early
		t.Fatal(err)
	}
	return s
}

func inTime(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestUserStore(t *testing.T) {
	b := kafkatest.Shared(t)
	adaptertest.RunUserStore(t, func(t *testing.T) (adapter.UserStore, adapter.UserStore) {
		return userStore(t, b, UserStoreOptions{}), userStore(t, b, UserStoreOptions{})
	})
}

func apply(t *testing.T, s *UserStore, op adapter.UserOp, user, life string) adapter.UserOutcome {
	t.Helper()
	outcomes, err := s.Apply(inTime(t), "/", []adapter.UserChange{{Op: op, User: user, Life: life}})
	if err != nil {
		t.Fatal(err)
	}
	return outcomes[0]
}

func enrolIn(t *testing.T, s *UserStore, life string) string {
	t.Helper()
	epoch, err := s.Enrol(inTime(t), "/", life, "node")
	if err != nil || epoch == "" {
		t.Fatalf("epoch %q, error %v", epoch, err)
	}
	return epoch
}

func lookUp(t *testing.T, s *UserStore, user string) adapter.UserEntry {
	t.Helper()
	entry, err := s.Lookup(inTime(t), "/", user)
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// TestUserStoreRestart: whoever reads the topic later knows what the others know.
func TestUserStoreRestart(t *testing.T) {
	onlyLong(t)
	b := kafkatest.Victim(t)
	first := userStore(t, b, UserStoreOptions{})
	epoch := enrolIn(t, first, lifeA)
	for i := range 100 {
		apply(t, first, adapter.UserHold, fmt.Sprint("u", i), lifeA)
	}
	apply(t, first, adapter.UserForget, "u0", lifeA)
	apply(t, first, adapter.UserRelease, "u1", lifeA)
	b.Restart()
	later := userStore(t, b, UserStoreOptions{})
	for _, s := range []*UserStore{first, later} {
		if got := lookUp(t, s, "u0"); got.Holders != nil || got.Away != "" || got.Epoch != epoch {
			t.Errorf("forgotten: %+v", got)
		}
		if got := lookUp(t, s, "u1"); got.Holders != nil || got.Away != lifeA {
			t.Errorf("away: %+v", got)
		}
		if got := lookUp(t, s, "u99"); len(got.Holders) != 1 || got.Epoch != epoch {
			t.Errorf("held: %+v", got)
		}
	}
	if o := apply(t, later, adapter.UserHold, "u1", lifeB); o.First || o.Away != lifeA {
		t.Errorf("comes back: %+v", o)
	}
}

// TestUserStoreAnew: a topic that was deleted has another epoch when a life has enrolled again, and says before that it knows nothing.
func TestUserStoreAnew(t *testing.T) {
	b := kafkatest.Shared(t)
	s := userStore(t, b, UserStoreOptions{})
	epoch := enrolIn(t, s, lifeA)
	apply(t, s, adapter.UserHold, "u", lifeA)
	admin := kadm.NewClient(b.Client())
	if _, err := admin.DeleteTopic(inTime(t), s.opts.usersTopic()); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "the store is empty", func() bool {
		entry, err := s.Lookup(inTime(t), "/", "u")
		return err == nil && entry.Epoch == "" && entry.Holders == nil
	})
	if now := enrolIn(t, s, lifeA); now == epoch {
		t.Error("the same epoch")
	}
}

// TestUserStorePartRemoved: what an operator removes from a partition is removed for those that have read it, too.
func TestUserStorePartRemoved(t *testing.T) {
	b := kafkatest.Shared(t)
	s := userStore(t, b, UserStoreOptions{Partitions: 1})
	enrolIn(t, s, lifeA)
	apply(t, s, adapter.UserHold, "u", lifeA)
	admin := kadm.NewClient(b.Client())
	ends, err := admin.ListEndOffsets(inTime(t), s.opts.usersTopic())
	if err != nil {
		t.Fatal(err)
	}
	policy := kadm.AlterConfig{Op: kadm.SetConfig, Name: "cleanup.policy", Value: kadm.StringPtr("compact,delete")} // else it is refused
	if _, err := admin.AlterTopicConfigs(inTime(t), []kadm.AlterConfig{policy}, s.opts.usersTopic()); err != nil {
		t.Fatal(err)
	}
	if removed, err := admin.DeleteRecords(inTime(t), ends.Offsets()); err != nil || removed.Error() != nil {
		t.Fatal(err, removed.Error())
	}
	apply(t, s, adapter.UserHold, "other", lifeA)
	later := userStore(t, b, UserStoreOptions{})
	for _, store := range []*UserStore{s, later} {
		redistest.Eventually(t, "the record is gone", func() bool { return lookUp(t, store, "u").Epoch == "" })
	}
	enrolIn(t, s, lifeA)
	if got := lookUp(t, s, "u"); got.Holders != nil {
		t.Errorf("%+v", got)
	}
	if got := lookUp(t, later, "other"); len(got.Holders) != 1 {
		t.Errorf("%+v", got)
	}
}

// TestUserStoreAway: without a broker calls fail in time and say so, and go on when it is back.
func TestUserStoreAway(t *testing.T) {
	onlyLong(t)
	b := kafkatest.Victim(t)
	s := userStore(t, b, UserStoreOptions{Options: Options{AnswerTimeout: time.Second}})
	enrolIn(t, s, lifeA)
	apply(t, s, adapter.UserHold, "u", lifeA)
	b.Kill()
	for range 3 {
		if _, err := s.Lookup(inTime(t), "/", "u"); !errors.Is(err, adapter.ErrClusterUnavailable) {
			t.Errorf("look up: %v", err)
		}
		if _, err := s.Apply(inTime(t), "/", []adapter.UserChange{{Op: adapter.UserHold, User: "v", Life: lifeA}}); !errors.Is(err, adapter.ErrClusterUnavailable) {
			t.Errorf("change: %v", err)
		}
	}
	swept := make(chan error, 1)
	go func() { swept <- s.Sweep(inTime(t), "/", lifeB, func(string) {}) }()
	b.Start()
	redistest.Eventually(t, "the store answers again", func() bool {
		o, err := s.Apply(inTime(t), "/", []adapter.UserChange{{Op: adapter.UserHold, User: "u", Life: lifeB}})
		return err == nil && len(o[0].Holders) == 1
	})
	if err := <-swept; err != nil {
		t.Error(err)
	}
}

// TestUserStoreStrangers: records of other programs cost nobody anything, and what they would hide is said again.
func TestUserStoreStrangers(t *testing.T) {
	b := kafkatest.Shared(t)
	var log bytes.Buffer
	s := userStore(t, b, UserStoreOptions{Options: Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}, Partitions: 1})
	enrolIn(t, s, lifeA)
	apply(t, s, adapter.UserHold, "u", lifeA)
	client := b.Client()
	topic := s.opts.usersTopic()
	key := []byte(userKey(ofUser, "/", "u"))
	for _, r := range []*kgo.Record{
		{Topic: topic, Key: []byte("key"), Value: []byte("value")},
		{Topic: topic, Key: key, Value: []byte("+somebody")},
		{Topic: topic, Key: key, Headers: []kgo.RecordHeader{{Key: changeHeader, Value: []byte{2, 1, 1}}}},
		{Topic: topic, Key: key},
	} {
		if err := client.ProduceSync(inTime(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if got := lookUp(t, s, "u"); len(got.Holders) != 1 || s.Stats().BadFrames != 4 {
		t.Errorf("%+v, %d bad records", got, s.Stats().BadFrames)
	}
	redistest.Eventually(t, "the last record is right again", func() bool {
		s.mu.Lock()
		table := s.current.tables[0]
		s.mu.Unlock()
		table.mu.RLock()
		defer table.mu.RUnlock()
		return len(table.doubted) == 0
	})
	if strings.Count(log.String(), "a record of users cannot be read") != 1 {
		t.Errorf("log:\n%s", &log)
	}
}

// TestUserTableCompaction takes histories with many writers who are late, and then what compaction may leave of them: the tables
// are the same.
func TestUserTableCompaction(t *testing.T) {
	h := newUserHistory(t)
	for range 2000 {
		h.change()
	}
	h.affirm()
	h.compacted(0)
	for range 20 {
		h.compacted(h.random.Int64N(int64(len(h.log))))
	}
}

// TestUserStoreLeader kills the leader of a partition among three brokers: what was changed before is kept, and changes go on.
func TestUserStoreLeader(t *testing.T) {
	onlyLong(t)
	c := kafkatest.Cluster(t, 3, nil)
	s := userStore(t, c.Brokers[0], UserStoreOptions{Options: Options{ReplicationFactor: 3}, Partitions: 1})
	epoch := enrolIn(t, s, lifeA)
	var changes []adapter.UserChange
	for i := range 100 {
		changes = append(changes, adapter.UserChange{Op: adapter.UserHold, User: fmt.Sprint("u", i), Life: lifeA})
	}
	if _, err := s.Apply(inTime(t), "/", changes); err != nil {
		t.Fatal(err)
	}
	c.InSync(s.opts.usersTopic())
	leader := c.Leader(s.opts.usersTopic(), 0)
	leader.Kill()
	killed := time.Now()
	redistest.Eventually(t, "changes go on", func() bool {
		o, err := s.Apply(inTime(t), "/", []adapter.UserChange{{Op: adapter.UserHold, User: "u0", Life: lifeB}})
		return err == nil && len(o[0].Holders) == 1
	})
	t.Logf("changes went on %v after the leader was killed", time.Since(killed).Round(100*time.Millisecond))
	other := c.Brokers[0]
	if other == leader {
		other = c.Brokers[1]
	}
	later := userStore(t, other, UserStoreOptions{Options: Options{ReplicationFactor: 3}})
	for i := range 100 {
		if got := lookUp(t, later, fmt.Sprint("u", i)); got.Epoch != epoch || !slices.Contains(got.Holders, lifeA) {
			t.Fatalf("u%d: %+v", i, got)
		}
	}
}
