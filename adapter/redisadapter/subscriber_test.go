package redisadapter

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestSettles lets many goroutines join and leave without a pause. In the end Redis has what is wanted, no more, also
// when connections were lost meanwhile.
func TestSettles(t *testing.T) {
	s := redistest.Single(t)
	h := startHub(t, s.Client(), Options{})
	up(t, h)
	const workers, names = 8, 50
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			type key struct {
				space space
				name  string
			}
			held := map[key]bool{} // each subscribe has one unsubscribe
			set := func(sp space, name string, want bool) {
				switch k := (key{sp, name}); {
				case want && !held[k]:
					h.subscribe("", sp, name, func(string, string) {})
				case !want && held[k]:
					h.unsubscribe("", sp, name)
				}
				held[key{sp, name}] = want
			}
			for i := range rounds(5000, 200_000) {
				set(space(rand.N(3)), fmt.Sprintf("room#%d#%d", w, rand.N(names)), rand.N(2) == 0)
				if w == 0 && i%1000 == 500 {
					s.KillPubSub()
				}
			}
			for i := range names {
				for sp := plain; sp <= shard; sp++ {
					set(sp, fmt.Sprintf("room#%d#%d", w, i), i%2 == 0)
				}
			}
		})
	}
	wg.Wait()
	var want []string
	for w := range workers {
		for i := 0; i < names; i += 2 {
			want = append(want, fmt.Sprintf("room#%d#%d", w, i))
		}
	}
	slices.Sort(want)
	ctx := context.Background()
	for sp := plain; sp <= shard; sp++ {
		if err := h.wait(ctx, sp, want...); err != nil {
			t.Fatal(err)
		}
	}
	up(t, h)
	for _, sp := range []space{plain, shard} {
		redistest.Eventually(t, "Redis has the channels that are wanted", func() bool {
			got, err := h.channels(ctx, sp, "room#*")
			return err == nil && slices.Equal(got, want)
		})
	}
	rdb := s.Client()
	defer rdb.Close()
	redistest.Eventually(t, "Redis has the patterns that are wanted", func() bool {
		n, err := rdb.PubSubNumPat(ctx).Result()
		return err == nil && int(n) == len(want)
	})
	if stats := h.Stats(); stats.Wanted != 3*len(want) || stats.Confirmed != stats.Wanted || stats.Connections != 1 {
		t.Errorf("%+v", stats)
	}
}

// TestUnwanted checks that nothing of channels that were left is kept.
func TestUnwanted(t *testing.T) {
	s := redistest.Single(t)
	h := startHub(t, s.Client(), Options{})
	var in inbox
	for i := range 1000 {
		h.subscribe("", shard, fmt.Sprint(i), in.take)
		if i%2 == 0 {
			h.unsubscribe("", shard, fmt.Sprint(i))
		}
	}
	if err := h.wait(context.Background(), shard, "998", "999", "unknown"); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		h.unsubscribe("", shard, fmt.Sprint(i))
	}
	h.subscribe("", shard, "again", in.take)
	h.unsubscribe("", shard, "again")
	h.subscribe("", shard, "again", in.take)
	up(t, h)
	if err := h.wait(context.Background(), shard, "again"); err != nil {
		t.Fatal(err)
	}
	sub := h.running().sub
	redistest.Eventually(t, "the others are forgotten", func() bool {
		sub.mu.Lock()
		defer sub.mu.Unlock()
		return len(sub.channels[shard]) == 1
	})
	s.Do("SPUBLISH", "again", "x")
	redistest.Eventually(t, "a message arrives", func() bool { return in.count("x") == 1 })
}

// TestRefusedOnce: one refusal of a kind is told, not that of each channel and of each attempt.
func TestRefusedOnce(t *testing.T) {
	server := redistest.Single(t)
	server.Do("ACL", "SETUSER", "default", "resetchannels")
	var log logtest.Log
	h := startHub(t, server.Client(), Options{Logger: log.Logger()})
	sub := h.running().sub
	for i := range 3 {
		h.subscribe("/", plain, fmt.Sprint(i), func(string, string) {})
		redistest.Eventually(t, "the channel is refused", func() bool {
			sub.mu.Lock()
			defer sub.mu.Unlock()
			return len(sub.refused) > i
		})
	}
	if n := log.Count("redis refused a subscription"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// TestStartClose starts and closes: what is queued at the end is sent, and nothing stays.
func TestStartClose(t *testing.T) {
	s := redistest.Single(t)
	rdb := s.Client()
	defer rdb.Close()
	ctx := context.Background()
	for round := range 3 {
		h := newBareHub(rdb, Options{})
		if err := h.start(); err != nil {
			t.Fatal(err)
		}
		r := h.running()
		var in inbox
		h.subscribe("/", plain, "q", in.take)
		if err := h.wait(ctx, plain, "q"); err != nil {
			t.Fatal(err)
		}
		up(t, h)
		body := fmt.Sprint(round)
		if err := h.tell(publish("q", body)); err != nil {
			t.Fatal(err)
		}
		redistest.Eventually(t, "a message arrives", func() bool { return in.count(body) == 1 })
		if err := h.tell(publish("q", "last")); err != nil {
			t.Fatal(err)
		}
		sent := h.Stats().Sent
		h.close()
		<-r.done
		if n := h.Stats().Sent; n < 2 {
			t.Errorf("what was queued at the end was not sent: %d commands then, %d now", sent, n)
		}
		if n := s.Do("CLIENT", "KILL", "TYPE", "pubsub"); n != int64(0) {
			t.Errorf("%v connections with subscriptions are left", n)
		}
		if h.tell(publish("q", "late")) == nil || h.wait(ctx, plain, "q") == nil {
			t.Error("a closed hub goes on")
		}
		if !h.status.Is(Starting) {
			t.Errorf("the state is %v", h.Stats().State)
		}
	}
	if err := rdb.Ping(ctx).Err(); err != nil {
		t.Errorf("the caller's client: %v", err)
	}
}

// TestSlots compares with what Redis says.
func TestSlots(t *testing.T) {
	// Without a port for the other servers Redis takes its own one plus 10,000, which another process may have been given.
	_, bus, _ := net.SplitHostPort(redistest.FreeAddr(t))
	s := redistest.Single(t, "--cluster-enabled", "yes", "--cluster-port", bus)
	names := []string{"", "a", "123456789", "{a}b", "b{a}", "{}a", "{a", "a}b{", "x{}{a}", "{a}{b}", "{{a}}", "\x00\xff{\xfe}", "socket.io#/#room#"}
	for range 200 {
		b := make([]byte, rand.N(20))
		for i := range b {
			b[i] = "{}abc\xff"[rand.N(6)]
		}
		names = append(names, string(b))
	}
	for _, name := range names {
		if want := s.Do("CLUSTER", "KEYSLOT", name).(int64); int64(slotOf(name)) != want {
			t.Errorf("slot of %q is %d, Redis says %d", name, slotOf(name), want)
		}
	}
}
