package redisadapter

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/defaults"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// withoutWaiting is the time in which a call returns that waits for nothing, with room for a busy machine.
const withoutWaiting = time.Second

// TestJoinWhileAway: a join waits for no Redis that is known to be away, and is caught up later.
func TestJoinWhileAway(t *testing.T) {
	for name, build := range map[string]func(redis.UniversalClient) flavour{
		"sharded, dynamic": func(rdb redis.UniversalClient) flavour { return NewSharded(rdb, nil) },
		"sharded, dynamic-private": func(rdb redis.UniversalClient) flavour {
			return NewSharded(rdb, &ShardedOptions{SubscriptionMode: DynamicPrivate})
		},
		"pubsub, exact channels": func(rdb redis.UniversalClient) flavour { return NewPubSub(rdb, &PubSubOptions{ExactChannels: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Single(t)
			from, to := join(t, build(clientOf(t, server)), "/chat"), join(t, build(clientOf(t, server)), "/chat")
			server.Kill()
			for _, m := range []*member{from, to} {
				redistest.Eventually(t, "the state is down", func() bool { return m.builder.Stats().State == Down })
			}
			for i := range 3 {
				id := fmt.Sprint("s", i)
				began := time.Now()
				to.Connect(id, "room")
				err := to.adapter.(adapter.JoinWaiter).WaitJoined(context.Background(), []string{id, "room"})
				if took := time.Since(began); took > withoutWaiting || !errors.Is(err, adapter.ErrClusterUnavailable) {
					t.Errorf("a join while Redis is away: %v after %v", err, took)
				}
			}
			for _, call := range []func(context.Context) error{
				func(ctx context.Context) error {
					_, err := to.adapter.FetchSockets(ctx, adapter.Selection{}, adapter.Flags{})
					return err
				},
				func(ctx context.Context) error { _, err := to.adapter.Rooms(ctx); return err },
				func(ctx context.Context) error { _, err := to.adapter.ServerCount(ctx); return err },
			} {
				began := time.Now()
				if err := call(within(t)); !errors.Is(err, adapter.ErrClusterUnavailable) || time.Since(began) > withoutWaiting {
					t.Errorf("a question while Redis is away: %v after %v", err, time.Since(began))
				}
			}
			server.Start()
			if err := to.adapter.(adapter.JoinWaiter).WaitJoined(within(t), []string{"room"}); err != nil {
				redistest.Eventually(t, "the subscription is caught up", func() bool {
					return to.adapter.(adapter.JoinWaiter).WaitJoined(within(t), []string{"room"}) == nil
				})
			}
			send(t, from, "hello", "room")
			if got := to.hears(t, 1); !slices.Equal(got, []string{`2/chat,["hello"]`}) {
				t.Errorf("heard %q", got)
			}
		})
	}
}

// TestRefused: what Redis refuses in the middle of things shows in the state, in the figures, in the receipt and in what the next
// call returns, and is over when Redis grants it again. What Redis still grants goes on.
func TestRefused(t *testing.T) {
	for _, tt := range []struct {
		kind, verb    string
		refuse, grant []any
	}{
		{"noperm", "publish", []any{"ACL", "SETUSER", "default", "-publish"}, []any{"ACL", "SETUSER", "default", "+publish"}},
		{"noperm", "xadd", []any{"ACL", "SETUSER", "default", "resetkeys"}, []any{"ACL", "SETUSER", "default", "allkeys"}},
		{"oom", "xadd", []any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}},
		{"readonly", "xadd", []any{"REPLICAOF", "127.0.0.1", "1"}, []any{"REPLICAOF", "NO", "ONE"}},
		{"noreplicas", "xadd", []any{"CONFIG", "SET", "min-replicas-to-write", "1"}, []any{"CONFIG", "SET", "min-replicas-to-write", "0"}},
		{"other", "xadd", []any{"SET", "stream", "no stream"}, []any{"DEL", "stream"}},
	} {
		t.Run(tt.kind+" "+tt.verb, func(t *testing.T) {
			server := redistest.Single(t)
			p := newPair(t, single(server), plainAndPattern...)
			p.crosses(recovery, plainAndPattern...)
			receipts := make(chan adapter.Receipt, 1000)
			write := func(namespace string) error {
				how := post{namespace: namespace, sent: func(r adapter.Receipt) { receipts <- r }}
				if tt.verb == "publish" {
					return p.a.send(publish("q", "x"), how)
				}
				return p.a.send(redis.NewStringCmd(context.Background(), "xadd", "stream", "*", "k", "v"), how)
			}
			if err := write("/chat"); err != nil {
				t.Fatal(err)
			}
			if r := <-receipts; r.Err != nil {
				t.Fatal(r.Err)
			}
			if tt.kind == "other" {
				server.Do("DEL", "stream")
			}
			server.Do(tt.refuse...)
			if err := write("/chat"); err != nil {
				t.Fatalf("the first that is refused: %v", err)
			}
			if r := <-receipts; trouble(r.Err) != tt.kind || !errors.Is(r.Err, adapter.ErrClusterUnavailable) {
				t.Errorf("the receipt says %v", r.Err)
			}
			if err := write("/chat"); trouble(err) != tt.kind || !errors.Is(err, adapter.ErrClusterUnavailable) {
				t.Errorf("the next call returns %v", err)
			}
			redistest.Eventually(t, "the state is down", func() bool { return p.a.status.Is(Down) })
			if _, reason := p.a.status.Current(); trouble(reason) != tt.kind || !strings.Contains(reason.Error(), "/chat") {
				t.Errorf("the reason is %v", reason)
			}
			if s := p.a.Stats(); s.Failed[tt.kind] == 0 || s.Dropped[outflow.Refused] == 0 {
				t.Errorf("failed %v, dropped %v", s.Failed, s.Dropped)
			}
			if tt.verb != "publish" {
				if err := p.a.send(publish("q", "goes on"), post{namespace: "/chat"}); err != nil {
					t.Errorf("what is not refused: %v", err)
				}
				redistest.Eventually(t, "what is not refused arrives", func() bool { return p.in.count("goes on") == 1 })
			}
			server.Do(tt.grant...)
			redistest.Eventually(t, "it is granted again", func() bool { _ = write("/chat"); return p.a.status.Is(Up) })
			p.crosses(recovery, plainAndPattern...)
		})
	}
}

// TestSlow: a Redis that takes two seconds to answer is slow, not dead. A busy machine adds to them.
func TestSlow(t *testing.T) {
	const roundTrip, busy = 2 * time.Second, 10 * time.Second
	if roundTrip >= defaults.AnswerTimeout {
		t.Errorf("by default %v are too long", roundTrip)
	}
	server := redistest.Single(t)
	addr := redistest.NewDelay(t, server.Addr, roundTrip)
	client := func() redis.UniversalClient {
		return redis.NewClient(&redis.Options{Addr: addr, DialTimeout: 20 * time.Second, ReadTimeout: 20 * time.Second, DisableIdentity: true})
	}
	opts := Options{AnswerTimeout: roundTrip + busy}
	p := &pair{t: t, a: startHub(t, client(), opts), b: startHub(t, client(), opts)}
	p.b.subscribe("", plain, "q", p.in.take)
	for _, h := range []bareHub{p.a, p.b} {
		up(t, h)
	}
	changes := p.a.Stats().StateChanges
	for i := range 2000 {
		if err := p.a.tell(publish("q", fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	redistest.Eventually(t, "everything arrives", func() bool { return len(p.in.all()) == 2000 })
	redistest.Eventually(t, "everything is answered", func() bool { return p.a.Stats().Queued == 0 })
	if s := p.a.Stats(); s.StateChanges != changes || len(s.Failed) > 0 || s.Sent != 2000 {
		t.Errorf("%+v", s)
	}
}

// TestHung: when Redis hangs, what is under way is given up after Options.AnswerTimeout; what waits is sent later.
func TestHung(t *testing.T) {
	server := redistest.Single(t)
	link := redistest.NewLink(t, server.Addr)
	a := startHub(t, redis.NewClient(&redis.Options{Addr: link.Addr}), Options{AnswerTimeout: time.Second})
	b := startHub(t, server.Client(), Options{})
	var in inbox
	b.subscribe("", plain, "q", in.take)
	up(t, a)
	up(t, b)
	if err := a.tell(publish("q", "before")); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "it arrives", func() bool { return in.count("before") == 1 })
	link.Cut()
	const number = 4 * windowBytes / overhead // more than is under way at once
	for i := range number {
		if err := a.tell(publish("q", fmt.Sprint(i))); err != nil {
			if !errors.Is(err, adapter.ErrQueueFull) {
				t.Fatal(err)
			}
			break
		}
	}
	redistest.Eventually(t, "the state is down", func() bool { return a.status.Is(Down) })
	redistest.Eventually(t, "what was under way is given up", func() bool {
		s := a.Stats()
		return s.Failed["timeout"]+s.Failed["connection"] > 0
	})
	queued := a.Stats().Queued
	link.Mend()
	redistest.Eventually(t, "everything else is sent", func() bool { return a.Stats().Queued == 0 })
	redistest.Eventually(t, "and arrives", func() bool { return len(in.all()) >= queued+1 })
	last := -1
	for _, body := range in.all()[1:] {
		n := 0
		fmt.Sscan(body, &n)
		if n <= last {
			t.Fatalf("%d came after %d", n, last)
		}
		last = n
	}
	if s := a.Stats(); s.Failed["timeout"]+s.Failed["connection"] > 2*windowBytes/overhead {
		t.Errorf("%v were under way", s.Failed)
	}
}

// TestPace: the writer of a stream waits for its reader, but not for one that stands still.
func TestPace(t *testing.T) {
	poked := 0
	p := newPace(12, func() { poked++ })
	now := time.Now()
	for i := range 3 {
		if !p.begin(now) {
			t.Fatalf("entry %d is held up", i)
		}
	}
	if p.begin(now) || p.begin(now.Add(time.Hour)) {
		t.Error("too many are under way")
	}
	p.end("5-1")
	p.end("5-2")
	p.end("")
	if !p.begin(now) || p.begin(now) {
		t.Error("two are unread, one may be under way")
	}
	p.reached(entryID{4, 9}, 1)
	if poked != 0 {
		t.Error("the writer was told of room that is not there")
	}
	p.reached(entryID{5, 1}, 1)
	if poked != 1 || !p.begin(now) || p.begin(now) {
		t.Errorf("one was read, told %d times", poked)
	}
	p.end("6-0")
	p.end("6-1")
	if p.begin(now) || !p.begin(time.Now().Add(paceAfter)) {
		t.Error("a reader that stands still is waited for for two seconds")
	}
}

// TestPaceOfOthers: the writer waits for the slowest of those who read, as far as Redis tells.
func TestPaceOfOthers(t *testing.T) {
	p := newPace(320, func() {}) // 200 ahead of the others
	now, seq := time.Now(), uint64(0)
	// write writes entries, which this node reads at once, until the writer is held up, n at most.
	write := func(n int) (written int) {
		for ; written < n && p.begin(now); written++ {
			seq++
			p.end(fmt.Sprint(seq, "-0"))
			p.reached(entryID{seq, 0}, 1)
		}
		return written
	}
	asked := func() bool {
		select {
		case <-p.look:
			return true
		default:
			return false
		}
	}
	if got := write(1000); got != 1000 || asked() {
		t.Fatalf("%d are written without a watch", got)
	}
	p.watch(1)
	if got := write(50); got != 50 || asked() {
		t.Fatalf("%d are written, or a look is wanted already", got)
	}
	if got := write(1000); got != 150 || !asked() {
		t.Fatalf("%d more are written before a look", got)
	}
	p.looked(p.written(), map[string]bool{"1": true, "2": false}, now)
	if got := write(1000); got != 200 {
		t.Fatalf("%d are written after a look", got)
	}
	p.looked(p.written(), map[string]bool{"1": true, "2": false}, now.Add(time.Second))
	if got := write(1000); got != 0 {
		t.Fatalf("%d are written though one reader is behind", got)
	}
	p.looked(p.written(), map[string]bool{"1": true, "2": false}, now.Add(followAfter+time.Second))
	if got := write(1000); got != 200 {
		t.Fatalf("%d are written, a reader that gets nowhere is given up", got)
	}
	p.looked(p.written(), map[string]bool{"1": true}, now)
	if got := write(1000); got != 200 {
		t.Fatalf("%d are written when the slow reader has gone", got)
	}
	p.looked(p.written(), nil, now)
	if got := write(1000); got != 1000 {
		t.Fatalf("%d are written though Redis tells nothing", got)
	}
	if now = now.Add(blindFor); write(1000) != 0 {
		t.Error("Redis is not asked again")
	}
	p.watch(-1)
	if got := write(1000); got != 1000 {
		t.Errorf("%d are written when nobody watches any more", got)
	}
}

// TestReadersOf reads what Redis 7 says.
func TestReadersOf(t *testing.T) {
	list := "id=3 addr=127.0.0.1:1 laddr=127.0.0.1:2 fd=8 name= age=9 idle=8 flags=b db=0 sub=0 cmd=xread user=default\n" +
		"id=4 addr=127.0.0.1:3 fd=9 name=x age=9 idle=0 flags=N cmd=xread user=default\n" +
		"id=5 addr=127.0.0.1:4 fd=9 name=x age=90 idle=12 flags=N cmd=xread user=default\n" +
		"id=6 addr=127.0.0.1:5 fd=9 name=x age=90 idle=0 flags=b cmd=blpop user=default\n" +
		"id=7 addr=127.0.0.1:6 fd=9 name=x age=90 idle=0 flags=N cmd=client|list user=default\n"
	if got, want := readersOf(list), (map[string]bool{"3": true, "4": false}); !maps.Equal(got, want) {
		t.Errorf("readers %v, want %v", got, want)
	}
}

// FuzzReaders reads lists of any form.
func FuzzReaders(f *testing.F) {
	f.Add("id=3 idle=8 flags=b cmd=xread\nid=4 idle= flags cmd=xread")
	f.Fuzz(func(t *testing.T, list string) {
		if n := len(readersOf(list)); n > strings.Count(list, "cmd=xread") {
			t.Errorf("%d readers", n)
		}
	})
}

// TestCrowd: fewer listeners are believed only after a while, more at once.
func TestCrowd(t *testing.T) {
	var c crowd
	see := func(n int64) int64 {
		c.saw(map[string]int64{"x": n})
		return c.last()["x"]
	}
	for _, step := range [][2]int64{{1, 1}, {3, 3}, {1, 3}, {2, 3}, {3, 3}, {4, 4}} {
		if got := see(step[0]); got != step[1] {
			t.Errorf("after %d: %d are expected, not %d", step[0], got, step[1])
		}
	}
	for range crowdMemory {
		if got := see(2); got != 4 {
			t.Fatalf("%d are expected", got)
		}
	}
	if got := see(2); got != 2 {
		t.Errorf("%d are expected though there are fewer for long", got)
	}
}

// FuzzResponse reads answers of any form.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{":1\r\n", "+OK\r\n", "-NOPERM no\r\n", "$3\r\n1-2\r\n", "$-1\r\n", "*1\r\n:1\r\n", "$99999999999\r\n", ":\r\n", "\r\n", "$2\r\nabcd"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReader(bytes.NewReader(data))
		for {
			got, err := readResponse(r)
			if err != nil {
				return
			}
			if len(got.text) > maxReply || got.err != nil && (got.isText || got.number != 0) {
				t.Fatalf("%+v", got)
			}
		}
	})
}

// FuzzCommand writes commands that are read back with the same arguments.
func FuzzCommand(f *testing.F) {
	f.Add("publish", []byte("a\r\nb"), 7)
	f.Fuzz(func(t *testing.T, verb string, body []byte, n int) {
		b := appendCommand(nil, []any{verb, body, n})
		r := bufio.NewReader(bytes.NewReader(b))
		if head, err := readLine(r); err != nil || string(head) != "*3" {
			t.Fatalf("%q, %v", head, err)
		}
		for _, want := range []string{verb, string(body), fmt.Sprint(n)} {
			if len(want) > maxReply {
				return
			}
			if got, err := readResponse(r); err != nil || got.text != want {
				t.Fatalf("%q in place of %q, %v", got.text, want, err)
			}
		}
	})
}
