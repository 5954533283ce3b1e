package natsadapter

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestRecovery has clients go from node to node, on one server and on three.
func TestRecovery(t *testing.T) {
	one := natstest.Single(t, natstest.JetStream(t, "single")...)
	t.Run("one server", func(t *testing.T) { testRoaming(t, recoveryBuilders(t, one)) })
	t.Run("order", func(t *testing.T) { testLeaving(t, recoveryBuilders(t, one)) })
	t.Run("three servers", func(t *testing.T) { testRoaming(t, recoveryBuilders(t, natstest.RoutedJetStream(t, 3)...)) })
}

// recoveryBuilders returns a function that makes the builders of nodes, on one server after the other.
func recoveryBuilders(t *testing.T, servers ...*natstest.Server) func() *Builder {
	i := 0
	return func() *Builder {
		s := servers[i%len(servers)]
		i++
		return New(&Options{Servers: []string{s.URL}, Prefix: prefixOf(t), RecoveryMaxBytes: 16 << 20, Logger: quiet()})
	}
}

// serverNode is a node whose clients can go on.
type serverNode struct {
	*server.Server
	test *servertest.Server
}

// serverNodes starts nodes whose clients can go on.
func serverNodes(t *testing.T, n int, build func() *Builder) []*serverNode {
	t.Helper()
	nodes := make([]*serverNode, n)
	quiet := slog.New(slog.DiscardHandler)
	for i := range nodes {
		b := build()
		srv, err := server.New(&server.Options{Adapter: b, NodeName: fmt.Sprint("node", i), Logger: quiet, Recovery: &server.RecoveryOptions{}})
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = &serverNode{srv, servertest.New(t, srv, nil)}
		if err := b.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return nodes
}

// returner is a client that comes back, as the npm client does.
type returner struct {
	t           *testing.T
	c           *servertest.Client
	sid         string
	pid, offset string
	next        map[string]int  // of each sender, the number that must come
	early       map[string]bool // events that came without offset
	seen        int
}

// newReturner returns a client that has not been there before.
func newReturner(t *testing.T) *returner {
	return &returner{t: t, next: map[string]int{}, early: map[string]bool{}}
}

// come connects to a node, with the secret if there is one.
func (r *returner) come(n *serverNode) (recovered bool) {
	r.t.Helper()
	r.c = n.test.Dial(r.t, nil)
	auth := ""
	if r.pid != "" {
		auth = fmt.Sprintf(`{"pid":%q,"offset":%q}`, r.pid, r.offset)
		if r.offset == "" {
			auth = fmt.Sprintf(`{"pid":%q}`, r.pid)
		}
	}
	r.c.Send("40" + auth)
	for {
		text := r.read()
		rest, ok := strings.CutPrefix(text, "40")
		if !ok {
			r.take(text)
			continue
		}
		var reply struct{ SID, PID string }
		if err := json.Unmarshal([]byte(rest), &reply); err != nil || reply.PID == "" {
			r.t.Fatalf("answer to CONNECT: %s", text)
		}
		recovered = reply.PID == r.pid && reply.SID == r.sid
		r.sid, r.pid = reply.SID, reply.PID
		return recovered
	}
}

func (r *returner) read() string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	p, err := r.c.Read(ctx)
	if err != nil {
		r.t.Errorf("client %s with %d events: %v", r.sid, r.seen, err)
		r.t.FailNow()
	}
	return p.Data
}

// warmUp is an event that does not count.
const warmUp = "warm-up"

// take takes an event ["sender", number, offset]. One without offset, which its node has delivered before it was in the log, may come
// again.
func (r *returner) take(text string) {
	r.t.Helper()
	var list []any
	if err := json.Unmarshal([]byte(strings.TrimPrefix(text, "42")), &list); err != nil || len(list) < 2 {
		r.t.Errorf("no event: %s", text)
		r.t.FailNow()
	}
	sender, n := list[0].(string), int(list[1].(float64))
	if sender == warmUp {
		return
	}
	if len(list) == 3 {
		r.offset = list[2].(string)
	} else {
		r.early[text] = true
	}
	again := fmt.Sprintf(`42[%q,%d]`, sender, n)
	if n != r.next[sender] && !(n < r.next[sender] && r.early[again]) {
		r.t.Errorf("sender %s: got %d, want %d", sender, n, r.next[sender])
	}
	if n >= r.next[sender] {
		r.next[sender] = n + 1
		r.seen++
	}
}

// testRoaming has clients go from node to node, some before their connection is known to be lost, while all nodes send: everybody
// gets everything once, in each sender's order.
func testRoaming(t *testing.T, build func() *Builder) {
	const clients, numbers = 9, 300
	nodes := serverNodes(t, 3, build)
	all := make([]*returner, clients)
	if err := nodes[0].Of("/").Emit(warmUp, 0); err != nil { // a stream that has never had anything knows no position
		t.Fatal(err)
	}
	for i := range all {
		all[i] = newReturner(t)
		for all[i].come(nodes[i%3]); !all[i].come(nodes[i%3]); { // until its session is in the store
			all[i].c.Cut()
		}
	}
	var sending sync.WaitGroup
	for i, n := range nodes {
		sending.Go(func() {
			pace := time.NewTicker(2 * time.Millisecond)
			defer pace.Stop()
			for k := range numbers {
				<-pace.C
				if err := n.Of("/").Emit(fmt.Sprint("from", i), k); err != nil {
					t.Error(err)
				}
			}
		})
	}
	var reading sync.WaitGroup
	for _, r := range all {
		reading.Go(func() {
			for r.seen < 3*numbers {
				r.take(r.read())
				if rand.IntN(60) == 0 {
					r.c.Cut()
					if n := rand.IntN(3); !r.come(nodes[n]) {
						t.Errorf("a client did not go on at node %d: %v", n, nodes[n].Stats().Recovery)
						return
					}
				}
			}
		})
	}
	sending.Wait()
	reading.Wait()
	recovered := uint64(0)
	for _, n := range nodes {
		recovered += n.Stats().Recovery["recovered"]
	}
	if recovered == 0 {
		t.Error("nobody has come back")
	}
	early := 0
	for _, r := range all {
		early += len(r.early)
	}
	t.Logf("%d times a client came back, %d events came without offset", recovered, early)
}

// testLeaving: what ends a socket, or takes it out of a room, comes behind what was sent to it before.
func testLeaving(t *testing.T, build func() *Builder) {
	nodes := serverNodes(t, 1, build)
	main := nodes[0].Of("/")
	for name, end := range map[string]func(s *server.Socket){
		"disconnect": func(s *server.Socket) {
			_ = s.Emit("bye", 1)
			s.Disconnect()
		},
		"leave": func(s *server.Socket) {
			_ = main.To("room").Emit("bye", 1)
			s.Leave("room")
		},
	} {
		r := newReturner(t)
		r.come(nodes[0])
		s, _ := main.Socket(r.sid)
		if err := s.Join(t.Context(), "room"); err != nil {
			t.Fatal(err)
		}
		end(s)
		if text := r.read(); !strings.HasPrefix(text, `42["bye",1`) {
			t.Errorf("%s: got %s", name, text)
		}
	}
}
