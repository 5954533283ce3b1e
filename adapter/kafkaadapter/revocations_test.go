package kafkaadapter

import (
	"context"
	"errors"
	"reflect"
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

func revocationStore(t *testing.T, b *kafkatest.Broker) *RevocationStore {
	t.Helper()
	s, err := NewRevocationStore(&Options{Seeds: []string{b.Addr}, Prefix: prefixOf(t), Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestRevocationStore(t *testing.T) {
	b := kafkatest.Shared(t)
	adaptertest.RunRevocationStore(t, func(t *testing.T) (adapter.RevocationStore, adapter.RevocationStore) {
		return revocationStore(t, b), revocationStore(t, b)
	})
}

// told reads all revocations.
func toldOf(t *testing.T, s *RevocationStore, cursor string) (all []adapter.Revocation, end string) {
	t.Helper()
	for {
		list, next, err := s.Revocations(inTime(t), cursor)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 0 {
			return all, next
		}
		all, cursor = append(all, list...), next
	}
}

func revokeIn(t *testing.T, s *RevocationStore, user string, ms int64, keep time.Duration) adapter.Revocation {
	t.Helper()
	r := adapter.Revocation{User: user, Before: time.UnixMilli(ms)}
	if err := s.Revoke(inTime(t), r, keep); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestRevocationsForeign: what others have written to the topic is skipped, also as the last there is.
func TestRevocationsForeign(t *testing.T) {
	b := kafkatest.Shared(t)
	s := revocationStore(t, b)
	want := []adapter.Revocation{revokeIn(t, s, "ann", 7, time.Hour)}
	client := b.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	foreign := func() {
		for _, r := range []*kgo.Record{
			{}, {Key: []byte("ann")}, {Value: []byte("5")}, {Key: []byte("ann"), Value: []byte("soon")}, {Key: []byte("ann"), Value: []byte("-5")},
			{Key: []byte("ann"), Value: []byte("99999999999999999999")}, {Key: make([]byte, maxRevokedUser+1), Value: []byte("5")},
		} {
			r.Topic = s.ledger.topic.name
			if err := client.ProduceSync(inTime(t), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	foreign()
	want = append(want, revokeIn(t, s, "bob", 8, time.Hour))
	foreign()
	got, end := toldOf(t, s, "")
	if !reflect.DeepEqual(got, want) {
		t.Errorf("told %v", got)
	}
	for _, cursor := range []string{"nonsense", "00:1", strings.Replace(end, ":", ":-", 1), end + "000"} {
		if got, _ := toldOf(t, s, cursor); !reflect.DeepEqual(got, want) {
			t.Errorf("behind %q: told %v", cursor, got)
		}
	}
	for _, user := range []string{"", strings.Repeat("x", maxRevokedUser+1)} {
		err := s.Revoke(inTime(t), adapter.Revocation{User: user, Before: time.Now()}, time.Hour)
		if err == nil || errors.Is(err, adapter.ErrClusterUnavailable) {
			t.Errorf("a user of %d bytes: %v", len(user), err)
		}
	}
}

// TestRevocationsKept: the topic keeps records for as long as is asked for, and says how much that is.
func TestRevocationsKept(t *testing.T) {
	b := kafkatest.Shared(t)
	s := revocationStore(t, b)
	admin := kadm.NewClient(b.Client())
	retention := func() time.Duration {
		infos := map[string]topicInfo{s.ledger.topic.name: {}}
		readConfigs(inTime(t), admin, infos)
		return infos[s.ledger.topic.name].retention
	}
	revokeIn(t, s, "ann", 1, 365*24*time.Hour)
	if got := retention(); got != revocationsKept {
		t.Errorf("kept for %v", got)
	}
	long := 1000 * 24 * time.Hour
	revokeIn(t, s, "ann", 2, long)
	redistest.Eventually(t, "records are kept for longer", func() bool { return retention() >= long+clockSkew })
	if got, _ := toldOf(t, revocationStore(t, b), ""); len(got) != 2 {
		t.Errorf("told %v", got)
	}
}

// TestRevocationsTopicAnew: a topic that was deleted is made anew, and read from its beginning whatever the cursor was.
func TestRevocationsTopicAnew(t *testing.T) {
	b := kafkatest.Shared(t)
	s, other := revocationStore(t, b), revocationStore(t, b)
	revokeIn(t, s, "ann", 1, time.Hour)
	_, end := toldOf(t, s, "")
	admin := kadm.NewClient(b.Client())
	if _, err := admin.DeleteTopic(inTime(t), s.ledger.topic.name); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "the topic is made anew", func() bool {
		list, _, err := other.Revocations(inTime(t), "")
		return err == nil && len(list) == 0
	})
	want := []adapter.Revocation{revokeIn(t, other, "bob", 2, time.Hour), revokeIn(t, other, "cy", 3, time.Hour)}
	redistest.Eventually(t, "the new topic is read", func() bool {
		list, _, err := s.Revocations(inTime(t), end)
		return err == nil && reflect.DeepEqual(list, want)
	})
}

// TestRevocationsRestart: a broker that is away is told of within the context's time, and what was written is there afterwards.
func TestRevocationsRestart(t *testing.T) {
	onlyLong(t)
	b := kafkatest.Victim(t)
	s := revocationStore(t, b)
	want := []adapter.Revocation{revokeIn(t, s, "ann", 1, time.Hour)}
	b.Kill()
	for name, call := range map[string]func(context.Context) error{
		"Revoke": func(ctx context.Context) error {
			return s.Revoke(ctx, adapter.Revocation{User: "bob", Before: time.Now()}, time.Hour)
		},
		"Revocations": func(ctx context.Context) error { _, _, err := s.Revocations(ctx, ""); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := call(ctx); !errors.Is(err, adapter.ErrClusterUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
	b.Start()
	redistest.Eventually(t, "the store works again", func() bool {
		return s.Revoke(inTime(t), adapter.Revocation{User: "cy", Before: time.UnixMilli(3)}, time.Hour) == nil
	})
	if got, _ := toldOf(t, revocationStore(t, b), ""); len(got) < 2 || !reflect.DeepEqual(got[0], want[0]) {
		t.Errorf("told %v", got)
	}
	_ = s.Close()
	if err := s.Revoke(inTime(t), want[0], time.Hour); !errors.Is(err, errStoreClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestAdminStore: what one node saves another one knows, for a time.
func TestAdminStore(t *testing.T) {
	b := kafkatest.Shared(t)
	open := func(duration time.Duration) *AdminStore {
		s, err := NewAdminStore(&AdminStoreOptions{Options: Options{Seeds: []string{b.Addr}, Prefix: prefixOf(t), Logger: quiet()}, Duration: duration})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	x, y := open(0), open(0)
	exists := func(s *AdminStore, id string) bool {
		t.Helper()
		ok, err := s.SessionExists(inTime(t), id)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if exists(x, "id") {
		t.Error("a session exists that nobody has saved")
	}
	for _, id := range []string{"id", "other"} {
		if err := x.SaveSession(inTime(t), id); err != nil {
			t.Fatal(err)
		}
	}
	if !exists(y, "id") || !exists(y, "other") || !exists(x, "id") || exists(y, "third") {
		t.Error("a session that was saved does not exist, or another one does")
	}
	brief := open(time.Second)
	redistest.Eventually(t, "the session has ended", func() bool { return !exists(brief, "id") })
	records, _, err := x.ledger.read(inTime(t), "")
	if err != nil || len(records) != 2 || strings.Contains(string(records[0].Key)+string(records[0].Value), "id") {
		t.Errorf("%d records, %v", len(records), err)
	}
}

// FuzzRevocation: whatever is in the topic, only what is a revocation becomes one.
func FuzzRevocation(f *testing.F) {
	f.Add([]byte("ann"), []byte("1700000000123"))
	f.Add([]byte(nil), []byte("5"))
	f.Add([]byte("ann"), []byte("-5"))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r, err := decodeRevocation(&kgo.Record{Key: key, Value: value})
		if err == nil && (r.User != string(key) || r.User == "" || r.Before.UnixMilli() <= 0) {
			t.Errorf("%q, %q is %+v", key, value, r)
		}
	})
}
