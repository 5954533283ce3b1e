package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
)

// refusal is an error as Redis sends it.
type refusal string

func (r refusal) Error() string { return string(r) }
func (refusal) RedisError()     {}

func TestTrouble(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{refusal("READONLY You can't write"), "readonly"},
		{refusal("LOADING Redis is loading"), "loading"},
		{fmt.Errorf("init: %w", refusal("WRONGPASS invalid username-password pair")), "auth"},
		{refusal("NOAUTH Authentication required."), "auth"},
		{refusal("ERR invalid password"), "auth"},
		{refusal("ERR unknown command"), "other"},
		{refusal("OOM command not allowed"), "oom"},
		{refusal("MOVED 1 127.0.0.1:1"), "moved"},
		{io.EOF, "connection"},
		{os.ErrDeadlineExceeded, "timeout"},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "timeout"},
		{context.DeadlineExceeded, "timeout"},
		{errNoAnswer, "timeout"},
	} {
		if got := trouble(c.err); got != c.want {
			t.Errorf("%v is trouble of kind %q, not %q", c.err, got, c.want)
		}
	}
}

// TestHook blocks in the hook: the state goes on changing, and the hook hears of the changes in order afterwards.
func TestHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var heard []string
		s := newStatus(Options{OnStateChange: func(state State, reason error) {
			<-release
			heard = append(heard, fmt.Sprint(state, " ", reason))
		}, Logger: slog.New(slog.DiscardHandler)}.withDefaults())
		m := newMonitor(nil, s)
		s.own(m)
		s.set(m, Up, nil)
		s.set(m, Down, io.EOF)
		s.set(m, Down, errNoAnswer) // no change
		s.set(newMonitor(nil, s), Up, nil)
		s.set(m, Up, nil)
		if state, reason := s.current(); state != Up || reason != nil || s.changes != 3 {
			t.Errorf("%v %v after %d changes", state, reason, s.changes)
		}
		close(release)
		synctest.Wait()
		if got := strings.Join(heard, ", "); got != "up <nil>, down EOF, up <nil>" {
			t.Errorf("the hook heard %s", got)
		}
		release = make(chan struct{})
		for range 100 {
			s.set(m, Down, io.EOF)
			s.set(m, Up, nil)
		}
		heard = nil
		close(release)
		synctest.Wait()
		if len(heard) > 66 || heard[len(heard)-1] != "up <nil>" {
			t.Errorf("the hook heard of %d changes, the last %s", len(heard), heard[len(heard)-1])
		}
	})
}

// TestQueueLimit checks the bound of the queue, and that what is too old is dropped.
func TestQueueLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		defer rdb.Close()
		servers, err := newServers(rdb)
		if err != nil {
			t.Fatal(err)
		}
		stats := newCounters()
		p := newPublisher(servers, stats, Options{QueueLimit: 10_000}.withDefaults(), newMonitor(servers, newStatus(Options{})))
		sent, lost := 0, 0
		for p.send(publish("q", string(make([]byte, 1000))), func(r adapter.Receipt) {
			if r.Err != nil {
				lost++
			}
		}) == nil {
			sent++
		}
		if sent != 9 {
			t.Errorf("%d commands of 1,000 bytes fit into 10,000", sent)
		}
		if err := p.send(publish("q", string(make([]byte, 1000))), nil); !errors.Is(err, adapter.ErrClusterUnavailable) {
			t.Errorf("a full queue: %v", err)
		}
		done := make(chan struct{})
		<-time.After(2 * staleAfter)
		go func() { p.run(); close(done) }()
		synctest.Wait()
		if stats.dropped["stale"] != 9 || stats.dropped["full"] != 2 || lost != 9 {
			t.Errorf("dropped: %v, told of %d", stats.dropped, lost)
		}
		p.close()
		<-done
		if err := p.send(publish("q", "x"), nil); err == nil || stats.dropped["closed"] != 1 {
			t.Errorf("a closed queue: %v, %v", err, stats.dropped)
		}
	})
}

// TestFeed checks order, the bound in bytes, and that a closed feed begins nothing.
func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newBareHub(nil, Options{FeedLimit: 420})
		release := make(chan struct{})
		var got []string
		f := h.newFeed(func(_, body string) {
			<-release
			got = append(got, body[:1])
		})
		for i := range 20 {
			f.push("channel", fmt.Sprintf("%c%12d", 'a'+i, 0)) // 20 bytes and its place, 84 in all
		}
		synctest.Wait()
		if n := h.Stats().FeedDropped; n != 15 {
			t.Errorf("%d messages were dropped", n)
		}
		close(release)
		synctest.Wait()
		if s := strings.Join(got, ""); s != "abcde" {
			t.Errorf("got %s", s)
		}
		f.push("channel", string(make([]byte, 1000))) // larger than the limit, but alone
		synctest.Wait()
		if len(got) != 6 {
			t.Error("a message larger than the limit never passes")
		}
		release = make(chan struct{})
		f.push("c", "x")
		f.push("c", "y")
		synctest.Wait()
		f.close()
		close(release)
		synctest.Wait()
		f.push("c", "z")
		synctest.Wait()
		if got[len(got)-1] != "x" {
			t.Errorf("a closed feed handed %q over", got[len(got)-1])
		}
	})
}
