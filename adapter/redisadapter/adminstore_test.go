package redisadapter

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestAdminStore shares its keys with RedisStore of @socket.io/admin-ui, which sets them to "true" for a day.
func TestAdminStore(t *testing.T) {
	server := redistest.Single(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { rdb.Close() })
	ctx := t.Context()
	for prefix, opts := range map[string]*AdminStoreOptions{"socket.io-admin": nil, "mine": {Prefix: "mine", Duration: time.Hour}} {
		s := NewAdminStore(rdb, opts)
		if known, err := s.SessionExists(ctx, "0123456789abcdef"); known || err != nil {
			t.Errorf("%s: known %v before it was saved, error %v", prefix, known, err)
		}
		if err := s.SaveSession(ctx, "ours"); err != nil {
			t.Fatal(err)
		}
		value, err := rdb.Get(ctx, prefix+"#ours").Result()
		if err != nil || value != "true" {
			t.Errorf("%s: value %q, error %v", prefix, value, err)
		}
		want := 24 * time.Hour
		if opts != nil {
			want = opts.Duration
		}
		if ttl := rdb.TTL(ctx, prefix+"#ours").Val(); ttl > want || ttl < want-time.Minute {
			t.Errorf("%s: lasts %v, want %v", prefix, ttl, want)
		}
		rdb.Set(ctx, prefix+"#0123456789abcdef", "true", time.Hour) // as Node does
		if known, err := s.SessionExists(ctx, "0123456789abcdef"); !known || err != nil {
			t.Errorf("%s: a session of Node: %v, error %v", prefix, known, err)
		}
	}
	server.Kill()
	if _, err := NewAdminStore(rdb, nil).SessionExists(ctx, "x"); err == nil {
		t.Error("no error without Redis")
	}
}
