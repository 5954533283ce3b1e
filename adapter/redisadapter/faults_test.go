package redisadapter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/internal/returning"
	"github.com/sockeye-io/sockeye/server"
)

// faulty is a Redis to which something happens, with two nodes of each adapter.
type faulty struct {
	t        *testing.T
	redis    *redistest.Server
	replica  *redistest.Server // of redis; nil if the fault needs none
	addr     atomic.Pointer[string]
	afflicts []*afflicted
}

// dial connects to whatever is the master now.
func (f *faulty) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	addr := f.addr.Load()
	if addr == nil {
		return nil, errors.New("no master")
	}
	return new(net.Dialer).DialContext(ctx, "tcp", *addr)
}

func (f *faulty) client() redis.UniversalClient {
	return redis.NewClient(&redis.Options{Dialer: f.dial, MaxRetries: -1, DialerRetries: 1})
}

// each does something with the nodes of each adapter.
func (f *faulty) each(do func(a *afflicted)) {
	for _, a := range f.afflicts {
		do(a)
	}
}

// logs are the keys of the logs of broadcasts.
func (f *faulty) logs() []any {
	rdb := f.redis.Client()
	defer rdb.Close()
	var all []any
	for keys := rdb.ScanType(f.t.Context(), 0, "*", 1000, "stream").Iterator(); keys.Next(f.t.Context()); {
		all = append(all, keys.Val())
	}
	if len(all) != 3 {
		f.t.Fatalf("the logs are %v", all)
	}
	return all
}

// afflicted are two nodes with one adapter, and clients that are away.
type afflicted struct {
	t        *testing.T
	name     string
	flavours []recoveryFlavour // of the nodes
	nodes    []*returning.Node
	watchers []*watcher            // one of each node, connected all the time
	away     []*returning.Counting // of node 0, 1 and 0; the last one leaves later than the others
	sent     int
}

// emit broadcasts numbers from both nodes. Redis may be away.
func (a *afflicted) emit(numbers int) {
	for range numbers {
		for i, n := range a.nodes {
			_ = n.Of("/").Emit(fmt.Sprint("from", i), a.sent)
		}
		a.sent++
	}
}

// crossed waits until the last number of each node has come to both; it sends more while Redis may not have taken the last.
func (a *afflicted) crossed(more bool) {
	a.t.Helper()
	tries := 0
	redistest.Eventually(a.t, a.name+": broadcasts go from node to node", func() bool {
		if tries++; more && tries%100 == 1 {
			a.emit(1)
		}
		return !slices.ContainsFunc(a.watchers, func(w *watcher) bool { return !w.has(a.sent - 1) })
	})
}

// watcher is a client that stays.
type watcher struct {
	mu   sync.Mutex
	last [2]int // of each node
}

func (w *watcher) has(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last[0] >= n && w.last[1] >= n
}

// watch has a client read what comes until its connection ends.
func watch(t *testing.T, n *returning.Node) *watcher {
	t.Helper()
	r := returning.NewCounting(t)
	r.Come(n)
	w := &watcher{last: [2]int{-1, -1}}
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			p, err := r.Conn.Read(context.Background())
			if err != nil {
				return
			}
			var list []any
			if json.Unmarshal([]byte(strings.TrimPrefix(p.Data, "42")), &list) != nil {
				continue
			}
			w.mu.Lock()
			w.last[int(list[0].(string)[4]-'0')] = int(list[1].(float64))
			w.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		r.Conn.Cut()
		reading.Wait()
	})
	return w
}

// until has a client read up to a number of each node.
func until(r *returning.Counting, n int) {
	r.T.Helper()
	r.Until("from0", n)
	r.Until("from1", n)
}

// newFaulty starts everything, and has clients leave. behind is called when the first ones have left: what comes then is what Redis loses.
func newFaulty(t *testing.T, answer time.Duration, replica bool, args []string, behind func(f *faulty)) *faulty {
	t.Helper()
	f := &faulty{t: t, redis: redistest.Single(t, args...)}
	f.addr.Store(&f.redis.Addr)
	if replica {
		host, port, _ := net.SplitHostPort(f.redis.Addr)
		f.replica = redistest.Single(t, "--repl-diskless-sync-delay", "0", "--replicaof", host+" "+port)
	}
	quiet := Options{Logger: slog.New(slog.DiscardHandler), AnswerTimeout: answer}
	for name, build := range map[string]func(rdb redis.UniversalClient) recoveryFlavour{
		"pubsub": func(rdb redis.UniversalClient) recoveryFlavour { return NewPubSub(rdb, &PubSubOptions{Options: quiet}) },
		"sharded": func(rdb redis.UniversalClient) recoveryFlavour {
			return NewSharded(rdb, &ShardedOptions{Options: quiet})
		},
		"streams": func(rdb redis.UniversalClient) recoveryFlavour {
			return NewStreams(rdb, &StreamsOptions{Options: quiet, ChannelPrefix: "streams"})
		},
	} {
		a := &afflicted{t: t, name: name}
		a.nodes = recoveryNodesOf(t, f.client, func(rdb redis.UniversalClient) recoveryFlavour {
			a.flavours = append(a.flavours, build(rdb))
			return a.flavours[len(a.flavours)-1]
		}, 2, server.RecoveryOptions{})
		for _, n := range a.nodes {
			a.watchers = append(a.watchers, watch(t, n))
		}
		for i := range 3 {
			r := returning.NewCounting(t)
			r.Come(a.nodes[i%2])
			a.away = append(a.away, r)
		}
		f.afflicts = append(f.afflicts, a)
	}
	f.each(func(a *afflicted) {
		a.crossed(true) // so that numbers have offsets from now on
		for i, r := range a.away {
			until(r, a.sent-1)
			if i < 2 {
				r.Conn.Cut()
			}
		}
	})
	f.each(func(a *afflicted) { a.left(f.redis) })
	behind(f)
	f.each(func(a *afflicted) {
		a.emit(3)
		a.crossed(false)
		until(a.away[2], a.sent-1)
		a.away[2].Conn.Cut()
	})
	return f
}

// left waits until a server has the sessions of the first two clients as those of clients that are away.
func (a *afflicted) left(s *redistest.Server) {
	a.t.Helper()
	rdb := s.Client()
	defer rdb.Close()
	for _, r := range a.away[:2] {
		redistest.Eventually(a.t, "the session of a client that has left is written", func() bool {
			for _, prefix := range []string{"socket.io-session:", "sio:session:"} {
				if left := rdb.PTTL(a.t.Context(), prefix+r.PID).Val(); left > 0 && left <= 2*time.Minute {
					return true
				}
			}
			return false
		})
	}
}

// comeBack has all clients come back, at another node each, and checks what they get: everything, once and in order, or that they have
// started anew for one of some reasons.
func (a *afflicted) comeBack(want ...string) {
	a.t.Helper()
	for i, r := range a.away {
		n := a.nodes[(i+1)%2]
		before := n.Stats().Recovery
		recovered := r.Come(n)
		result := "recovered"
		for name, count := range n.Stats().Recovery {
			if count > before[name] {
				result = name
			}
		}
		if !slices.Contains(want, result) || recovered != (result == "recovered") {
			a.t.Errorf("%s: client %d came back with result %q, recovered %v, want one of %q", a.name, i, result, recovered, want)
		}
		if recovered {
			until(r, a.sent-1)
		}
	}
	a.emit(1)
	for _, r := range a.away {
		until(r, a.sent-1)
	}
}

// TestFaults has clients of all adapters away while something happens to Redis: who comes back gets everything that was sent meanwhile,
// once and in order, or starts anew.
func TestFaults(t *testing.T) {
	nothing := func(*faulty) {}
	caughtUp := func(f *faulty) {
		f.each(func(a *afflicted) { a.left(f.replica) })
		f.replica.Do("REPLICAOF", "NO", "ONE")
	}
	for _, tt := range []struct {
		name    string
		answer  time.Duration // after which Redis counts as dead
		replica bool
		args    []string
		behind  func(f *faulty)
		fault   func(f *faulty)
		want    []string
	}{
		{name: "restarted empty", behind: nothing, want: []string{"unknown", "gap", "recovered"}, // a session may be written when Redis is back
			fault: func(f *faulty) {
				f.redis.Kill()
				f.each(func(a *afflicted) { a.emit(2) })
				f.redis.Start()
			}},
		{name: "restarted from an older state", behind: func(f *faulty) { f.redis.Do("SAVE") }, want: []string{"gap"}, fault: func(f *faulty) {
			f.redis.Kill()
			f.each(func(a *afflicted) { a.emit(2) })
			f.redis.Start()
		}},
		{name: "restarted with everything", args: []string{"--appendonly", "yes", "--appendfsync", "always"}, behind: nothing,
			want: []string{"recovered", "gap"}, fault: func(f *faulty) {
				f.redis.Kill()
				f.redis.Start()
			}},
		{name: "failed over to a replica that is behind", replica: true, behind: caughtUp, want: []string{"gap"}, fault: func(f *faulty) {
			f.redis.Kill()
			f.addr.Store(&f.replica.Addr)
		}},
		{name: "failed over, and a new entry passes the lost ones", replica: true, behind: caughtUp, want: []string{"gap"}, fault: func(f *faulty) {
			f.addr.Store(nil)
			f.redis.Kill()
			rdb := f.replica.Client()
			defer rdb.Close()
			if err := NewStreamsEmitter(rdb, nil).Of("/").To("nobody").Emit(t.Context(), "other"); err != nil {
				t.Fatal(err)
			}
			f.addr.Store(&f.replica.Addr)
		}},
		{name: "emptied", behind: nothing, want: []string{"unknown", "gap", "recovered"}, fault: func(f *faulty) { f.redis.Do("FLUSHALL") }},
		{name: "logs removed", behind: nothing, want: []string{"gap", "recovered"}, fault: func(f *faulty) { f.redis.Do(append([]any{"DEL"}, f.logs()...)...) }},
		{name: "logs trimmed", behind: nothing, want: []string{"recovered"}, fault: func(f *faulty) {
			f.each(func(a *afflicted) { a.emit(2); a.crossed(false) })
			for _, key := range f.logs() {
				f.redis.Do("XTRIM", key, "MAXLEN", 1)
			}
		}},
		{name: "paused", answer: 20 * time.Second, behind: nothing, want: []string{"recovered"}, fault: func(f *faulty) {
			f.redis.Pause()
			f.each(func(a *afflicted) { a.emit(2) })
			<-time.After(1200 * time.Millisecond) // longer than anybody waits for the log
			f.each(func(a *afflicted) { a.emit(2) })
			f.redis.Resume()
		}},
		{name: "paused for too long", answer: 500 * time.Millisecond, behind: nothing, want: []string{"recovered", "gap"}, fault: func(f *faulty) {
			f.redis.Pause()
			f.each(func(a *afflicted) {
				a.emit(2)
				redistest.Eventually(t, "Redis counts as dead", func() bool { return a.flavours[0].Stats().State == Down })
			})
			f.redis.Resume()
		}},
		{name: "slow from now on", behind: nothing, want: []string{"recovered", "gap"}, fault: func(f *faulty) {
			slow := redistest.NewDelay(t, f.redis.Addr, 300*time.Millisecond)
			f.addr.Store(&slow)
			f.redis.Do("CLIENT", "KILL", "TYPE", "normal")
			f.redis.KillPubSub()
			f.each(func(a *afflicted) { a.emit(2) })
		}},
		{name: "full", behind: nothing, want: []string{"gap"}, fault: func(f *faulty) {
			f.redis.Do("CONFIG", "SET", "maxmemory", "1")
			f.each(func(a *afflicted) { a.emit(2) })
			f.each(func(a *afflicted) {
				redistest.Eventually(t, "Redis takes nothing", func() bool { return a.flavours[0].Stats().State == Down })
			})
			f.redis.Do("CONFIG", "SET", "maxmemory", "0")
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // it waits most of the time
			f := newFaulty(t, tt.answer, tt.replica, tt.args, tt.behind)
			tt.fault(f)
			f.each(func(a *afflicted) { a.crossed(true) })
			f.each(func(a *afflicted) { a.comeBack(tt.want...) })
		})
	}
}
