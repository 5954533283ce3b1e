package redisadapter

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestRevocationStore runs the suite as a user with no more rights than the docs name, and on a Redis Cluster.
func TestRevocationStore(t *testing.T) {
	stores := func(client func() redis.UniversalClient, flush func()) adaptertest.NewRevocationStores {
		return func(t *testing.T) (a, b adapter.RevocationStore) {
			flush()
			return NewRevocationStore(client(), nil), NewRevocationStore(client(), nil)
		}
	}
	t.Run("a user with few rights", func(t *testing.T) {
		server := redistest.Single(t)
		server.Do("ACL", "SETUSER", "sockeye", "on", ">secret", "resetkeys", "resetchannels", "+auth", "+hello", "+client|setname")
		server.Do(documentedRule(t, "socket.io-auth#")...)
		adaptertest.RunRevocationStore(t, stores(func() redis.UniversalClient {
			rdb := redis.NewClient(&redis.Options{Addr: server.Addr, Username: "sockeye", Password: "secret"})
			t.Cleanup(func() { rdb.Close() })
			return rdb
		}, func() { server.Do("flushall") }))
		if refused := server.Do("ACL", "LOG").([]any); len(refused) > 0 {
			t.Errorf("refused: %v", refused)
		}
	})
	t.Run("cluster", func(t *testing.T) {
		c := redistest.Cluster(t)
		rdb := clusterClient(t, c)
		adaptertest.RunRevocationStore(t, stores(func() redis.UniversalClient { return rdb }, func() {
			c.Owner("socket.io-auth#revoked").Do("flushall")
		}))
	})
}

// TestRevocationsForeign: what others have written to the stream is skipped.
func TestRevocationsForeign(t *testing.T) {
	server := redistest.Single(t)
	s := NewRevocationStore(clientOf(t, server), &RevocationStoreOptions{Prefix: "other"})
	for _, fields := range [][]any{
		{"user", "", "before", "5"}, {"user", "ann", "before", "soon"}, {"user", "ann", "before", "-5"}, {"user", "ann"}, {"x", "y"},
		{"user", "ann", "before", "99999999999999999999"}, {"user", string(make([]byte, 5000)), "before", "5"},
	} {
		server.Do(append([]any{"xadd", "other-auth#revoked", "*"}, fields...)...)
	}
	for range revocationPage {
		server.Do("xadd", "other-auth#revoked", "*", "x", "y")
	}
	if list, _, err := s.Revocations(within(t), ""); err != nil || len(list) > 0 {
		t.Errorf("told %v, %v", list, err)
	}
	want := adapter.Revocation{User: "ann", Before: time.UnixMilli(7)}
	if err := s.Revoke(within(t), want, time.Hour); err != nil {
		t.Fatal(err)
	}
	if list, _, err := s.Revocations(within(t), ""); err != nil || !reflect.DeepEqual(list, []adapter.Revocation{want}) {
		t.Errorf("told %v, %v", list, err)
	}
	server.Do("set", "socket.io-auth#revoked", "no stream")
	if _, _, err := NewRevocationStore(clientOf(t, server), nil).Revocations(within(t), ""); err == nil || errors.Is(err, adapter.ErrClusterUnavailable) {
		t.Errorf("a key of another kind: %v", err)
	}
}

// TestRevocationsTrimmed: what is older than is to be kept goes, and the key with it in the end.
func TestRevocationsTrimmed(t *testing.T) {
	server := redistest.Single(t)
	s := NewRevocationStore(clientOf(t, server), nil)
	old := time.Now().Add(-3 * time.Hour).UnixMilli()
	for i := range 500 {
		server.Do("xadd", s.key, old+int64(i), "user", "ann", "before", "5")
	}
	if err := s.Revoke(within(t), adapter.Revocation{User: "bob", Before: time.Now()}, time.Hour); err != nil {
		t.Fatal(err)
	}
	if n := server.Do("xlen", s.key).(int64); n > 101 {
		t.Errorf("%d entries are left", n)
	}
	if ms := server.Do("pttl", s.key).(int64); ms < (2*time.Hour-time.Minute).Milliseconds() || ms > (2*time.Hour).Milliseconds() {
		t.Errorf("the key is kept for %d ms", ms)
	}
}

// TestRevocationsUnusable: whatever keeps Redis from answering, a call ends with its context and says so.
func TestRevocationsUnusable(t *testing.T) {
	server := redistest.Single(t)
	s := NewRevocationStore(clientOf(t, server), nil)
	server.Do("client", "pause", 60_000, "all")
	for name, call := range map[string]func(context.Context) error{
		"Revoke": func(ctx context.Context) error {
			return s.Revoke(ctx, adapter.Revocation{User: "ann", Before: time.Now()}, time.Hour)
		},
		"Revocations": func(ctx context.Context) error { _, _, err := s.Revocations(ctx, ""); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := call(ctx)
		cancel()
		if !errors.Is(err, adapter.ErrClusterUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	server.Restart()
	redistest.Eventually(t, "the store works again", func() bool {
		return s.Revoke(within(t), adapter.Revocation{User: "ann", Before: time.Now()}, time.Hour) == nil
	})
}
