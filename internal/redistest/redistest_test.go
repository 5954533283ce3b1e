package redistest_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

func TestSingle(t *testing.T) {
	s := redistest.Single(t, "--requirepass", "secret")
	rdb := redis.NewClient(&redis.Options{Network: "unix", Addr: s.Socket, Password: "secret"})
	defer rdb.Close()
	if err := rdb.Ping(context.Background()).Err(); err != nil {
		t.Error(err)
	}
	s.Pause()
	s.Resume()
	s.Restart()
	if n := s.KillPubSub(); n != 0 {
		t.Errorf("%d connections with subscriptions", n)
	}
}

func TestTLS(t *testing.T) {
	s, config := redistest.TLS(t)
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr, TLSConfig: config})
	defer rdb.Close()
	if err := rdb.Ping(context.Background()).Err(); err != nil {
		t.Error(err)
	}
}

func TestCluster(t *testing.T) {
	c := redistest.Cluster(t)
	rdb := c.Client()
	defer rdb.Close()
	ctx := context.Background()
	if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	from := c.Owner("k")
	to := c.Servers[0]
	if from == to {
		to = c.Servers[1]
	}
	c.MoveSlot("k", to)
	if now := c.Owner("k"); now != to {
		t.Errorf("the slot is at %s, not %s", now.Addr, to.Addr)
	}
	c.Failover(c.Replica(to))
	if v, err := rdb.Get(ctx, "k").Result(); err != nil || v != "v" {
		t.Errorf("after the move: %q, %v", v, err)
	}
}

func TestSentinel(t *testing.T) {
	g := redistest.Sentinel(t)
	rdb := g.Client()
	defer rdb.Close()
	g.Failover()
	redistest.Eventually(t, "the client finds the new master", func() bool {
		return rdb.Set(context.Background(), "k", "v", 0).Err() == nil
	})
}

// TestLink cuts a link: connections hear nothing, not even that the other end has gone, and break when it is mended.
func TestLink(t *testing.T) {
	s := redistest.Single(t)
	l := redistest.NewLink(t, s.Addr)
	before, idle := dial(t, l), dial(t, l)
	for _, c := range []*pinger{before, idle} {
		if err := c.ping(time.Second); err != nil {
			t.Fatal(err)
		}
	}
	l.Cut()
	during := dial(t, l)
	for what, c := range map[string]*pinger{"before": before, "during": during} {
		if err := c.ping(20 * time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection made %s the cut: %v", what, err)
		}
	}
	l.Mend()
	for what, c := range map[string]*pinger{"before": before, "during": during} {
		if err := c.ping(time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection made %s the cut, after it: %v", what, err)
		}
	}
	if err := idle.ping(time.Second); err != nil {
		t.Errorf("a connection that has lost nothing: %v", err)
	}
	if err := dial(t, l).ping(time.Second); err != nil {
		t.Errorf("a new connection: %v", err)
	}
}

type pinger struct {
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, l *redistest.Link) *pinger {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &pinger{conn, bufio.NewReader(conn)}
}

// ping returns nil if Redis answers within some time.
func (p *pinger) ping(within time.Duration) error {
	_ = p.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(p, "PING\r\n"); err != nil {
		return err
	}
	_, err := p.r.ReadString('\n')
	return err
}
