package redisadapter

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/inflow"
	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// counter is a node that notes the number that each packet begins with.
type counter struct {
	*witness
	mu      sync.Mutex
	numbers []int
}

func (c *counter) Deliver(p *parser.Packet, _ adapter.Selection, _ adapter.Flags) {
	_, args, _ := p.Event()
	text, _, _ := strings.Cut(strings.Trim(string(args.At(0).JSON), `"`), " ")
	n, _ := strconv.Atoi(text)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.numbers = append(c.numbers, n)
}

func (c *counter) all() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.numbers)
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.numbers)
}

// emitNumber broadcasts a number and as many bytes.
func emitNumber(t testing.TB, a adapter.Adapter, n int, filling string) error {
	return a.Broadcast(chatEvent(t, "x", strconv.Itoa(n)+" "+filling), adapter.Selection{}, adapter.Flags{})
}

// flavoursOn are the builders of all flavours on a Redis.
func flavoursOn(opts Options) map[string]func(redis.UniversalClient) flavour {
	return map[string]func(redis.UniversalClient) flavour{
		"pubsub":  func(rdb redis.UniversalClient) flavour { return NewPubSub(rdb, &PubSubOptions{Options: opts}) },
		"sharded": func(rdb redis.UniversalClient) flavour { return NewSharded(rdb, &ShardedOptions{Options: opts}) },
		"streams": func(rdb redis.UniversalClient) flavour { return NewStreams(rdb, &StreamsOptions{Options: opts}) },
	}
}

// couple is a node that sends, over a way of its own, and one that counts what arrives.
type couple struct {
	from, to flavour
	sender   *member
	counter  *counter
}

func newCouple(t testing.TB, build func(redis.UniversalClient) flavour, fromAddr, toAddr string) *couple {
	t.Helper()
	client := func(addr string) redis.UniversalClient {
		rdb := redis.NewClient(&redis.Options{Addr: addr})
		t.Cleanup(func() { rdb.Close() })
		return rdb
	}
	c := &couple{from: build(client(fromAddr)), to: build(client(toAddr)), counter: &counter{witness: newWitness("/chat")}}
	c.sender = join(t, c.from, "/chat")
	adapterOf(t, c.to, c.counter)
	if err := c.to.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	node := serverOf(t, c.to).Self().ID
	redistest.Eventually(t, "the other node is known", func() bool {
		r, err := c.sender.adapter.FetchSockets(within(t), adapter.Selection{}, adapter.Flags{Node: node})
		return err == nil && r.Complete()
	})
	redistest.Eventually(t, "the listeners of both are counted", func() bool {
		counts := crowdOf(c.from).last()
		for _, n := range counts {
			if n < 2 {
				return false
			}
		}
		return len(counts) > 0
	})
	return c
}

// crowdOf is what the server of a builder, which has only one, knows of who listens.
func crowdOf(f flavour) *crowd {
	var b *builder
	switch f := f.(type) {
	case *PubSub:
		b = &f.builder
	case *Sharded:
		b = &f.builder
	case *Streams:
		b = &f.builder
	}
	return &b.servers.Open()[0].hub.running().pub.mon.crowd
}

// TestBursts sends more at once than Redis, or the way to it, takes at once: all of it arrives, in order.
func TestBursts(t *testing.T) {
	for _, tt := range []struct {
		number, size int
		roundTrip    time.Duration
	}{
		{2000, 20_000, time.Millisecond},
		{10_000, 100, 120 * time.Millisecond},
		{20_000, 100, time.Millisecond},
	} {
		server := redistest.Single(t)
		addr := redistest.NewDelay(t, server.Addr, tt.roundTrip)
		for name, build := range flavoursOn(Options{}) {
			t.Run(fmt.Sprint(name, ", ", tt.number, " of ", tt.size, " bytes at ", tt.roundTrip), func(t *testing.T) {
				c := newCouple(t, build, addr, server.Addr)
				filling := strings.Repeat("x", tt.size)
				began := time.Now()
				for i := range tt.number {
					if err := emitNumber(t, c.sender.adapter, i, filling); err != nil {
						t.Fatalf("message %d: %v", i, err)
					}
				}
				queued := time.Since(began)
				redistest.Eventually(t, "all of it arrives", func() bool { return c.counter.count() >= tt.number })
				t.Logf("queued in %v, arrived in %v", queued.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
				for i, n := range c.counter.all() {
					if n != i {
						t.Fatalf("message %d came in place of %d", n, i)
					}
				}
			})
		}
	}
}

// TestOutage kills Redis under load and starts it three seconds later: nothing is lost but what was under way, and that is counted.
func TestOutage(t *testing.T) {
	for name, build := range flavoursOn(Options{}) {
		t.Run(name, func(t *testing.T) {
			server := redistest.Single(t, "--appendonly", "yes") // else a stream forgets what nobody has read
			c := newCouple(t, build, server.Addr, server.Addr)
			const rate, number = 4800, 14_400 // three bursts of 16 in 10 ms
			begin, killed, started := time.Now(), false, false
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for i := 0; i < number; <-tick.C {
				since := time.Since(begin)
				if since > time.Second && !killed {
					server.Kill()
					killed = true
				}
				if since > 4*time.Second && !started {
					server.Start()
					started = true
				}
				for ; i < number && i < int(since.Seconds()*rate); i++ {
					if err := emitNumber(t, c.sender.adapter, i, "x"); err != nil {
						t.Fatalf("message %d: %v", i, err)
					}
				}
			}
			if !started {
				time.Sleep(time.Until(begin.Add(4 * time.Second)))
				server.Start()
			}
			redistest.Eventually(t, "everything is sent", func() bool { return c.from.Stats().Queued == 0 })
			if err := emitNumber(t, c.sender.adapter, number, "end"); err != nil {
				t.Fatal(err)
			}
			redistest.Eventually(t, "the last one arrives", func() bool {
				all := c.counter.all()
				return len(all) > 0 && all[len(all)-1] == number
			})
			stats, got := c.from.Stats(), c.counter.all()
			unanswered := int(stats.Failed["connection"] + stats.Failed["timeout"])
			t.Logf("%d of %d arrived, %d were under way; failed %v, dropped %v", len(got)-1, number, unanswered, stats.Failed, stats.Dropped)
			if lost := number + 1 - len(got); lost > unanswered {
				t.Errorf("%d were lost, %d were under way", lost, unanswered)
			}
			if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
				t.Error("they came out of order, or twice")
			}
		})
	}
}

// TestFlood emits without end while Redis is away: memory stays bounded, each message that is not queued is refused and
// counted, and the log has a line or two.
func TestFlood(t *testing.T) {
	server := redistest.Single(t)
	log := &logtest.Log{}
	const limit = 4 << 20
	c := newCouple(t, flavoursOn(Options{Logger: log.Logger(), QueueLimit: limit, QueueAge: time.Hour})["pubsub"], server.Addr, server.Addr)
	server.Kill()
	redistest.Eventually(t, "the state is down", func() bool { return c.from.Stats().State == Down })
	refused, filling := 0, strings.Repeat("x", 1000)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const number = 50_000
	start := time.Now()
	for i := range number {
		switch err := emitNumber(t, c.sender.adapter, i, filling); {
		case errors.Is(err, adapter.ErrQueueFull):
			refused++
		case err != nil:
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	stats := c.from.Stats()
	if refused == 0 || stats.Dropped["full"] != uint64(refused) || stats.QueuedBytes > limit || stats.Queued < number-refused {
		t.Errorf("%d refused; %+v", refused, stats)
	}
	witnessed := 0
	for _, text := range c.sender.got() { // what the test itself keeps
		witnessed += len(text)
	}
	if grown := int(after.HeapAlloc) - int(before.HeapAlloc) - witnessed; grown > 3*limit {
		t.Errorf("%d bytes are kept for a queue of %d", grown, limit)
	}
	if n := log.Count("messages for other nodes are lost"); n == 0 || n > 3+int(time.Since(start)/inflow.TellEvery) {
		t.Errorf("the log has %d lines of %d refused messages", n, refused)
	}
	server.Start()
	queued := number - refused
	redistest.Eventually(t, "what was queued arrives", func() bool { return c.counter.count() >= queued })
	for i, n := range c.counter.all() {
		if n != i {
			t.Fatalf("message %d came in place of %d", n, i)
		}
	}
	redistest.Eventually(t, "the sums are told", func() bool { return log.Count("of what came before, messages were lost") == 1 })
}

// TestSlowReader: a reader of which nobody knows more than Redis tells, as a node of npm is one, gets a burst whole though it is twice as
// long as the stream.
func TestSlowReader(t *testing.T) {
	server := redistest.Single(t)
	from := join(t, NewStreams(clientOf(t, server), nil), "/chat")
	const number = 2 * defaultMaxLen
	rdb := server.Client()
	t.Cleanup(func() { rdb.Close() })
	read := make(chan int, 1)
	go func() {
		last, n := "0-0", 0
		pause := time.NewTicker(10 * time.Millisecond)
		defer pause.Stop()
		for n < number {
			got, err := rdb.XRead(t.Context(), &redis.XReadArgs{Streams: []string{"socket.io", last}, Count: 100, Block: 5 * time.Second}).Result()
			if err != nil {
				break // nothing for so long: the rest is lost
			}
			n += len(got[0].Messages)
			last = got[0].Messages[len(got[0].Messages)-1].ID
			<-pause.C
		}
		read <- n
	}()
	for i := range number {
		if err := emitNumber(t, from.adapter, i, ""); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if n := <-read; n != number {
		t.Errorf("%d of %d entries were read", n, number)
	}
}
