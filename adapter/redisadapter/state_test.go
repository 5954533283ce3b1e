package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
)

func TestTrouble(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{refusedReply("READONLY You can't write"), "readonly"},
		{refusedReply("LOADING Redis is loading"), "loading"},
		{fmt.Errorf("init: %w", refusedReply("WRONGPASS invalid username-password pair")), "auth"},
		{refusedReply("NOAUTH Authentication required."), "auth"},
		{refusedReply("ERR invalid password"), "auth"},
		{refusedReply("ERR unknown command"), "other"},
		{refusedReply("OOM command not allowed"), "oom"},
		{refusedReply("MOVED 1 127.0.0.1:1"), "moved"},
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

// TestQueueLimit checks the bounds of the queue while Redis cannot be reached, and that each command that was queued is told its
// fate.
func TestQueueLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := make(chan struct{})
		defer time.Sleep(10 * time.Second) // until go-redis has given up
		defer close(over)
		rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", Dialer: func(ctx context.Context, _, _ string) (net.Conn, error) {
			select {
			case <-ctx.Done():
			case <-over: // go-redis does not wait for it
			}
			return nil, io.EOF
		}})
		defer rdb.Close()
		opts := Options{QueueLimit: 10 * (1000 + overhead + 8), QueueAge: 10 * time.Second, Logger: slog.New(slog.DiscardHandler)}.withDefaults()
		servers, err := newServers(rdb, opts.AnswerTimeout)
		if err != nil {
			t.Fatal(err)
		}
		stats := new(counters)
		p := newPublisher(servers, stats, opts, newMonitor(servers, newStatus(Options{})))
		ended := make(chan struct{})
		go func() { p.run(); close(ended) }()
		told := 0
		send := func(passing bool) error {
			return p.send(publish("q", string(make([]byte, 1000))), post{namespace: "/", passing: passing, sent: func(r adapter.Receipt) {
				if errors.Is(r.Err, adapter.ErrClusterUnavailable) {
					told++
				}
			}})
		}
		if err := send(true); err != nil {
			t.Errorf("a question before Redis is known to be away: %v", err)
		}
		for i := range 9 {
			if err := send(false); err != nil {
				t.Fatalf("message %d: %v", i, err)
			}
		}
		if err := send(false); !errors.Is(err, adapter.ErrQueueFull) || !errors.Is(err, adapter.ErrClusterUnavailable) {
			t.Errorf("a full queue: %v", err)
		}
		time.Sleep(outflow.PassingAge + 2*outflow.LookAfter)
		synctest.Wait()
		if n, _ := p.figures(); n != 9 || told != 1 {
			t.Errorf("%d are left when the question is too old, %d told", n, told)
		}
		time.Sleep(3 * time.Second) // Redis is known to be away by now
		synctest.Wait()
		if err := send(true); !errors.Is(err, adapter.ErrClusterUnavailable) || stats.Dropped()[outflow.Down] != 1 {
			t.Errorf("a question while Redis is away: %v", err)
		}
		if err := send(false); err != nil {
			t.Errorf("a message while Redis is away: %v", err)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if n, bytes := p.figures(); n != 1 || bytes == 0 || stats.Dropped()[outflow.Stale] != 10 || told != 10 {
			t.Errorf("%d are left when the first are too old, dropped %v, told %d", n, stats.Dropped(), told)
		}
		p.close()
		<-ended
		if n, bytes := p.figures(); n != 0 || bytes != 0 || stats.Dropped()[outflow.Closed] != 1 || told != 11 {
			t.Errorf("%d commands, %d bytes after the close, dropped %v, told %d", n, bytes, stats.Dropped(), told)
		}
		if err := send(false); !errors.Is(err, adapter.ErrClusterUnavailable) || stats.Dropped()[outflow.Closed] != 2 {
			t.Errorf("a closed queue: %v, %v", err, stats.Dropped())
		}
	})
}
