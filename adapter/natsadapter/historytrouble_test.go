package natsadapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/internal/returning"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/parser"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// keepingNode is a node that keeps what is broadcast.
type keepingNode struct {
	*member
	history adapter.History
	store   adapter.SessionKeeper
}

// keepingNow starts a node that keeps what is broadcast, and waits until it knows where it stands.
func keepingNow(t *testing.T, opts Options) *keepingNode {
	t.Helper()
	n := keepingSoon(t, opts)
	redistest.Eventually(t, "the node knows where it stands", func() bool { return n.history.Position() != "" })
	return n
}

func keepingSoon(t *testing.T, opts Options) *keepingNode {
	t.Helper()
	opts.Prefix, opts.RecoveryMaxBytes = prefixOf(t), 16<<20
	if opts.Logger == nil {
		opts.Logger = quiet()
	}
	m := open(t, New(&opts), "/chat")
	history, store, err := m.adapter.(adapter.Historian).Keep(adapter.HistoryOptions{Retain: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.builder.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	return &keepingNode{m, history, store.(adapter.SessionKeeper)}
}

// say broadcasts numbers.
func (n *keepingNode) say(t *testing.T, first, last int) {
	t.Helper()
	for i := first; i <= last; i++ {
		if err := n.adapter.Broadcast(chat(t, "/chat", "n", i), adapter.Selection{}, adapter.Flags{}); err != nil {
			t.Fatalf("%d: %v", i, err)
		}
	}
}

// numbers are those that a node has delivered, in order.
func (n *keepingNode) numbers() (list []int) {
	for _, text := range n.got() {
		var i int
		if _, err := fmt.Sscanf(text, `2/chat,["n",%d`, &i); err == nil {
			list = append(list, i)
		}
	}
	return list
}

// awaitRun waits until a node has delivered the numbers from first to last, and nothing else.
func (n *keepingNode) awaitRun(t *testing.T, first, last int) {
	t.Helper()
	redistest.Eventually(t, fmt.Sprint("all up to ", last), func() bool { return len(n.numbers()) >= last-first+1 })
	for i, number := range n.numbers() {
		if number != first+i {
			t.Fatalf("delivered %v", n.numbers())
		}
	}
}

// missed is what came after an offset, as numbers.
func (n *keepingNode) missed(ctx context.Context, offset string) (list []int, err error) {
	m, err := n.history.Missed(ctx, offset, []string{"x"}, adapter.HistoryLimits{Packets: 100_000, Bytes: 64 << 20})
	for _, e := range m.Events {
		var i int
		if _, err := fmt.Sscanf(string(e.JSON), `["n",%d`, &i); err == nil {
			list = append(list, i)
		}
	}
	return list, err
}

// wantsGap: an offset is none any more.
func (n *keepingNode) wantsGap(t *testing.T, offset string) {
	t.Helper()
	redistest.Eventually(t, "a gap", func() bool {
		list, err := n.missed(within(t), offset)
		if err == nil {
			t.Fatalf("after %s came %v", offset, list)
		}
		return errors.Is(err, adapter.ErrHistoryGap)
	})
}

// wantsAllOrGap: who was away gets all that was missed, from what the node remembers, or starts anew.
func (n *keepingNode) wantsAllOrGap(t *testing.T, offset string, first, last int) {
	t.Helper()
	redistest.Eventually(t, "a gap, or all", func() bool {
		list, err := n.missed(within(t), offset)
		if err == nil && (len(list) != last-first+1 || list[0] != first || list[len(list)-1] != last) {
			t.Fatalf("after %s came %v", offset, list)
		}
		return err == nil || errors.Is(err, adapter.ErrHistoryGap)
	})
}

// wantsMissed: what was missed can be had.
func (n *keepingNode) wantsMissed(t *testing.T, offset string, first, last int) {
	t.Helper()
	redistest.Eventually(t, "what was missed", func() bool {
		list, err := n.missed(within(t), offset)
		if err != nil {
			t.Log(err)
			return false
		}
		if len(list) != last-first+1 || list[0] != first || list[len(list)-1] != last {
			t.Fatalf("after %s came %v, want %d to %d", offset, list, first, last)
		}
		return true
	})
}

// admin speaks to the JetStream of a server.
func admin(t *testing.T, s *natstest.Server) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(s.Client())
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func logOf(t *testing.T) string { return (&Options{Prefix: prefixOf(t)}).logStream() }

// TestStreamTrouble purges the stream of logs, and deletes it: who was away before starts anew, or gets all from what the node remembers; who
// was there goes on, and later ones get what they have missed.
func TestStreamTrouble(t *testing.T) {
	s := natstest.Single(t, natstest.JetStream(t, "single")...)
	for name, trouble := range map[string]func(t *testing.T, js jetstream.JetStream) error{
		"purged": func(t *testing.T, js jetstream.JetStream) error {
			stream, err := js.Stream(within(t), logOf(t))
			if err != nil {
				return err
			}
			return stream.Purge(within(t))
		},
		"deleted": func(t *testing.T, js jetstream.JetStream) error { return js.DeleteStream(within(t), logOf(t)) },
	} {
		t.Run(name, func(t *testing.T) {
			a, b := keepingNow(t, Options{Servers: []string{s.URL}}), keepingNow(t, Options{Servers: []string{s.URL}})
			before := b.history.Position()
			a.say(t, 1, 20)
			a.awaitRun(t, 1, 20)
			b.awaitRun(t, 1, 20)
			middle := b.history.Position()
			if err := trouble(t, admin(t, s)); err != nil {
				t.Fatal(err)
			}
			a.say(t, 21, 40)
			a.awaitRun(t, 1, 40)
			b.awaitRun(t, 1, 40)
			for _, n := range []*keepingNode{a, b} {
				n.wantsAllOrGap(t, before, 1, 40)
				n.wantsAllOrGap(t, middle, 21, 40)
			}
			redistest.Eventually(t, "the nodes know where they stand", func() bool { return a.history.Position() == b.history.Position() })
			after := b.history.Position()
			a.say(t, 41, 60)
			b.awaitRun(t, 1, 60)
			a.wantsMissed(t, after, 41, 60)
			b.wantsMissed(t, after, 41, 60)
		})
	}
}

// TestNewNode: a node that has just started reads in the log what a client has missed, or says that it is not there any more.
func TestNewNode(t *testing.T) {
	s := natstest.Single(t, natstest.JetStream(t, "single")...)
	a := keepingNow(t, Options{Servers: []string{s.URL}})
	before := a.history.Position()
	a.say(t, 1, 20)
	a.awaitRun(t, 1, 20)
	keepingNow(t, Options{Servers: []string{s.URL}}).wantsMissed(t, before, 1, 20)
	stream, err := admin(t, s).Stream(within(t), logOf(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(within(t), jetstream.WithPurgeKeep(1)); err != nil {
		t.Fatal(err)
	}
	keepingNow(t, Options{Servers: []string{s.URL}}).wantsGap(t, before)
	a.wantsMissed(t, before, 1, 20) // it remembers
}

// TestMemoryLost starts a server anew that has kept everything in memory.
func TestMemoryLost(t *testing.T) {
	s := natstest.Single(t, natstest.JetStream(t, "single")...)
	a := keepingNow(t, Options{Servers: []string{s.URL}, RecoveryInMemory: true})
	before := a.history.Position()
	a.say(t, 1, 10)
	a.awaitRun(t, 1, 10)
	w := adapter.SessionWrite{Session: &adapter.Session{PID: "p", SocketID: "s", Rooms: []string{"s"}}, Holder: "a", TTL: time.Minute}
	if held, err := a.store.Write(within(t), []adapter.SessionWrite{w}); err != nil || !held[0] {
		t.Fatal(held, err)
	}
	s.Kill()
	s.Start()
	a.awaits(t, Up)
	a.say(t, 11, 30)
	a.awaitRun(t, 1, 30)
	a.wantsGap(t, before)
	if session, err := a.store.Take(within(t), "p", "b"); err != nil || session != nil {
		t.Errorf("session %v, %v", session, err)
	}
	if held, err := a.store.Write(within(t), []adapter.SessionWrite{w}); err != nil || !held[0] {
		t.Errorf("written again: %v, %v", held, err)
	}
	if session, err := a.store.Take(within(t), "p", "b"); err != nil || session == nil {
		t.Errorf("session %v, %v", session, err)
	}
}

// TestFilesStay starts a server anew that has everything in files: nothing is lost.
func TestFilesStay(t *testing.T) {
	s := natstest.Single(t, natstest.JetStream(t, "single")...)
	a := keepingNow(t, Options{Servers: []string{s.URL}})
	before := a.history.Position()
	a.say(t, 1, 10)
	a.awaitRun(t, 1, 10)
	s.Kill()
	a.awaits(t, Down)
	a.say(t, 11, 20)
	s.Start()
	a.awaitRun(t, 1, 20)
	a.wantsMissed(t, before, 1, 20)
}

// TestBeyondHistory has a node cut off while more is broadcast than is kept: it counts that, goes on, and whose offset is older starts anew.
func TestBeyondHistory(t *testing.T) {
	s := natstest.Single(t, natstest.JetStream(t, "single")...)
	link := redistest.NewLink(t, s.Addr)
	a := keepingNow(t, Options{Servers: []string{s.URL}, RecoveryMaxLen: 10})
	b := keepingNow(t, Options{Servers: []string{"nats://" + link.Addr}, RecoveryMaxLen: 10})
	before := b.history.Position()
	a.say(t, 1, 5)
	b.awaitRun(t, 1, 5)
	link.Cut()
	b.awaits(t, Down)
	for i := 6; i <= 100; i++ { // an entry each
		a.say(t, i, i)
		redistest.Eventually(t, "it is stored", func() bool { return len(a.numbers()) == i })
	}
	link.Mend()
	redistest.Eventually(t, "the node goes on", func() bool { list := b.numbers(); return list[len(list)-1] == 100 })
	list := b.numbers()
	if len(list) != 15 || list[5] != 91 {
		t.Errorf("delivered %v", list)
	}
	if gaps, broken := b.builder.Stats().LogGaps, b.builder.servers.Open()[0].BrokerStats().LogBroken; gaps != 1 || broken != 1 {
		t.Errorf("%d gaps are counted, %d are told", gaps, broken)
	}
	b.wantsGap(t, before)
	after := b.history.Position()
	a.say(t, 101, 103)
	b.wantsMissedAtLast(t, after, 101, 103)
}

// wantsMissedAtLast is wantsMissed for what is still on its way.
func (n *keepingNode) wantsMissedAtLast(t *testing.T, offset string, first, last int) {
	t.Helper()
	redistest.Eventually(t, "it is there", func() bool { list := n.numbers(); return list[len(list)-1] == last })
	n.wantsMissed(t, offset, first, last)
}

// TestLeaderKilled kills the server that leads the log, of three: broadcasts wait for the next leader, all arrive once and in order, at
// sockets and for who was away, and a session is taken over meanwhile.
func TestLeaderKilled(t *testing.T) {
	servers := natstest.RoutedJetStream(t, 3)
	first := keepingNow(t, Options{Servers: []string{servers[0].URL}})
	stream, err := admin(t, servers[0]).Stream(within(t), logOf(t))
	if err != nil {
		t.Fatal(err)
	}
	leader := -1
	if _, err := fmt.Sscanf(stream.CachedInfo().Cluster.Leader, "server%d", &leader); err != nil {
		t.Fatal(err)
	}
	var nodes []*keepingNode // on the others
	for i, s := range servers {
		if i != leader {
			nodes = append(nodes, keepingNow(t, Options{Servers: []string{s.URL}}))
		}
	}
	if leader != 0 {
		nodes[0] = first
	}
	a, b := nodes[0], nodes[1]
	before := b.history.Position()
	w := adapter.SessionWrite{Session: &adapter.Session{PID: "p", SocketID: "s", Rooms: []string{"s"}}, Holder: "a", TTL: time.Minute}
	if held, err := a.store.Write(within(t), []adapter.SessionWrite{w}); err != nil || !held[0] {
		t.Fatal(held, err)
	}
	a.say(t, 1, 50)
	b.awaitRun(t, 1, 50)
	servers[leader].Kill()
	killed := time.Now()
	var taking sync.WaitGroup
	taking.Go(func() {
		if session, err := b.store.Take(within(t), "p", "b"); err != nil || session == nil {
			t.Errorf("session %v, %v", session, err)
		}
		t.Logf("a session is taken %v after the kill", time.Since(killed))
	})
	for i := 51; i <= 150; i++ {
		a.say(t, i, i)
		if err := pause(within(t), 5*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	b.awaitRun(t, 1, 150)
	t.Logf("all has arrived %v after the kill", time.Since(killed))
	a.awaitRun(t, 1, 150)
	a.wantsMissed(t, before, 1, 150)
	b.wantsMissed(t, before, 1, 150)
	taking.Wait()
}

// TestTakenEarly: a client comes back to a node that has just started and does not know yet where it stands in the log. Who takes its session
// there knows its offset then.
func TestTakenEarly(t *testing.T) {
	server := natstest.Single(t, natstest.JetStream(t, "server")...)
	a := keepingNow(t, Options{Servers: []string{server.URL}})
	a.say(t, 1, 10)
	a.awaitRun(t, 1, 10)
	before := a.history.Position()
	for i := range 10 {
		w := adapter.SessionWrite{Session: &adapter.Session{PID: "p", SocketID: "s", Rooms: []string{"s"}}, Holder: "a", TTL: time.Minute}
		if held, err := a.store.Write(within(t), []adapter.SessionWrite{w}); err != nil || !held[0] {
			t.Fatal(held, err)
		}
		b := keepingSoon(t, Options{Servers: []string{server.URL}})
		if session, err := b.store.Take(within(t), "p", "b"); err != nil || session == nil {
			t.Fatalf("session %v, %v", session, err)
		}
		if b.history.Compare(before, "") <= 0 {
			t.Fatalf("node %d has taken the session, and does not know its offset", i)
		}
		if _, err := b.store.Delete(within(t), "p"); err != nil {
			t.Fatal(err)
		}
		b.adapter.Close()
	}
}

// TestNoMajority kills two of three servers: after a while broadcasts go past the log, who was away starts anew, and when the servers are back
// all is as it was.
func TestNoMajority(t *testing.T) {
	servers := natstest.RoutedJetStream(t, 3)
	opts := Options{Servers: []string{servers[0].URL}, election: 3 * time.Second}
	a, b := keepingNow(t, opts), keepingNow(t, opts)
	before := b.history.Position()
	a.say(t, 1, 10)
	b.awaitRun(t, 1, 10)
	servers[1].Kill()
	servers[2].Kill()
	began := time.Now()
	a.say(t, 11, 20)
	redistest.Eventually(t, "sockets of the sender's node are served", func() bool { return len(a.numbers()) >= 20 })
	t.Logf("the sender's node after %v", time.Since(began))
	b.awaitRun(t, 1, 20)
	t.Logf("the other node after %v", time.Since(began))
	a.say(t, 21, 30)
	b.awaitRun(t, 1, 30)
	a.awaitRun(t, 1, 30)
	if _, err := b.missed(within(t), before); err == nil {
		t.Error("who was away goes on")
	}
	if s := a.builder.Stats().State; s != Up {
		t.Errorf("the state is %v", s)
	}
	servers[1].Start()
	servers[2].Start()
	redistest.Eventually(t, "there are offsets again", func() bool {
		a.say(t, 31, 31)
		list := a.got()
		return strings.Count(list[len(list)-1], ",") > 2
	})
	for _, n := range []*keepingNode{a, b} {
		n.wantsGap(t, before)
	}
	a.say(t, 32, 32)
	after := ""
	redistest.Eventually(t, "the last one has an offset", func() bool {
		list := a.got()
		_, offset, ok := strings.Cut(list[len(list)-1], `2/chat,["n",32,"`)
		after = strings.TrimSuffix(offset, `"]`)
		return ok
	})
	a.say(t, 33, 40)
	a.wantsMissedAtLast(t, after, 33, 40)
	b.wantsMissedAtLast(t, after, 33, 40)
}

// TestWithoutJetStream: recovery is off, the log says so once, and the node is up. It is on when there is JetStream.
func TestWithoutJetStream(t *testing.T) {
	allowed := func(more ...string) string {
		rights := `"` + prefixOf(t) + `.>"`
		for _, m := range more {
			rights += `, "$JS.API.` + m + `"`
		}
		return fmt.Sprintf("authorization { users: [ {user: u, password: p, permissions: { publish: [%s], subscribe: [%q] } } ] }", rights, prefixOf(t)+".>")
	}
	var rights []string
	for _, stream := range []string{logOf(t), (&Options{Prefix: prefixOf(t)}).sessionStream()} {
		for _, verb := range []string{"STREAM.INFO.", "STREAM.CREATE.", "STREAM.MSG.GET.", "DIRECT.GET."} {
			rights = append(rights, verb+stream)
		}
	}
	enabled := natstest.JetStream(t, "single")
	s := natstest.Single(t, allowed())
	var log logtest.Log
	b := New(&Options{
		Servers: []string{s.URL}, Connect: []nats.Option{nats.UserInfo("u", "p")}, Prefix: prefixOf(t), RecoveryMaxBytes: 16 << 20,
		Logger: log.Logger(),
	})
	srv, err := server.New(&server.Options{Adapter: b, Logger: quiet(), Recovery: &server.RecoveryOptions{}})
	if err != nil {
		t.Fatal(err)
	}
	n := &returning.Node{Server: srv, Test: servertest.New(t, srv, nil)}
	if err := b.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		lines []string
		says  string
		works bool
	}{
		{nil, "Permissions Violation", false},
		{[]string{allowed(rights...)}, "not enabled", false},
		{append([]string{allowed()}, enabled...), "Permissions Violation", false},
		{append([]string{allowed(slices.DeleteFunc(slices.Clone(rights), func(r string) bool { return strings.HasPrefix(r, "DIRECT") })...)}, enabled...),
			"DIRECT.GET", false},
		{append([]string{allowed(rights...)}, enabled...), "recovery is on", true},
	} {
		if step.lines != nil {
			s.Kill()
			s.Configure(step.lines...)
			log.Reset()
			s.Start()
		}
		jet := b.servers.Open()[0].hub.jet
		redistest.Eventually(t, step.says, func() bool {
			off := jet.isOff()
			return step.works && off == nil && strings.Contains(log.String(), step.says) || off != nil && strings.Contains(off.Error(), step.says)
		})
		if s := b.Stats(); s.State != Up || log.Count("recovery is off") > 1 {
			t.Errorf("%s: %+v\n%s", step.says, s, log.String())
		}
		if step.works {
			redistest.Eventually(t, "the node knows where it stands", func() bool { return comesBack(t, n) })
			continue
		}
		if comesBack(t, n) {
			t.Errorf("%s: a client goes on", step.says)
		}
	}
}

// comesBack has a client connect, get an event, lose its connection and come again.
func comesBack(t *testing.T, n *returning.Node) (recovered bool) {
	t.Helper()
	c := returning.NewCounting(t)
	c.Come(n)
	if err := n.Of("/").Emit(returning.WarmUp, 1); err != nil {
		t.Error(err)
	}
	c.Take(c.Read())
	c.Conn.Cut()
	return c.Come(n)
}

// TestPastTheLog: a broadcast of a node without recovery is heard, and is a gap for those who were away.
func TestPastTheLog(t *testing.T) {
	s := natstest.Single(t, natstest.JetStream(t, "single")...)
	a := keepingNow(t, Options{Servers: []string{s.URL}})
	without := join(t, of(t, s.URL), "/chat")
	without.knows(t, a.member)
	before := a.history.Position()
	if err := without.adapter.Broadcast(chat(t, "/chat", "n", 1), adapter.Selection{}, adapter.Flags{}); err != nil {
		t.Fatal(err)
	}
	a.awaitRun(t, 1, 1)
	a.wantsGap(t, before)
}

// TestEmitterLog: what an emitter says to a room that nobody is in comes to who was away, and reaches the others once; without the right to
// hear answers it goes the way without a log.
func TestEmitterLog(t *testing.T) {
	rights := `{user: deaf, password: p, permissions: {publish: ">", subscribe: "none"}}, {user: u, password: p}`
	s := natstest.Single(t, append(natstest.JetStream(t, "single"), `authorization { users: [`+rights+`] }`)...)
	a := keepingNow(t, Options{Servers: []string{s.URL}, Connect: []nats.Option{nats.UserInfo("u", "p")}})
	before := a.history.Position()
	emitter := func(user string) *adapter.Emitter {
		return NewEmitter(s.Client(nats.UserInfo(user, "p"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})), &EmitterOptions{Prefix: prefixOf(t)})
	}
	e := emitter("u").Of("/chat")
	for i := 1; i <= 3; i++ {
		if err := e.To("x").Emit(t.Context(), "n", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Emit(t.Context(), "n", 4); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "it is delivered", func() bool { list := a.numbers(); return len(list) > 0 && list[len(list)-1] == 4 })
	a.wantsMissed(t, before, 1, 4)
	if err := emitter("deaf").Of("/chat").Emit(t.Context(), "n", 5); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "it is delivered", func() bool { list := a.numbers(); return list[len(list)-1] == 5 })
	a.wantsGap(t, before)
}

// TestLongEntries: entries that are as long as a server takes at once, and many at once where that is little, are written and read.
func TestLongEntries(t *testing.T) {
	for name, line := range map[string]string{"long": "max_payload: 4MB", "short": "max_payload: 4KB"} {
		t.Run(name, func(t *testing.T) {
			s := natstest.Single(t, append(natstest.JetStream(t, "single"), line)...)
			a, b := keepingNow(t, Options{Servers: []string{s.URL}}), keepingNow(t, Options{Servers: []string{s.URL}})
			before := b.history.Position()
			long := strings.Repeat("x", 3<<20)
			if name == "short" {
				long = strings.Repeat("x", 1000)
			}
			const last = 4
			for i := 1; i <= last; i++ {
				if err := a.adapter.Broadcast(chat(t, "/chat", "n", i, long), adapter.Selection{}, adapter.Flags{}); err != nil {
					t.Fatal(err)
				}
			}
			a.awaitRun(t, 1, last)
			b.awaitRun(t, 1, last)
			a.wantsMissed(t, before, 1, last)
			err := a.adapter.Broadcast(chat(t, "/chat", "n", 0, long+long+long+long), adapter.Selection{}, adapter.Flags{})
			if !errors.Is(err, adapter.ErrTooLarge) {
				t.Errorf("too long: %v", err)
			}
		})
	}
}

// TestForeignEntries writes what is no entry, and none that can be delivered, to the log: nobody suffers.
func TestForeignEntries(t *testing.T) {
	s := natstest.Single(t, natstest.JetStream(t, "single")...)
	a := keepingNow(t, Options{Servers: []string{s.URL}})
	before := a.history.Position()
	js, subject := admin(t, s), subjects{prefix: prefixOf(t)}.log("/chat")
	bodies := [][]byte{
		[]byte("x"), nil, {entryVersion}, bytes.Repeat([]byte{0xff}, 100),
		(&logEntry{kind: entryBroadcasts, from: "other", list: []keptBody{{1, []byte("{")}, {2, nil}, {3, []byte(`{"type":3,"data":7,"uid":"x","nsp":"/chat"}`)}}}).encode(),
	}
	for i, body := range bodies {
		if _, err := js.Publish(within(t), subject, body); err != nil {
			t.Fatal(err)
		}
		a.say(t, i+1, i+1)
	}
	a.awaitRun(t, 1, len(bodies))
	a.wantsMissed(t, before, 1, len(bodies))
	if a.builder.Stats().BadFrames == 0 {
		t.Error("nothing is counted")
	}
}

// TestReap: of several nodes one is told of a session that is over, also when it has written none.
func TestReap(t *testing.T) {
	s := natstest.Single(t, natstest.JetStream(t, "single")...)
	opts := Options{Servers: []string{s.URL}, Prefix: prefixOf(t), RecoveryMaxBytes: 16 << 20, Logger: quiet()}
	var stores []adapter.SessionReaper
	for range 2 {
		m := join(t, New(&opts), "/chat")
		_, store, err := m.adapter.(adapter.Historian).Keep(adapter.HistoryOptions{Retain: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, store.(adapter.SessionReaper))
	}
	session := func(pid string) *adapter.Session {
		return &adapter.Session{PID: pid, SocketID: "s" + pid, Rooms: []string{"s" + pid}, Data: parser.Payload{JSON: []byte(`{}`)}}
	}
	held, err := stores[0].Write(within(t), []adapter.SessionWrite{
		{Session: session("told"), Holder: "a", TTL: time.Millisecond, Told: true},
		{Session: session("quiet"), Holder: "a", TTL: time.Minute},
		{Session: session("later"), Holder: "a", TTL: time.Minute, Told: true},
		{Session: session("gone"), Holder: "a", TTL: time.Minute, Told: true},
		{Session: session("gone"), Holder: "a", TTL: time.Minute, Remove: true},
	})
	if err != nil || len(held) != 5 {
		t.Fatal(held, err)
	}
	var got []string
	redistest.Eventually(t, "the end is told", func() bool {
		for _, store := range stores {
			list, _, err := store.Reap(within(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range list {
				got = append(got, s.PID)
			}
		}
		return len(got) > 0
	})
	for _, store := range stores {
		list, more, err := store.Reap(within(t))
		if err != nil || more || len(list) > 0 {
			t.Errorf("then %v, %v, %v", list, more, err)
		}
	}
	if fmt.Sprint(got) != "[told]" {
		t.Errorf("told of %v", got)
	}
	if s, err := stores[1].Take(within(t), "told", "b"); s != nil || err != nil {
		t.Errorf("taken afterwards: %v, %v", s, err)
	}
	if s, err := stores[1].Take(within(t), "later", "b"); s == nil || err != nil {
		t.Errorf("another one: %v, %v", s, err)
	}
}
