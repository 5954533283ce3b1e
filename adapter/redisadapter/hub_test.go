package redisadapter

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(redistest.Goroutine), goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.init.0.func1"))
}

// inbox is a sink that remembers.
type inbox struct {
	mu   sync.Mutex
	got  []string
	seen map[string]int
}

func (b *inbox) take(_, body string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.got = append(b.got, body)
	if b.seen == nil {
		b.seen = map[string]int{}
	}
	b.seen[body]++
}

func (b *inbox) count(body string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.seen[body]
}

func (b *inbox) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]string(nil), b.got...)
}

// bareHub is a hub without a server.
type bareHub struct{ *hub }

func newBareHub(rdb redis.UniversalClient, opts Options) bareHub {
	return bareHub{newHub(rdb, opts.withDefaults(), new(counters))}
}

func (h bareHub) Stats() Stats {
	b := builder{stats: h.stats}
	b.servers.Add(&broker{hub: h.hub})
	return b.figures()
}

// tell is send for a test that does not ask what becomes of the command.
func (h bareHub) tell(cmd redis.Cmder) error { return h.send(cmd, post{}) }

func startHub(t testing.TB, rdb redis.UniversalClient, opts Options) bareHub {
	t.Helper()
	h := newBareHub(rdb, opts)
	if err := h.start(); err != nil {
		t.Fatal(err)
	}
	r := h.running()
	t.Cleanup(func() {
		h.close()
		<-r.done
		rdb.Close()
	})
	return h
}

func up(t testing.TB, h bareHub) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := h.ready(ctx); err != nil {
		t.Fatal(err)
	}
}

func publish(ch, body string) redis.Cmder {
	return redis.NewIntCmd(context.Background(), "publish", ch, body)
}

func TestMessagesArriveInOrder(t *testing.T) {
	s := redistest.Single(t)
	a, b := startHub(t, s.Client(), Options{}), startHub(t, s.Client(), Options{})
	var in inbox
	b.subscribe("", pattern, "p#*", in.take)
	b.subscribe("", plain, "q", in.take)
	up(t, a)
	up(t, b)
	ctx := context.Background()
	if err := b.wait(ctx, pattern, "p#*"); err != nil {
		t.Fatal(err)
	}
	if err := b.wait(ctx, plain, "q"); err != nil {
		t.Fatal(err)
	}
	const n = 5000
	for i := range n {
		if err := a.tell(publish([]string{"p#1", "q"}[i%2], fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	redistest.Eventually(t, "all messages arrive", func() bool { return len(in.all()) >= n })
	for i, body := range in.all() {
		if body != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, body)
		}
	}
	if c, err := b.numSub(ctx, plain, "q"); err != nil || c != 1 {
		t.Fatal(c, err)
	}
	if l, err := b.channels(ctx, plain, "q*"); err != nil || len(l) != 1 {
		t.Fatal(l, err)
	}
	t.Logf("%+v", b.Stats())
}

func TestMessageCrossesAfterRestart(t *testing.T) {
	s := redistest.Single(t)
	a, b := startHub(t, s.Client(), Options{}), startHub(t, s.Client(), Options{})
	var in inbox
	b.subscribe("", plain, "q", in.take)
	up(t, a)
	up(t, b)
	s.Kill()
	redistest.Eventually(t, "down", func() bool { return b.status.Is(Down) })
	s.Start()
	begun := time.Now()
	up(t, a)
	up(t, b)
	t.Log(time.Since(begun))
	if err := a.tell(publish("q", "x")); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "arrives", func() bool { return in.count("x") == 1 })
}

// quiet is a logger for go-redis, which tells of every failed attempt to connect.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}
