package redisadapter

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/defaults"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

var troubleFlag = flag.String("trouble", "", `"long" runs the long forms of the tests with Redis trouble`)

// pair is two nodes of a cluster, each subscribed to a channel of its own in every space.
type pair struct {
	t    testing.TB
	a, b bareHub
	in   inbox
	n    int
}

// subscription is one on which messages should cross, and a channel that it matches.
type subscription struct {
	space         space
	name, channel string
}

func newPair(t testing.TB, client func() redis.UniversalClient, subs ...subscription) *pair {
	t.Helper()
	p := &pair{t: t, a: startHub(t, client(), Options{}), b: startHub(t, client(), Options{})}
	for _, s := range subs {
		p.b.subscribe("", s.space, s.name, p.in.take)
	}
	return p
}

var plainAndPattern = []subscription{{plain, "q", "q"}, {pattern, "p#*", "p#1"}}

func publishIn(s space, ch, body string) redis.Cmder {
	if s == shard {
		return redis.NewIntCmd(context.Background(), "spublish", ch, body)
	}
	return publish(ch, body)
}

// crosses proves that a message crosses from a to b on each subscription, once: the proof that all is well again.
func (p *pair) crosses(within time.Duration, subs ...subscription) {
	p.t.Helper()
	begun := time.Now()
	for _, h := range []bareHub{p.a, p.b} {
		up(p.t, h)
	}
	for _, s := range subs {
		p.n++
		body := fmt.Sprintf("%s %d", s.channel, p.n)
		if err := p.a.tell(publishIn(s.space, s.channel, body)); err != nil {
			p.t.Fatalf("send on %s: %v", s.channel, err)
		}
		redistest.Eventually(p.t, body+" arrives", func() bool { return p.in.count(body) > 0 })
		if n := p.in.count(body); n != 1 {
			p.t.Errorf("%s arrived %d times", body, n)
		}
	}
	took := time.Since(begun)
	p.t.Logf("crossed after %v", took.Round(time.Millisecond))
	if took > within {
		p.t.Errorf("it took %v until messages crossed again", took)
	}
}

func (p *pair) awaitDown() {
	p.t.Helper()
	for _, h := range []bareHub{p.a, p.b} {
		redistest.Eventually(p.t, "the state is down", func() bool { return h.status.Is(Down) })
		if _, err := h.numSub(context.Background(), plain, "q"); !errors.Is(err, adapter.ErrClusterUnavailable) {
			p.t.Errorf("counting while Redis is down: %v", err)
		}
	}
}

// recovery is the goal for the time after which everything works again, with slack for slow machines.
const recovery = 5 * time.Second * 3

func single(s *redistest.Server) func() redis.UniversalClient {
	return func() redis.UniversalClient { return s.Client() }
}

func TestDownAtStart(t *testing.T) {
	s := redistest.Single(t)
	s.Kill()
	p := newPair(t, single(s), plainAndPattern...)
	p.awaitDown()
	if err := p.a.send(publish("q", "question"), post{passing: true}); !errors.Is(err, adapter.ErrClusterUnavailable) {
		t.Errorf("a question while Redis is down: %v", err)
	}
	if err := p.a.tell(publish("other", "queued")); err != nil {
		t.Errorf("a message while Redis is down: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := p.a.ready(ctx); err == nil {
		t.Error("ready without Redis")
	}
	if err := p.b.wait(ctx, plain, "q"); !errors.Is(err, adapter.ErrClusterUnavailable) {
		t.Errorf("wait for a subscription: %v", err)
	}
	s.Start()
	p.crosses(recovery, plainAndPattern...)
	if n := p.in.count("question"); n != 0 {
		t.Error("a refused question was sent")
	}
	redistest.Eventually(t, "the message was sent", func() bool { return p.a.Stats().Queued == 0 && p.a.Stats().Sent > 0 })
}

func TestKilledAndRestarted(t *testing.T) {
	s := redistest.Single(t)
	p := newPair(t, single(s), plainAndPattern...)
	p.crosses(recovery, plainAndPattern...)
	goroutines := runtime.NumGoroutine()
	for range rounds(2, 20) {
		s.Kill()
		p.awaitDown()
		s.Start()
		p.crosses(recovery, plainAndPattern...)
	}
	redistest.Eventually(t, "no goroutine is left over", func() bool { return runtime.NumGoroutine() <= goroutines+4 })
}

// rounds is how often a trouble is made.
func rounds(short, long int) int {
	if *troubleFlag == "long" {
		return long
	}
	return short
}

// TestPaused stops Redis for five seconds without closing anything. Memory stays bounded and nobody waits.
func TestPaused(t *testing.T) {
	s := redistest.Single(t)
	p := newPair(t, single(s), plainAndPattern...)
	p.crosses(recovery, plainAndPattern...)
	s.Pause()
	begun := time.Now()
	body := string(make([]byte, 1<<10))
	refused := 0
	for time.Since(begun) < 5*time.Second {
		if err := p.a.tell(publish("other", body)); err != nil {
			refused++
			runtime.Gosched()
			if refused == 1 {
				t.Logf("refused after %v", time.Since(begun))
			}
		} else if stats := p.a.Stats(); stats.QueuedBytes > defaults.QueueLimit {
			t.Fatalf("%d bytes are queued", stats.QueuedBytes)
		}
	}
	p.awaitDown()
	s.Resume()
	p.crosses(recovery, plainAndPattern...)
	t.Logf("%+v", p.a.Stats())
}

func TestPubSubKilled(t *testing.T) {
	s := redistest.Single(t)
	p := newPair(t, single(s), plainAndPattern...)
	p.crosses(recovery, plainAndPattern...)
	for range rounds(3, 50) {
		reconnects := p.b.Stats().Reconnects
		if s.KillPubSub() == 0 {
			t.Error("no connection with subscriptions")
		}
		redistest.Eventually(t, "the loss is noticed", func() bool { return p.b.Stats().Reconnects > reconnects })
		p.crosses(recovery, plainAndPattern...)
	}
}

// TestOutputBufferKill makes Redis cut the subscriber off because it reads too slowly.
func TestOutputBufferKill(t *testing.T) {
	s := redistest.Single(t, "--client-output-buffer-limit", "pubsub 1mb 0 0")
	p := newPair(t, single(s), plainAndPattern...)
	block := make(chan struct{})
	p.b.subscribe("", plain, "slow", func(string, string) { <-block })
	p.crosses(recovery, plainAndPattern...)
	ctx := context.Background()
	if err := p.b.wait(ctx, plain, "slow"); err != nil {
		t.Fatal(err)
	}
	reconnects := p.b.Stats().Reconnects
	rdb := s.Client()
	defer rdb.Close()
	body := string(make([]byte, 1<<20))
	redistest.Eventually(t, "Redis cuts the subscriber off", func() bool {
		n, err := rdb.Publish(ctx, "slow", body).Result()
		return err == nil && n == 0
	})
	close(block)
	redistest.Eventually(t, "a new connection is made", func() bool { return p.b.Stats().Reconnects > reconnects })
	p.crosses(recovery, plainAndPattern...)
}

// TestReadOnly makes the server a replica: it goes on with pub/sub but writes nothing.
func TestReadOnly(t *testing.T) {
	s := redistest.Single(t)
	p := newPair(t, single(s), plainAndPattern...)
	p.crosses(recovery, plainAndPattern...)
	write := func() redis.Cmder { return redis.NewStringCmd(context.Background(), "xadd", "stream", "*", "k", "v") }
	if err := p.a.tell(write()); err != nil {
		t.Fatal(err)
	}
	s.Do("REPLICAOF", "127.0.0.1", "1")
	if err := p.a.tell(write()); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "the state is down", func() bool { return p.a.status.Is(Down) })
	if _, reason := p.a.status.Current(); trouble(reason) != "readonly" {
		t.Errorf("the reason is %v", reason)
	}
	changes := p.a.Stats().StateChanges
	redistest.Eventually(t, "several writes are tried", func() bool {
		_ = p.a.tell(write())
		return p.a.Stats().Failed["readonly"] >= 3
	})
	if stats := p.a.Stats(); stats.StateChanges != changes || stats.State != Down {
		t.Errorf("the state flaps: %+v", stats)
	}
	s.Do("REPLICAOF", "NO", "ONE")
	redistest.Eventually(t, "writes work", func() bool {
		_ = p.a.tell(write())
		return p.a.status.Is(Up)
	})
	p.crosses(recovery, plainAndPattern...)
}

func TestWrongPassword(t *testing.T) {
	s := redistest.Single(t)
	p := newPair(t, single(s), plainAndPattern...)
	p.crosses(recovery, plainAndPattern...)
	admin := s.Client()
	defer admin.Close()
	ctx := context.Background()
	conn := admin.Conn() // stays authenticated
	defer conn.Close()
	if err := conn.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if err := conn.ConfigSet(ctx, "requirepass", "secret").Err(); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"pubsub", "normal"} {
		if err := conn.Do(ctx, "client", "kill", "type", kind).Err(); err != nil {
			t.Fatal(err)
		}
	}
	p.awaitDown()
	redistest.Eventually(t, "the reason is told", func() bool {
		_, reason := p.a.status.Current()
		return trouble(reason) == "auth"
	})
	if err := conn.ConfigSet(ctx, "requirepass", "").Err(); err != nil {
		t.Fatal(err)
	}
	p.crosses(recovery, plainAndPattern...)
}

// TestLoading restarts Redis with data that takes it a while to load.
func TestLoading(t *testing.T) {
	s := redistest.Single(t, "--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
	p := newPair(t, single(s), plainAndPattern...)
	p.crosses(recovery, plainAndPattern...)
	s.Do("DEBUG", "POPULATE", 800, "key", 64)
	s.Do("SAVE")
	s.Kill()
	p.awaitDown()
	s.StartLoading()
	redistest.Eventually(t, "the reason is told", func() bool {
		_, reason := p.a.status.Current()
		return trouble(reason) == "loading"
	})
	s.AwaitReady()
	p.crosses(recovery, plainAndPattern...)
}

// TestNeverTwice kills the publisher's connections while it publishes: a message arrives once or not at all.
func TestNeverTwice(t *testing.T) {
	s := redistest.Single(t)
	p := newPair(t, func() redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: s.Addr, MinRetryBackoff: -1})
	}, plainAndPattern...)
	watcher := s.Client()
	defer watcher.Close()
	watch := watcher.Subscribe(t.Context(), "once")
	defer watch.Close()
	if _, err := watch.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.crosses(recovery, plainAndPattern...)
	var sent atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range rounds(100, 2000) {
			for range 200 {
				if p.a.tell(publish("once", fmt.Sprint(sent.Load()))) == nil {
					sent.Add(1)
				}
			}
			s.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		}
	}()
	<-done
	up(t, p.a)
	redistest.Eventually(t, "the last message is sent", func() bool { return p.a.tell(publish("once", "end")) == nil && p.a.Stats().Sent > 0 })
	seen, last := map[string]bool{}, -1
	for {
		m, err := watch.ReceiveMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if m.Payload == "end" {
			break
		}
		if seen[m.Payload] {
			t.Fatalf("message %s arrived twice", m.Payload)
		}
		seen[m.Payload] = true
		var n int
		fmt.Sscan(m.Payload, &n)
		if n < last {
			t.Fatalf("message %d arrived after %d", n, last)
		}
		last = n
	}
	stats := p.a.Stats()
	t.Logf("%d sent, %d arrived, failed %v, dropped %v", sent.Load(), len(seen), stats.Failed, stats.Dropped)
	if len(seen) == int(sent.Load()) {
		t.Log("no message was lost: the connections were not killed in the middle of anything")
	}
}
