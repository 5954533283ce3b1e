package redisadapter

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/internal/returning"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// logFlavours are those with a log of their own kind.
var logFlavours = []string{"pubsub", "dynamic", "streams"}

// TestComeBackForged: what is no secret or no offset of the namespace's history lets a client start anew, and disturbs nobody.
func TestComeBackForged(t *testing.T) {
	s := redistest.Single(t)
	for _, name := range logFlavours {
		t.Run(name, func(t *testing.T) {
			nodes := recoveryNodesOf(t, func() redis.UniversalClient { return s.Client() }, recoveryFlavours()[name], 2, server.RecoveryOptions{})
			other := elsewhere(t, nodes[0], "/other")
			honest := returning.NewCounting(t)
			honest.Come(nodes[0])
			for i, tt := range []struct {
				name, result string
				spoil        func(r *returning.Counting)
			}{
				{"nothing", "recovered", func(*returning.Counting) {}},
				{"an invented secret", "unknown", func(r *returning.Counting) { r.PID = "AAAAAAAAAAAAAAAAAAAA" }},
				{"no secret", "unknown", func(r *returning.Counting) { r.PID = "x" }},
				{"a secret that is long", "unknown", func(r *returning.Counting) { r.PID = strings.Repeat("A", 100_000) }},
				{"the key of something else", "unknown", func(r *returning.Counting) { r.PID = "times:/" }},
				{"the key of a holder", "unknown", func(r *returning.Counting) { r.PID += "}:holder" }},
				{"a secret of another namespace", "unknown", func(r *returning.Counting) { r.PID = other.PID }},
				{"no offset", "gap", func(r *returning.Counting) { r.Offset = "hello" }},
				{"an offset of before it came", "gap", func(r *returning.Counting) { r.Offset = "1-0" }},
				{"the beginning of time", "gap", func(r *returning.Counting) { r.Offset = "0-0" }},
				{"an offset between two", "gap", func(r *returning.Counting) { r.Offset += "1" }},
				{"an offset of the future", "gap", func(r *returning.Counting) { r.Offset = "9999999999999-0" }},
				{"an offset that no number can have", "gap", func(r *returning.Counting) { r.Offset = strings.Repeat("9", 100) + "-0" }},
				{"an offset of another namespace", "gap", func(r *returning.Counting) { r.Offset = other.Offset }},
			} {
				if name == "streams" && tt.name == "an offset of another namespace" {
					continue // the stream is that of all namespaces: it is an offset like any other, from before the client came
				}
				r := returning.NewCounting(t)
				r.Come(nodes[0])
				event := fmt.Sprint("n", i)
				if err := nodes[1].Of("/").Emit(event, 0); err != nil {
					t.Fatal(err)
				}
				r.Until(event, 0)
				r.Conn.Cut()
				tt.spoil(r)
				before := nodes[1].Stats().Recovery
				recovered := r.Come(nodes[1])
				after := nodes[1].Stats().Recovery
				if recovered != (tt.result == "recovered") || after[tt.result] != before[tt.result]+1 {
					t.Errorf("%s: recovered %v, %v", tt.name, recovered, after)
				}
				r.Conn.Cut()
			}
			honest.Conn.Cut()
			if !honest.Come(nodes[1]) {
				t.Errorf("a client that has forged nothing starts anew: %v", nodes[1].Stats().Recovery)
			}
		})
	}
}

// elsewhere is a client of another namespace, which has got something and whose session is in Redis.
func elsewhere(t *testing.T, n *returning.Node, namespace string) *returning.Client {
	t.Helper()
	n.Of(namespace)
	r := &returning.Client{T: t, Conn: n.Dial(t, nil)}
	r.Conn.Send("40" + namespace + ",")
	var reply struct{ SID, PID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(r.Read(), "40"+namespace+",")), &reply); err != nil || reply.PID == "" {
		t.Fatalf("answer to CONNECT: %+v, %v", reply, err)
	}
	r.SID, r.PID = reply.SID, reply.PID
	for r.Offset == "" {
		if err := n.Of(namespace).Emit("n", 0); err != nil {
			t.Fatal(err)
		}
		r.Take("42" + strings.TrimPrefix(r.Read(), "42"+namespace+","))
	}
	return r
}

// TestComeBackTwice: of two that come with one secret to two nodes at the same moment one goes on, and it gets everything. The other one is
// known to be none by when its session is written again.
func TestComeBackTwice(t *testing.T) {
	s := redistest.Single(t)
	for _, name := range logFlavours {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nodes := recoveryNodesOf(t, func() redis.UniversalClient { return s.Client() }, recoveryFlavours()[name], 2,
				server.RecoveryOptions{MaxDisconnectionDuration: 8 * time.Second})
			for round := range 2 {
				r := returning.NewCounting(t)
				r.Come(nodes[round%2])
				emit := func(n int) {
					if err := nodes[0].Of("/").Emit("n", n); err != nil {
						t.Fatal(err)
					}
				}
				emit(0)
				r.Until("n", 0)
				r.Conn.Cut()
				emit(1)
				var twins [2]*twin
				for i := range twins {
					twins[i] = newTwin(t, nodes[i])
				}
				for _, w := range twins {
					w.c.Send(fmt.Sprintf(`40{"pid":%q,"offset":%q}`, r.PID, r.Offset))
				}
				redistest.Eventually(t, "one of the two is left", func() bool {
					answered := !slices.ContainsFunc(twins[:], func(w *twin) bool { return !w.answered() })
					here := 0
					for _, n := range nodes {
						if socket, ok := n.Of("/").Socket(r.SID); ok && socket.Connected() {
							here++
						}
					}
					return answered && here == 1
				})
				emit(2)
				redistest.Eventually(t, "it gets everything", func() bool {
					return slices.ContainsFunc(twins[:], func(w *twin) bool { return w.has(r.SID, 2) })
				})
				for i, w := range twins {
					w.c.Cut()
					w.reading.Wait()
					if w.has(r.SID, 2) && !slices.Equal(w.numbers, []int{1, 2}) {
						t.Errorf("round %d: twin %d has got %v", round, i, w.numbers)
					}
				}
			}
		})
	}
}

// twin is one of those that come with one secret. A goroutine reads what it gets.
type twin struct {
	c       *servertest.Client
	reading sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	over    bool
	sid     string // once it is connected
	numbers []int
}

func newTwin(t *testing.T, n *returning.Node) *twin {
	t.Helper()
	c := n.Dial(t, nil)
	w := &twin{c: c}
	w.reading.Go(func() {
		for {
			p, err := c.Read(context.Background())
			w.mu.Lock()
			if err != nil {
				w.over = true
				w.mu.Unlock()
				return
			}
			var reply struct{ SID string }
			var list []any
			if text, ok := strings.CutPrefix(p.Data, "40"); ok && json.Unmarshal([]byte(text), &reply) == nil {
				w.sid = reply.SID
			} else if text, ok := strings.CutPrefix(p.Data, "42"); ok && json.Unmarshal([]byte(text), &list) == nil {
				w.numbers = append(w.numbers, int(list[1].(float64)))
			}
			w.mu.Unlock()
		}
	})
	return w
}

func (w *twin) answered() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sid != "" || w.over
}

// has reports whether the twin is a socket that has got a number.
func (w *twin) has(sid string, n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sid == sid && slices.Contains(w.numbers, n)
}

// TestComeBackStorm: all clients come back at once, with offsets of many places. Everybody goes on with everything, and the log is read a
// few times for all of them together.
func TestComeBackStorm(t *testing.T) {
	for name, clients := range map[string]int{"pubsub": 200, "dynamic": 200, "streams": 2000} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Single(t)
			nodes := recoveryNodesOf(t, func() redis.UniversalClient { return s.Client() }, recoveryFlavours()[name], 2, server.RecoveryOptions{})
			const places = 20
			all := make([]*returning.Counting, clients)
			var coming sync.WaitGroup
			for part := range slices.Chunk(all, clients/50) {
				coming.Go(func() {
					for i := range part {
						part[i] = returning.NewCounting(t)
						part[i].Come(nodes[i%2])
					}
				})
			}
			coming.Wait()
			for n := range places { // at each place some leave
				if err := nodes[n%2].Of("/").Emit("n", n); err != nil {
					t.Fatal(err)
				}
				for i := n; i < clients; i += places {
					r := all[i]
					r.Until("n", n)
					r.Conn.Cut()
				}
			}
			before := s.Calls("xrange")
			for i, r := range all {
				coming.Go(func() {
					if !r.Come(nodes[i%2]) {
						t.Error("a client starts anew")
					} else if r.Seen != places {
						t.Errorf("a client has got %d of %d", r.Seen, places)
					}
				})
			}
			coming.Wait()
			n := s.Calls("xrange") - before
			t.Logf("%d commands that read for %d clients", n, clients)
			if n >= clients { // each alone takes one, with streams two
				t.Errorf("the log was read %d times for %d clients", n, clients)
			}
		})
	}
}
