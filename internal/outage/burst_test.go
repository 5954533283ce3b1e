package outage

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/adapter/redisadapter"
	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

var withReference = flag.Bool("reference", false, "TestBursts also has nodes of the npm reference; compat-tests/node_modules must exist")

// burst is as much as a node sends at once.
type burst struct{ number, size int }

func (b burst) String() string { return fmt.Sprintf("%d of %d bytes", b.number, b.size) }

// quiet is how long nothing arrives until nothing more is waited for.
const quiet = 5 * time.Second

// TestBursts sends more at once than Redis, or the way to it, takes at once. With -long and -reference it does so at several distances,
// also from and to nodes of the npm reference, and prints the table of docs/brokers.md. Both nodes reach Redis over the same distance.
func TestBursts(t *testing.T) {
	bursts, distances, sides := []burst{{2000, 1000}}, []time.Duration{10 * time.Millisecond}, []string{"sockeye"}
	if *long {
		bursts = []burst{{2000, 20_000}, {10_000, 100}, {20_000, 100}}
		distances = []time.Duration{time.Millisecond, 10 * time.Millisecond, 120 * time.Millisecond}
	}
	if *withReference {
		sides = append(sides, "node")
	}
	var table strings.Builder
	for _, flavour := range []string{"pubsub", "sharded", "streams"} {
		for _, b := range bursts {
			for _, distance := range distances {
				for _, from := range sides {
					for _, to := range sides {
						name := fmt.Sprintf("%s/%v/%v/%s to %s", flavour, b, distance, from, to)
						t.Run(name, func(t *testing.T) {
							r := pourOver(t, flavour, b, distance, from, to)
							t.Logf("%+v", r)
							r.check(t, b, from, to)
							fmt.Fprintf(&table, "| `%s` | %v | %v | %s | %s | %d | %v | %d | %d |\n", flavour, b, distance, from, to,
								r.arrived, r.took.Round(10*time.Millisecond), r.refused, r.told)
						})
					}
				}
			}
		}
	}
	if *long {
		t.Logf("the table:\n%s", table.String())
	}
}

// poured is what became of a burst.
type poured struct {
	arrived, disorder int
	took              time.Duration // until the last one arrived
	refused           int           // Emit returned an error
	told              int           // lost, as the nodes count it
	warnings          int           // lines in their logs
}

// check wants that each message arrives, or is told of, by one of the two nodes if one is of this project.
func (r *poured) check(t *testing.T, b burst, from, to string) {
	t.Helper()
	if r.disorder > 0 {
		t.Errorf("%d came out of order", r.disorder)
	}
	missing := b.number - r.arrived - r.refused
	if (from == "sockeye" || to == "sockeye") && missing != r.told || from == "sockeye" && missing+r.refused > 0 {
		t.Errorf("%d of %d arrived, %d were refused, %d are told of", r.arrived, b.number, r.refused, r.told)
	}
	if r.warnings > 1 {
		t.Errorf("%d warnings", r.warnings)
	}
}

// pourOver sends a burst from one node to another.
func pourOver(t *testing.T, flavour string, b burst, distance time.Duration, from, to string) (r poured) {
	addr := redistest.NewDelay(t, redistest.Single(t).Addr, distance)
	open := map[string]func(testing.TB, string, string) pourer{"sockeye": openSockeye, "node": openNode}
	sender, receiver := open[from](t, flavour, addr), open[to](t, flavour, addr)
	redistest.Eventually(t, "what one node sends arrives at the other", func() bool {
		sender.send(burst{1, 10})
		return receiver.seen().Arrived > 0
	})
	awaitQuiet(receiver, 0, 500*time.Millisecond+2*distance)
	sender.forget()
	receiver.forget()
	began := time.Now()
	r.refused = sender.send(b)
	got := awaitQuiet(receiver, b.number-r.refused, quiet)
	sent := sender.seen()
	r.arrived, r.disorder, r.took = got.Arrived, got.Disorder, time.UnixMilli(got.Last).Sub(began)
	r.told, r.warnings = got.Lost+sent.Lost, got.Warnings+sent.Warnings
	return r
}

// awaitQuiet waits until as many have arrived, or nothing has for a while.
func awaitQuiet(p pourer, number int, quiet time.Duration) sight {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	last, since := p.seen(), time.Now()
	for number == 0 || last.Arrived < number {
		<-look.C
		now := p.seen()
		if now.Arrived != last.Arrived {
			since = time.Now()
		}
		if last = now; time.Since(since) > quiet {
			break
		}
	}
	return last
}

// pourer is a node that sends bursts, and counts what arrives.
type pourer interface {
	// send returns how many messages were refused.
	send(b burst) (refused int)
	seen() sight
	forget()
}

// sight is what a node has seen since it forgot.
type sight struct {
	Arrived  int   `json:"arrived"`
	Last     int64 `json:"last"` // when the last one arrived, in ms
	Disorder int   `json:"disorder"`
	Lost     int   `json:"rejected"` // as the node counts it
	Warnings int   `json:"-"`
}

// sockeye is a node in this process.
type sockeye struct {
	*adaptertest.Node
	t       testing.TB
	adapter adapter.Adapter
	stats   func() redisadapter.Stats
	lines   *logtest.Log

	mu sync.Mutex
	// Guarded by mu.
	sight
	next   int
	before int // lost until it forgot
}

func openSockeye(t testing.TB, flavour, addr string) pourer {
	rdb := redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1})
	t.Cleanup(func() { _ = rdb.Close() })
	s := &sockeye{Node: adaptertest.NewNode("/"), t: t, lines: new(logtest.Log)}
	opts := redisadapter.Options{Logger: slog.New(slog.NewTextHandler(s.lines, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	var b interface {
		adapter.Builder
		Stats() redisadapter.Stats
	}
	switch flavour {
	case "pubsub":
		b = redisadapter.NewPubSub(rdb, &redisadapter.PubSubOptions{Options: opts})
	case "sharded":
		b = redisadapter.NewSharded(rdb, &redisadapter.ShardedOptions{Options: opts})
	default:
		b = redisadapter.NewStreams(rdb, &redisadapter.StreamsOptions{Options: opts})
	}
	s.stats = b.Stats
	s.adapter = join(t, b, adapter.NewNodeID(), s)
	return s
}

// Deliver implements adapter.Local.
func (s *sockeye) Deliver(p *parser.Packet, _ adapter.Selection, _ adapter.Flags) {
	_, args, err := p.Event()
	if err != nil {
		return
	}
	text, _, _ := strings.Cut(strings.Trim(string(args.At(0).JSON), `"`), " ")
	n, _ := strconv.Atoi(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Arrived++
	s.Last = time.Now().UnixMilli()
	if n < s.next {
		s.Disorder++
	}
	s.next = n + 1
}

func (s *sockeye) send(b burst) (refused int) {
	filling := strings.Repeat("x", b.size)
	for i := range b.number {
		p, err := parser.MarshalEvent("burst", strconv.Itoa(i)+" "+filling)
		if err != nil {
			s.t.Fatal(err)
		}
		packet := &parser.Packet{Type: parser.Event, Namespace: "/", ID: parser.NoID, Payload: p}
		if s.adapter.Broadcast(packet, adapter.Selection{}, adapter.Flags{}) != nil {
			refused++
		}
	}
	return refused
}

// lost is what the node says was lost of what it had accepted, or was to read.
func (s *sockeye) lost() int {
	stats := s.stats()
	n := stats.StreamLost + stats.FeedDropped + stats.Dropped["stale"]
	for _, failed := range stats.Failed {
		n += failed
	}
	return int(n)
}

func (s *sockeye) seen() sight {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.sight
	got.Lost, got.Warnings = s.lost()-s.before, s.lines.Count("\n")
	return got
}

func (s *sockeye) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sight, s.next, s.before = sight{}, 0, s.lost()
	s.lines.Reset()
}

// node is a process of compat-tests/reference/burst.mjs.
type node struct {
	t       testing.TB
	mu      sync.Mutex // one command at a time
	in      *json.Decoder
	command func(line string) error
}

func openNode(t testing.TB, flavour, addr string) pourer {
	t.Helper()
	cmd := exec.Command("node", "../../compat-tests/reference/burst.mjs", addr, flavour)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := redistest.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the node ends: %v", err)
		}
	})
	return &node{t: t, in: json.NewDecoder(bufio.NewReader(stdout)), command: func(line string) error {
		_, err := stdin.Write([]byte(line + "\n"))
		return err
	}}
}

func (n *node) ask(line string) (got sight) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.command(line); err != nil {
		n.t.Fatal(err)
	}
	if err := n.in.Decode(&got); err != nil {
		n.t.Fatal(err)
	}
	return got
}

func (n *node) send(b burst) (refused int) {
	n.ask(fmt.Sprint("send 0 ", b.number, " ", b.size))
	return 0
}

func (n *node) seen() sight { return n.ask("seen") }

func (n *node) forget() { n.ask("forget") }
