package natsadapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
	"github.com/sockeye-io/sockeye/internal/envelope"
	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// stream broadcasts numbers from a node until stop, and returns how many were taken.
func stream(t *testing.T, from *member) (stop func() (taken int)) {
	ctx, cancel := context.WithCancel(context.Background())
	total := make(chan int)
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		taken := 0
		for {
			select {
			case <-tick.C:
				p := chat(t, from.Name(), "n", taken)
				if from.adapter.Broadcast(p, adapter.Selection{}, adapter.Flags{}) == nil {
					taken++
				}
			case <-ctx.Done():
				total <- taken
				return
			}
		}
	}()
	return func() int {
		cancel()
		return <-total
	}
}

// numbersOf checks that a node has heard numbers of a stream in order and none twice, and returns how many.
func numbersOf(t *testing.T, to *member) (n int) {
	t.Helper()
	last := -1
	for _, text := range to.got() {
		number := 0
		if _, err := fmt.Sscanf(text, `2/chat,["n",%d]`, &number); err != nil {
			continue
		}
		if number <= last {
			t.Fatalf("%d came after %d", number, last)
		}
		last = number
		n++
	}
	return n
}

func pairOn(t *testing.T, from, to string) (a, b *member) {
	a, b = join(t, of(t, from), "/chat"), join(t, of(t, to), "/chat")
	a.connect(t, "a", "room")
	b.connect(t, "b", "room")
	a.knows(t, b)
	b.knows(t, a)
	return a, b
}

// TestKilled kills the server in the middle of a stream, and starts it again after a while. What was published meanwhile is kept
// and arrives; what was under way is lost, and counted.
func TestKilled(t *testing.T) {
	server := natstest.Single(t)
	a, b := pairOn(t, server.URL, server.URL)
	stop := stream(t, a)
	for range 3 {
		n := len(b.got())
		redistest.Eventually(t, "the stream flows", func() bool { return len(b.got()) > n+100 })
		server.Kill()
		began := time.Now()
		a.awaits(t, Down)
		b.awaits(t, Down)
		t.Logf("noticed after %v", time.Since(began))
		if err := a.adapter.Broadcast(chat(t, "/chat", "volatile"), adapter.Selection{}, adapter.Flags{Volatile: true}); !errors.Is(err, adapter.ErrClusterUnavailable) {
			t.Errorf("a volatile packet while nats is away: %v", err)
		}
		server.Start()
		a.awaits(t, Up)
		b.awaits(t, Up)
	}
	taken := stop()
	send(t, a, "end")
	redistest.Eventually(t, "the end arrives", func() bool { return b.count(textOf(chat(t, "/chat", "end"))) == 1 })
	s := a.builder.Stats()
	got, failed := numbersOf(t, b), 0
	for _, n := range s.Failed {
		failed += int(n)
	}
	t.Logf("%d of %d have arrived, %d may be lost: %+v", got, taken, failed, s)
	if lost := taken - got; lost > failed {
		t.Errorf("%d messages were lost, %d are counted", lost, failed)
	}
	if s.Losses < 3 || s.Reconnects != 3 || s.Dropped[outflow.Down] < 3 {
		t.Errorf("%+v", s)
	}
}

// TestFrozen freezes the server: that is noticed, and over when it goes on.
func TestFrozen(t *testing.T) {
	server := natstest.Single(t)
	a, b := pairOn(t, server.URL, server.URL)
	server.Freeze()
	began := time.Now()
	a.awaits(t, Down)
	b.awaits(t, Down)
	t.Logf("noticed after %v", time.Since(began))
	send(t, a, "kept", "room")
	server.Thaw()
	a.awaits(t, Up)
	b.awaits(t, Up)
	if err := b.adapter.(adapter.JoinWaiter).WaitJoined(within(t), []string{"room"}); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "what was kept arrives", func() bool { return b.count(textOf(chat(t, "/chat", "kept"))) == 1 })
	crosses(t, a, b)
}

// TestFrozenUnderLoad freezes the server while more is sent than sockets take, so that writing blocks.
func TestFrozenUnderLoad(t *testing.T) {
	server := natstest.Single(t)
	a, b := pairOn(t, server.URL, server.URL)
	server.Freeze()
	began := time.Now()
	big := strings.Repeat("x", 100_000)
	for i := range 200 { // 20 MB
		callBegan := time.Now()
		err := a.adapter.Broadcast(chat(t, "/chat", "big", i, big), adapter.Selection{}, adapter.Flags{})
		if took := time.Since(callBegan); err != nil || took > time.Second {
			t.Fatalf("a broadcast while nats is frozen: %v after %v", err, took)
		}
	}
	a.awaits(t, Down)
	t.Logf("noticed after %v", time.Since(began))
	server.Thaw()
	a.awaits(t, Up)
	b.awaits(t, Up)
	crosses(t, a, b)
	if s := a.builder.Stats(); s.Queued > 0 || s.Losses == 0 {
		t.Errorf("%+v", s)
	}
}

// TestCutOff has one node lose its way to the server without being told.
func TestCutOff(t *testing.T) {
	server := natstest.Single(t)
	link := redistest.NewLink(t, server.Addr)
	a, b := pairOn(t, "nats://"+link.Addr, server.URL)
	link.Cut()
	began := time.Now()
	a.awaits(t, Down)
	t.Logf("noticed after %v", time.Since(began))
	if !b.is(Up) {
		t.Errorf("the other node: %+v", b.builder.Stats())
	}
	send(t, a, "kept")
	link.Mend()
	a.awaits(t, Up)
	redistest.Eventually(t, "what was kept arrives", func() bool { return b.count(textOf(chat(t, "/chat", "kept"))) == 1 })
	crosses(t, a, b)
}

// TestSlow: a NATS that takes a second to answer is slow, not dead.
func TestSlow(t *testing.T) {
	server := natstest.Single(t)
	addr := redistest.NewDelay(t, server.Addr, time.Second)
	slow := func() *Builder {
		return New(&Options{Servers: []string{"nats://" + addr}, Prefix: prefixOf(t), Logger: quiet(), AnswerTimeout: 11 * time.Second}) // ten for a busy machine
	}
	a, b := join(t, slow(), "/chat"), join(t, slow(), "/chat")
	changes := a.builder.Stats().StateChanges
	for i := range 2000 {
		send(t, a, fmt.Sprint("m", i))
	}
	b.hears(t, 2000)
	if s := a.builder.Stats(); s.StateChanges != changes || len(s.Failed) > 0 || s.Queued > 0 {
		t.Errorf("%+v", s)
	}
}

// TestRefused has the server refuse connections, for one reason after the other, and then take them.
func TestRefused(t *testing.T) {
	for kind, lines := range map[string]string{
		troubleLimit: "max_connections: 1",
		troubleAuth:  `authorization { user: somebody, password: "other" }`,
	} {
		t.Run(kind, func(t *testing.T) {
			server := natstest.Single(t, lines)
			var opts []nats.Option
			if kind == troubleAuth {
				opts = append(opts, nats.UserInfo("somebody", "other"))
			}
			server.Client(opts...)
			m := open(t, of(t, server.URL), "/chat")
			m.awaits(t, Down)
			// The server closes the connection behind its words, which then may not be read: a later try has them.
			redistest.Eventually(t, "the reason is told", func() bool { return trouble(m.builder.Stats().Reason) == kind })
			redistest.Eventually(t, "Ready tells the reason", func() bool {
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
				defer cancel()
				return trouble(m.builder.Ready(ctx)) == kind
			})
			server.Configure()
			server.Reload()
			m.awaits(t, Up)
			crosses(t, m, join(t, of(t, server.URL), "/chat"))
		})
	}
}

// TestCredentials: what the application says of connections is used.
func TestCredentials(t *testing.T) {
	server := natstest.Single(t, `authorization { token: "secret" }`)
	b := New(&Options{Servers: []string{server.URL}, Connect: []nats.Option{nats.Token("secret")}, Logger: quiet(), Prefix: prefixOf(t)})
	crosses(t, join(t, b, "/chat"))
	broken := New(&Options{Connect: []nats.Option{nats.RootCAs("/nowhere.pem")}, Logger: quiet()})
	if _, err := broken.Open(adapter.Node{ID: adapter.NewNodeID(), Name: "n"}, nil); err == nil {
		t.Error("a broken option is taken")
	}
}

// TestPermissions: what the server does not let a node do shows in the state, in the figures and in what calls return, and is over
// when it is granted. The rest goes on.
func TestPermissions(t *testing.T) {
	user := func(deny string) string {
		return fmt.Sprintf("authorization { users: [ {user: u, password: p, permissions: { %s } } ] }", deny)
	}
	for name, tt := range map[string]struct{ deny, verb string }{
		"publish":   {`publish: { deny: ["*.*.ns./chat.all"] }`, "Publish"},
		"subscribe": {`subscribe: { deny: ["*.*.ns./chat.room.secret"] }`, "Subscription"},
	} {
		t.Run(name, func(t *testing.T) {
			server := natstest.Single(t, user(""))
			b := New(&Options{Servers: []string{server.URL}, Connect: []nats.Option{nats.UserInfo("u", "p")}, Logger: quiet(), Prefix: prefixOf(t)})
			m, other := join(t, b, "/chat"), join(t, b, "/chat")
			crosses(t, m, other)
			server.Configure(user(tt.deny))
			server.Kill()
			server.Start()
			redistest.Eventually(t, "it is refused", func() bool {
				_ = m.adapter.Broadcast(chat(t, "/chat", "try"), adapter.Selection{}, adapter.Flags{})
				m.Connect("s", "secret")
				s := b.Stats()
				return s.State == Down && trouble(s.Reason) == troublePermission && strings.Contains(s.Reason.Error(), tt.verb)
			})
			if s := b.Stats(); s.Failed[troublePermission] == 0 {
				t.Errorf("%+v", s)
			}
			if name == "publish" {
				redistest.Eventually(t, "calls return it", func() bool {
					err := m.adapter.Broadcast(chat(t, "/chat", "try"), adapter.Selection{}, adapter.Flags{})
					return errors.Is(err, adapter.ErrClusterUnavailable) && trouble(err) == troublePermission
				})
			}
			send(t, m, "goes on", "room") // what is not refused
			server.Configure(user(""))
			server.Reload()
			m.awaits(t, Up)
			redistest.Eventually(t, "and stays", func() bool { return b.Stats().Confirmed == b.Stats().Wanted })
			crosses(t, m, other)
		})
	}
}

// TestTooLarge: what is larger than the server takes is refused with a sentence, and nothing else suffers.
func TestTooLarge(t *testing.T) {
	server := natstest.Single(t, "max_payload: 2000")
	a, b := pairOn(t, server.URL, server.URL)
	changes := a.builder.Stats().StateChanges
	err := a.adapter.Broadcast(chat(t, "/chat", "large", strings.Repeat("x", 3000)), adapter.Selection{}, adapter.Flags{})
	if !errors.Is(err, adapter.ErrClusterUnavailable) || !strings.Contains(err.Error(), "max_payload of 2000") {
		t.Errorf("the error is %v", err)
	}
	crosses(t, a, b)
	if s := a.builder.Stats(); s.Dropped[outflow.TooLarge] != 1 || s.StateChanges != changes {
		t.Errorf("%+v", s)
	}
	// What waited for a server that takes less.
	server.Kill()
	a.awaits(t, Down)
	big := chat(t, "/chat", "large", strings.Repeat("x", 1500))
	if err := a.adapter.Broadcast(big, adapter.Selection{}, adapter.Flags{}); err != nil {
		t.Fatal(err)
	}
	server.Configure("max_payload: 1200")
	server.Start()
	a.awaits(t, Up)
	b.awaits(t, Up)
	crosses(t, a, b)
	if s := a.builder.Stats(); s.Dropped[outflow.TooLarge] != 2 || b.count(textOf(big)) != 0 {
		t.Errorf("%+v", s)
	}
}

// TestGarbage publishes what is none of ours on every subject that a node has.
func TestGarbage(t *testing.T) {
	server := natstest.Single(t)
	a, b := pairOn(t, server.URL, server.URL)
	nc := server.Client()
	to := b.builder.servers.Open()[0].hub
	var subjects []string
	to.subs.mu.Lock()
	for subject := range to.subs.all {
		subjects = append(subjects, strings.NewReplacer("*", "x").Replace(subject))
	}
	to.subs.mu.Unlock()
	const future = `{"type":99,"data":{},"uid":"u","nsp":"/chat"}`
	bodies := []string{"", " ", "{", "\xc1", "null", "[]", `{"type":3,"data":{},"uid":"u","nsp":"/chat"}`, future, "?", "!", "?a", "?a b", "!a b", "? ", strings.Repeat("?", 1000), "503"}
	for _, subject := range subjects {
		for _, body := range bodies {
			msg := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{"Status": {"503"}, "X": {strings.Repeat("y", 1000)}}}
			if err := errors.Join(nc.Publish(subject, []byte(body)), nc.PublishMsg(msg)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	crosses(t, a, b)
	s := b.builder.Stats()
	if s.BadFrames == 0 || s.State != Up || s.StateChanges != 1 {
		t.Errorf("%+v", s)
	}
	if len(b.got()) != 2 {
		t.Errorf("delivered %.100q", b.got())
	}
}

// TestAbsent: NATS tells at once that a node has gone, also from another server.
func TestAbsent(t *testing.T) {
	servers := natstest.Routed(t, 3)
	var members []*member
	for _, s := range servers {
		members = append(members, join(t, of(t, s.URL), "/chat"))
	}
	a, b, c := members[0], members[1], members[2]
	a.knows(t, b, c)
	hub := a.builder.servers.Open()[0].hub
	ids := []adapter.NodeID{"nobody", b.cluster.Self().ID, c.cluster.Self().ID, a.cluster.Self().ID}
	absent, err := hub.unheard(within(t), ids)
	if err != nil || len(absent) != 1 || absent[0] != "nobody" {
		t.Fatalf("%q, %v", absent, err)
	}
	// A node vanishes without a word, and a question does not wait for it.
	gone := c.builder.servers.Open()[0].hub
	gone.queue.close() // nothing is said any more
	gone.session().end(errClosed)
	redistest.Eventually(t, "it is absent", func() bool {
		absent, err := hub.unheard(within(t), ids)
		return err == nil && len(absent) == 2
	})
	receipts := make(chan adapter.Receipt, 1)
	bus := busOf(t, a)
	for to, want := range map[adapter.NodeID]int{b.cluster.Self().ID: 1, c.cluster.Self().ID: 0} {
		m := &adapter.Message{Kind: adapter.KindServerSide, Payload: chat(t, "/chat", "x").Payload, Sent: func(r adapter.Receipt) { receipts <- r }}
		if err := bus.Send(to, m); err != nil {
			t.Fatal(err)
		}
		if r := <-receipts; r.Err != nil || r.Receivers != want {
			t.Errorf("%+v, want %d receivers", r, want)
		}
	}
	began := time.Now()
	r, err := a.adapter.FetchSockets(within(t), adapter.Selection{}, adapter.Flags{})
	if err != nil || time.Since(began) > 3*time.Second {
		t.Errorf("%+v, %v after %v", r, err, time.Since(began))
	}
}

// busOf makes one more bus of a member's namespace, for what only a bus tells.
func busOf(t *testing.T, m *member) adapter.Bus {
	t.Helper()
	b, err := m.builder.servers.Open()[0].Bus(newWitness(m.Name()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLameDuck: a server that is about to stop is left for another one, before it closes the connection.
func TestLameDuck(t *testing.T) {
	servers := natstest.Routed(t, 2, "lame_duck_grace_period: 20s", "lame_duck_duration: 30s")
	a, b := pairOn(t, servers[0].URL, servers[1].URL)
	began := time.Now()
	servers[0].Retire()
	redistest.Eventually(t, "the node goes to the other server", func() bool { return a.builder.Stats().Reconnects == 1 && a.is(Up) })
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("after %v", took)
	}
	crosses(t, a, b)
	if s := a.builder.Stats(); len(s.Failed) > 0 {
		t.Errorf("%+v", s)
	}
}

// TestServerOfSeveral: when one of three servers is killed, its nodes go to the others.
func TestServerOfSeveral(t *testing.T) {
	servers := natstest.Routed(t, 3)
	var members []*member
	for _, s := range servers {
		members = append(members, join(t, of(t, s.URL), "/chat")) // the others are told of
	}
	members[0].knows(t, members[1], members[2])
	crosses(t, members...)
	servers[0].Kill()
	redistest.Eventually(t, "the node goes to another server", func() bool { return members[0].builder.Stats().Reconnects == 1 && members[0].is(Up) })
	crosses(t, members...)
	servers[1].Kill()
	redistest.Eventually(t, "the nodes go to the last server", func() bool {
		return members[1].builder.Stats().Reconnects >= 1 && members[0].is(Up) && members[1].is(Up)
	})
	crosses(t, members...)
}

// TestDiscoveredCredentials: a node whose only server is killed goes to one that it was told of, with the user of its URL.
func TestDiscoveredCredentials(t *testing.T) {
	servers := natstest.Routed(t, 2, `authorization { users: [{user: u, password: p}] }`)
	m := join(t, of(t, "nats://u:p@"+servers[0].Addr), "/chat")
	servers[0].Kill()
	redistest.Eventually(t, "the node goes to the other server", func() bool { return m.builder.Stats().Reconnects == 1 && m.is(Up) })
}

// TestRefusalGone: the state is Up again when nobody is in the room any more whose subject NATS has refused.
func TestRefusalGone(t *testing.T) {
	server := natstest.Single(t,
		`authorization { users: [{user: u, password: p, permissions: {publish: [">"], subscribe: {allow: [">"], deny: ["*.ns.*.room.secret"]}}}] }`)
	m := join(t, of(t, "nats://u:p@"+server.Addr), "/chat")
	m.Connect("q", "secret")
	m.awaits(t, Down)
	m.Node.SocketsLeave(adapter.Selection{Rooms: []string{"secret"}}, []string{"secret"})
	m.awaits(t, Up)
}

// TestEndsAtOnce: a connection that ends before the hub knows it is not taken for one that is open.
func TestEndsAtOnce(t *testing.T) {
	server := natstest.Single(t)
	h := newHub("x", of(t, server.URL).opts, new(counters))
	s, err := h.connect()
	if err != nil {
		t.Fatal(err)
	}
	s.end(errLost)
	s.run()
	if h.session() != nil || !errors.Is(h.reason(), errLost) {
		t.Errorf("open is %v, and it ended with %v", h.session(), h.reason())
	}
}

// TestShortConnections: a server that ends each connection soon is tried ever more seldom, as one that takes none.
func TestShortConnections(t *testing.T) {
	server := natstest.Single(t, "max_subscriptions: 8")
	m := join(t, of(t, server.URL), "/chat")
	began := time.Now()
	for i := range 5 {
		m.Connect(fmt.Sprint("s", i), fmt.Sprint("room", i))
	}
	redistest.Eventually(t, "connections end", func() bool { return m.builder.Stats().Reconnects >= 6 })
	var least time.Duration
	for i := range 6 {
		least += min(firstPause<<(i+1), lastPause) / 2
	}
	if took := time.Since(began); took < least {
		t.Errorf("6 more connections within %v, less than %v", took, least)
	}
}

// TestJoinWhileAway: a join waits for no NATS that is known to be away, and is caught up later; questions fail at once.
func TestJoinWhileAway(t *testing.T) {
	server := natstest.Single(t)
	from, to := pairOn(t, server.URL, server.URL)
	server.Kill()
	from.awaits(t, Down)
	to.awaits(t, Down)
	began := time.Now()
	to.Connect("t", "fresh")
	if err := to.adapter.(adapter.JoinWaiter).WaitJoined(within(t), []string{"fresh"}); !errors.Is(err, adapter.ErrClusterUnavailable) {
		t.Errorf("a join while nats is away: %v", err)
	}
	_, err := to.adapter.FetchSockets(within(t), adapter.Selection{}, adapter.Flags{})
	if !errors.Is(err, adapter.ErrClusterUnavailable) || time.Since(began) > time.Second {
		t.Errorf("while nats is away: %v after %v", err, time.Since(began))
	}
	if _, err := to.adapter.ServerCount(within(t)); !errors.Is(err, adapter.ErrClusterUnavailable) {
		t.Errorf("while nats is away: %v", err)
	}
	server.Start()
	to.awaits(t, Up)
	from.awaits(t, Up)
	redistest.Eventually(t, "the subscription is caught up", func() bool {
		return to.adapter.(adapter.JoinWaiter).WaitJoined(within(t), []string{"fresh"}) == nil
	})
	send(t, from, "hello", "fresh")
	redistest.Eventually(t, "it arrives", func() bool { return to.count(textOf(chat(t, "/chat", "hello"))) == 1 })
}

// TestAskAfterOutage asks at once when NATS is back. The answer of the other node may come behind its word that it is back, upon which
// nobody waits for it any more: then the result says that it is missing, and the next question is answered.
func TestAskAfterOutage(t *testing.T) {
	server := natstest.Single(t)
	link := redistest.NewLink(t, server.Addr)
	a, b := pairOn(t, server.URL, "nats://"+link.Addr)
	other := b.cluster.Self().ID
	for range 3 {
		server.Kill()
		a.awaits(t, Down)
		b.awaits(t, Down)
		server.Start()
		a.awaits(t, Up)
		redistest.Eventually(t, "a question is answered", func() bool {
			began := time.Now()
			r, err := a.adapter.FetchSockets(within(t), adapter.Selection{}, adapter.Flags{})
			if err != nil || time.Since(began) > 4*time.Second {
				t.Fatalf("%v after %v", err, time.Since(began))
			}
			if complete := len(r.Values) == 2; complete == slices.Contains(r.Missing, other) || complete != r.Complete() {
				t.Fatalf("%d sockets, missing are %q", len(r.Values), r.Missing)
			}
			return r.Complete()
		})
		b.awaits(t, Up)
	}
}

// TestOvertaken: a server that was frozen reads what a connection that has ended had written to it only when the node has another one. What
// is written to that comes behind.
func TestOvertaken(t *testing.T) {
	server := natstest.Single(t)
	frozen := new(lingering)
	builder := New(&Options{
		Servers: []string{server.URL}, Prefix: prefixOf(t), Logger: quiet(),
		Connect: []nats.Option{nats.SetCustomDialer(frozen)},
	})
	a, b := join(t, builder, "/chat"), join(t, of(t, server.URL), "/chat")
	a.connect(t, "a", "room")
	b.connect(t, "b", "room")
	a.knows(t, b)
	b.knows(t, a)
	frozen.hold()
	send(t, a, "first")
	frozen.awaits(t, `["first"]`)
	frozen.breakOff()
	a.awaits(t, Down)
	send(t, a, "second")
	redistest.Eventually(t, "the second arrives", func() bool { return b.count(textOf(chat(t, "/chat", "second"))) == 1 })
	if b.count(textOf(chat(t, "/chat", "first"))) != 1 {
		t.Errorf("overtaken: %q", b.got())
	}
	frozen.release()
}

// TestDropsOvertaken: what comes behind what its sender has written on a later connection is dropped and counted.
func TestDropsOvertaken(t *testing.T) {
	server := natstest.Single(t)
	a, b := pairOn(t, server.URL, server.URL)
	nc, err := nats.Connect(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	names := subjects{prefixOf(t), "x"}
	codec, err := envelope.New("0123456789abcdef", "/chat", nil)
	if err != nil {
		t.Fatal(err)
	}
	says := func(text string, connection int) {
		t.Helper()
		body, err := codec.Sharded(&adapter.Message{Kind: adapter.KindBroadcast, Packet: chat(t, "/chat", text)})
		if err != nil {
			t.Fatal(err)
		}
		if err := nc.PublishRequest(names.namespace("/chat").all, names.connection(connection), body); err != nil {
			t.Fatal(err)
		}
	}
	says("one", 1)
	says("two", 2)
	says("late", 1)
	says("three", 2)
	redistest.Eventually(t, "the last arrives", func() bool {
		return b.count(textOf(chat(t, "/chat", "three"))) == 1 && a.count(textOf(chat(t, "/chat", "three"))) == 1
	})
	for text, want := range map[string]int{"one": 1, "two": 1, "late": 0} {
		if got := b.count(textOf(chat(t, "/chat", text))); got != want {
			t.Errorf("%s came %d times", text, got)
		}
	}
	if n := b.builder.Stats().Overtaken; n != 1 {
		t.Errorf("%d were overtaken", n)
	}
}

// lingering makes connections of which the first can be held up: what is written to it then comes to the server when it is asked through
// the next one whether it still has the first.
type lingering struct {
	mu sync.Mutex
	// Guarded by mu.
	first, next *lingeringConn
	released    bool
}

type lingeringConn struct {
	net.Conn
	from *lingering

	// Guarded by from.mu.
	held    bool
	written []byte
}

func (l *lingering) Dial(network, address string) (net.Conn, error) {
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	c := &lingeringConn{Conn: conn, from: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.first == nil {
		l.first = c
	} else {
		l.next = c
	}
	return c, nil
}

func (l *lingering) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first.held = true
}

// awaits waits until a text was written to the first connection.
func (l *lingering) awaits(t *testing.T, text string) {
	t.Helper()
	redistest.Eventually(t, text+" is written", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return bytes.Contains(l.first.written, []byte(text))
	})
}

// breakOff has the node lose the first connection.
func (l *lingering) breakOff() { _ = l.first.Conn.SetReadDeadline(time.Unix(1, 0)) }

func (c *lingeringConn) Write(b []byte) (int, error) {
	l := c.from
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.held {
		c.written = append(c.written, b...)
		return len(b), nil
	}
	n, err := c.Conn.Write(b)
	if c == l.next && bytes.Contains(b, []byte("PUB ")) && bytes.Contains(b, []byte(".connections.")) {
		l.releaseLocked()
	}
	return n, err
}

func (l *lingering) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.releaseLocked()
}

func (l *lingering) releaseLocked() {
	if !l.released {
		l.released = true
		_, _ = l.first.Conn.Write(l.first.written)
		_ = l.first.Conn.Close()
	}
}

func (c *lingeringConn) Close() error {
	c.from.mu.Lock()
	defer c.from.mu.Unlock()
	if c.held {
		return nil
	}
	return c.Conn.Close()
}
