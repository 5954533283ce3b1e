package redisadapter

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/internal/returning"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/parser"
)

// TestSessionKeeper: a session is the node's that took it last, and what another one writes of it later changes nothing.
func TestSessionKeeper(t *testing.T) {
	cluster := redistest.Cluster(t)
	cluster.AwaitReady()
	for name, rdb := range map[string]redis.UniversalClient{"single": redistest.Single(t).Client(), "cluster": cluster.Client()} {
		for _, prefix := range []string{"sio:session:", "{app}:session:"} {
			t.Run("reap "+name+" "+prefix, func(t *testing.T) { testSessionReaper(t, sessionStore{rdb, prefix, "/reap"}, rdb) })
			t.Run(name+" "+prefix, func(t *testing.T) { testSessionKeeper(t, sessionStore{rdb, prefix, "/"}, rdb) })
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

// testSessionReaper: a session is told of once, by whoever looks first, when its time is over and only then.
func testSessionReaper(t *testing.T, s sessionStore, rdb redis.UniversalClient) {
	ctx := t.Context()
	write := func(pid string, by adapter.NodeID, ttl time.Duration, remove bool) {
		t.Helper()
		w := adapter.SessionWrite{
			Session: &adapter.Session{SocketID: "sid-" + pid, PID: pid, Rooms: []string{"sid-" + pid}, Data: parser.Payload{JSON: []byte(`{"a":1}`)}},
			Holder:  by, TTL: ttl, Remove: remove, Told: true,
		}
		if held, err := s.Write(ctx, []adapter.SessionWrite{w}); err != nil || !held[0] {
			t.Errorf("write of %s: %v, %v", pid, held, err)
		}
	}
	const short = 50 * time.Millisecond
	for i := range 3 {
		write(fmt.Sprint("over", i), "dead", short, false)
	}
	for i, apart := range []time.Duration{-5 * time.Millisecond, 5 * time.Millisecond} { // time went on between the two keys
		keys := s.keys(fmt.Sprint("over", i))
		if err := rdb.PExpire(ctx, keys[1], rdb.PTTL(ctx, keys[0]).Val()+apart).Err(); err != nil {
			t.Fatal(err)
		}
	}
	write("left", "a", short, false)
	write("left", "a", short, true)
	write("renewed", "a", short, false)
	write("renewed", "a", time.Minute, false)
	write("taken", "a", short, false)
	if got, err := s.Take(ctx, "taken", "b"); err != nil || got == nil {
		t.Errorf("take: %v, %v", got, err)
	}
	write("node.js", "a", short, false)
	if err := rdb.GetDel(ctx, s.prefix+"node.js").Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(ctx, &adapter.Session{SocketID: "sid", PID: "node.js", Data: parser.Payload{JSON: []byte(`{}`)}}, time.Minute); err != nil {
		t.Fatal(err)
	}
	told := map[string]int{}
	var mu sync.Mutex
	redistest.Eventually(t, "three sessions are over", func() bool {
		var looking sync.WaitGroup
		for range 2 {
			looking.Go(func() {
				sessions, _, err := s.Reap(ctx)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				}
				for _, session := range sessions {
					told[session.PID]++
				}
			})
		}
		looking.Wait()
		return told["over0"]+told["over1"]+told["over2"] >= 3
	})
	redistest.Eventually(t, "what is not over yet is left", func() bool {
		sessions, more, err := s.Reap(ctx)
		if err != nil || more || len(sessions) > 0 {
			t.Errorf("reaped %v, %v, %v", sessions, more, err)
		}
		left, err := rdb.ZRange(ctx, s.timesKey(), 0, -1).Result()
		return err == nil && slices.Equal(left, []string{"taken", "renewed"})
	})
	if len(told) != 3 {
		t.Errorf("told of %v", told)
	}
	for pid, want := range map[string]bool{"over0": false, "renewed": true, "taken": true, "node.js": true} {
		if got, err := s.Take(ctx, pid, "c"); err != nil || (got != nil) != want {
			t.Errorf("take of %s: %v, %v", pid, got, err)
		}
	}
}

// TestStreamsExpired: one node tells of a client that has not come back, also if its node was killed.
func TestStreamsExpired(t *testing.T) {
	told := make(chan string, 10)
	s := redistest.Single(t)
	nodes := recoveryNodesWith(t, s, 2, server.RecoveryOptions{
		MaxDisconnectionDuration: 200 * time.Millisecond,
		Expired:                  func(n *server.Namespace, e server.ExpiredSession) { told <- n.Name() + e.SocketID },
	})
	nodes[1].Of("/")
	rdb := s.Client()
	t.Cleanup(func() { _ = rdb.Close() })
	dead := sessionStore{rdb, "sio:session:", "/"}
	killed := adapter.SessionWrite{Session: &adapter.Session{SocketID: "killed", PID: "p", Rooms: []string{"killed"}}, Holder: "dead", TTL: time.Second, Told: true}
	if _, err := dead.Write(t.Context(), []adapter.SessionWrite{killed}); err != nil {
		t.Fatal(err)
	}
	r := returning.NewCounting(t)
	r.Come(nodes[0])
	stays := returning.NewCounting(t)
	stays.Come(nodes[0])
	r.Conn.Cut()
	want := map[string]bool{"/" + r.SID: true, "/killed": true}
	for len(want) > 0 {
		if id := <-told; !want[id] {
			t.Errorf("told of %s", id)
		} else {
			delete(want, id)
		}
	}
	if _, ok := nodes[0].Of("/").Socket(stays.SID); !ok || len(told) > 0 {
		t.Error("told of one that is there")
	}
}
