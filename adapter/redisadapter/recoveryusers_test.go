package redisadapter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/internal/returning"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

// directories gives nodes a directory of users in one store.
func directories(t *testing.T, s *redistest.Server, nodes []*returning.Node) []*users.Directory {
	t.Helper()
	list := make([]*users.Directory, len(nodes))
	for i, n := range nodes {
		rdb := s.Client()
		quiet := slog.New(slog.DiscardHandler)
		d, err := users.New(n.Server, users.Options{Store: NewUserStore(rdb, nil), Mixed: users.MixedOff, Grace: time.Millisecond, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = d.Close()
			_ = rdb.Close()
		})
		list[i] = d
	}
	return list
}

// TestStreamsAwayUsers has clients of users go from node to node, some before their connection is known to be lost, while all nodes send to
// users and to all: everybody gets everything once, in each sender's order, and nobody is ever gone.
func TestStreamsAwayUsers(t *testing.T) {
	const clients, numbers = 6, 150
	s := redistest.Single(t)
	nodes := recoveryNodes(t, s, 3)
	dirs := directories(t, s, nodes)
	for _, d := range dirs {
		d.OnOffline(func(user string) { t.Errorf("%s is gone", user) })
	}
	all := make([]*returning.Counting, clients)
	for i := range all {
		all[i] = returning.NewCounting(t)
		all[i].Come(nodes[i%3])
		socket, _ := nodes[i%3].Of("/").Socket(all[i].SID)
		if err := dirs[i%3].Bind(t.Context(), socket, fmt.Sprint("user", i), nil); err != nil {
			t.Fatal(err)
		}
		awaitWritten(t, s, all[i], socket)
	}
	var sending sync.WaitGroup
	for i, n := range nodes {
		sending.Go(func() {
			pace := time.NewTicker(5 * time.Millisecond)
			defer pace.Stop()
			sender := fmt.Sprint("from", i)
			for k := range numbers {
				<-pace.C
				if k%2 == 0 {
					if err := n.Of("/").Emit(sender, k); err != nil {
						t.Error(err)
					}
					continue
				}
				for u := range all {
					if err := dirs[i].User(fmt.Sprint("user", u)).Emit(context.Background(), sender, k); err != nil && !errors.Is(err, users.ErrKept) {
						t.Errorf("to user%d: %v", u, err)
					}
				}
			}
		})
	}
	var reading sync.WaitGroup
	for i, r := range all {
		reading.Go(func() { wander(t, r, nodes, dirs, fmt.Sprint("user", i), 3*numbers) })
	}
	sending.Wait()
	reading.Wait()
	early := 0
	for _, r := range all {
		early += r.Early
	}
	t.Logf("%d events came without offset", early)
}

// awaitWritten waits until the session in Redis has the socket's rooms, its user's among them: a client that moves on before that, within
// 50 ms, goes on with the former ones.
func awaitWritten(t *testing.T, s *redistest.Server, r *returning.Counting, socket *server.Socket) {
	t.Helper()
	rdb := s.Client()
	defer rdb.Close()
	redistest.Eventually(t, "the session with the user's room is written", func() bool {
		session, err := sessionStore{rdb: rdb, prefix: "sio:session:"}.Load(t.Context(), r.PID)
		return err == nil && session != nil && len(session.Rooms) > 1 && len(session.Rooms) == len(socket.Rooms())
	})
}

// wander has a client read, and go on at another node now and then, until it has seen enough.
func wander(t *testing.T, r *returning.Counting, nodes []*returning.Node, dirs []*users.Directory, user string, enough int) {
	for r.Seen < enough {
		r.Take(r.Read())
		if rand.IntN(40) > 0 {
			continue
		}
		r.Conn.Cut()
		n := rand.IntN(len(nodes))
		if !r.Come(nodes[n]) {
			t.Errorf("%s did not go on: %v", user, nodes[n].Stats().Recovery)
			return
		}
		if socket, ok := nodes[n].Of("/").Socket(r.SID); ok { // else it has moved on already
			if bound, _ := dirs[n].UserOf(socket); bound != user {
				t.Errorf("%s is %q after it went on", user, bound)
			}
		}
	}
}

// TestStreamsAwayRemote: what is sent to one socket of another node while it waits is in its place among the rest, and a user who is away
// can be told from one who is gone, on every node.
func TestStreamsAwayRemote(t *testing.T) {
	s := redistest.Single(t)
	nodes := recoveryNodes(t, s, 2)
	dirs := directories(t, s, nodes)
	r := returning.NewCounting(t)
	r.Come(nodes[0])
	socket, _ := nodes[0].Of("/").Socket(r.SID)
	if err := dirs[0].Bind(t.Context(), socket, "u", nil); err != nil {
		t.Fatal(err)
	}
	found, err := nodes[1].Of("/").To(r.SID).FetchSockets(t.Context())
	if err != nil || len(found.Values) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	awaitWritten(t, s, r, socket)
	r.Conn.Cut()
	redistest.Eventually(t, "the user is away", func() bool {
		nodes, err := dirs[1].User("u").Nodes(t.Context())
		return err == nil && len(nodes) == 0
	})
	if err := nodes[1].Of("/").Emit("m", 0); err != nil {
		t.Error(err)
	}
	if err := found.Values[0].Emit("m", 1); err != nil {
		t.Error(err)
	}
	for i, d := range dirs {
		if err := d.User("u").Emit(t.Context(), "m", 2+i); !errors.Is(err, users.ErrKept) {
			t.Errorf("to a user who is away: %v", err)
		}
		if err := d.User("nobody").Emit(t.Context(), "m", 9); !errors.Is(err, users.ErrOffline) {
			t.Errorf("to nobody: %v", err)
		}
	}
	if !r.Come(nodes[1]) {
		t.Fatalf("did not go on: %v", nodes[1].Stats().Recovery)
	}
	for r.Seen < 4 {
		r.Take(r.Read())
	}
}
