package redisadapter

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// TestSessionKeeper: a session is the node's that took it last, and what another one writes of it later changes nothing.
func TestSessionKeeper(t *testing.T) {
	cluster := redistest.Cluster(t)
	cluster.AwaitReady()
	for name, rdb := range map[string]redis.UniversalClient{"single": redistest.Single(t).Client(), "cluster": cluster.Client()} {
		for _, prefix := range []string{"sio:session:", "{app}:session:"} {
			t.Run(name+" "+prefix, func(t *testing.T) { testSessionKeeper(t, sessionStore{rdb, prefix}, rdb) })
		}
		t.Cleanup(func() { _ = rdb.Close() })
	}
}

func testSessionKeeper(t *testing.T, s sessionStore, rdb redis.UniversalClient) {
	ctx := t.Context()
	session := func(pid string, room string) *adapter.Session {
		return &adapter.Session{SocketID: "sid-" + pid, PID: pid, Rooms: []string{"sid-" + pid, room}, Data: parser.Payload{JSON: []byte(`{}`)}, Owner: "o", Offset: "1-2"}
	}
	write := func(want bool, w adapter.SessionWrite) {
		t.Helper()
		w.TTL = time.Minute
		held, err := s.Write(ctx, []adapter.SessionWrite{w})
		if err != nil || held[0] != want {
			t.Errorf("write of %s by %s: %v, %v", w.Session.PID, w.Holder, held, err)
		}
	}
	take := func(pid string, by adapter.NodeID, want string) {
		t.Helper()
		got, err := s.Take(ctx, pid, by)
		text := ""
		if got != nil {
			text = fmt.Sprint(got.Rooms[1], " ", got.Owner, " ", got.Offset)
		}
		if err != nil || text != want {
			t.Errorf("%s takes %s: %q, %v, want %q", by, pid, text, err, want)
		}
	}
	take("p", "a", "")
	write(true, adapter.SessionWrite{Session: session("p", "r1"), Holder: "a"})
	write(true, adapter.SessionWrite{Session: session("p", "r2"), Holder: "a"})
	take("p", "b", "r2 o 1-2")
	write(false, adapter.SessionWrite{Session: session("p", "stale"), Holder: "a"})
	write(false, adapter.SessionWrite{Session: session("p", "stale"), Holder: "a", Remove: true})
	take("p", "b", "r2 o 1-2")
	write(true, adapter.SessionWrite{Session: session("p", "r3"), Holder: "b"})
	// A Node.js node takes it away, and leaves what it does not know.
	if err := rdb.GetDel(ctx, s.prefix+"p").Err(); err != nil {
		t.Fatal(err)
	}
	write(false, adapter.SessionWrite{Session: session("p", "stale"), Holder: "b"})
	take("p", "b", "")
	// It saves it again when its connection is lost.
	if err := s.Save(ctx, session("p", "r4"), time.Minute); err != nil {
		t.Fatal(err)
	}
	take("p", "c", "r4 o 1-2")
	write(true, adapter.SessionWrite{Session: session("p", "r4"), Holder: "c", Remove: true})
	take("p", "c", "")
	// A store that has lost everything gets it again.
	write(true, adapter.SessionWrite{Session: session("q", "r5"), Holder: "a"})
	take("q", "a", "r5 o 1-2")
	for _, key := range s.keys("q") {
		if ttl := rdb.PTTL(ctx, key).Val(); ttl <= 0 || ttl > time.Minute {
			t.Errorf("%s lives for %v", key, ttl)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Take(ended, "q", "a"); err == nil {
		t.Error("a context that has ended")
	}
}
