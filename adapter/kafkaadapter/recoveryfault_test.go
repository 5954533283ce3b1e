package kafkaadapter

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/internal/returning"
	"github.com/sockeye-io/sockeye/server"
)

// absence is a client that is away from a cluster of two nodes, where another one stays at the second node.
type absence struct {
	t     *testing.T
	opts  Options
	nodes []*returning.Node
	kafka []*Kafka
	goes  *returning.Counting
	stays *returning.Counting
	said  int
}

// newAbsence starts nodes; through which addresses they reach a Kafka may differ.
func newAbsence(t *testing.T, opts ...Options) *absence {
	t.Helper()
	a := &absence{t: t, opts: opts[0].withDefaults(), goes: returning.NewCounting(t), stays: returning.NewCounting(t)}
	for _, o := range opts {
		a.join(o)
	}
	a.goes.Settle(a.nodes[0])
	a.stays.Come(a.nodes[len(a.nodes)-1])
	return a
}

// join starts one more node.
func (a *absence) join(opts Options) {
	a.t.Helper()
	opts = opts.withDefaults()
	k := New(&opts)
	a.kafka = append(a.kafka, k)
	a.nodes = append(a.nodes, returning.Start(a.t, k, fmt.Sprint("node", len(a.nodes)), server.RecoveryOptions{}))
}

// say has a node send ten numbers, which reach whoever stays, and are in the log then.
func (a *absence) say(node int) {
	a.t.Helper()
	a.sayUnheard(node, 10)
	a.stays.Until("n", a.said-1)
}

// sayUnheard has a node send numbers that nobody can be awaited to hear.
func (a *absence) sayUnheard(node, n int) {
	a.t.Helper()
	for range n {
		if err := a.nodes[node].Of("/").Emit("n", a.said); err != nil {
			a.t.Fatal(err)
		}
		a.said++
	}
}

// leave has the client get what was said, and lose its connection.
func (a *absence) leave() {
	a.t.Helper()
	a.goes.Until("n", a.said-1)
	a.goes.Conn.Cut()
}

// back has the client come back to a node. want is what must become of it. Whatever it is, the client gets what is said from then on, and
// nothing twice.
func (a *absence) back(node int, want string) {
	a.t.Helper()
	if got := a.comes(a.goes, node); got != want {
		a.t.Errorf("it is %q, want %q", got, want)
	}
	holes := a.goes.Holes
	a.say(0)
	a.goes.Until("n", a.said-1)
	if want == "recovered" && a.goes.Holes > holes {
		a.t.Errorf("%d numbers are missing", a.goes.Holes-holes)
	}
}

// comes has a client come to a node, again if that was too slow for it, and returns what has become of it.
func (a *absence) comes(c *returning.Counting, node int) (result string) {
	a.t.Helper()
	was := *c
	redistest.Eventually(a.t, "the node finds out about a client", func() bool {
		before := a.nodes[node].Stats().Recovery
		recovered := c.Come(a.nodes[node])
		result = ""
		for name, n := range a.nodes[node].Stats().Recovery {
			if n > before[name] {
				result += name
			}
		}
		if recovered != (result == "recovered") {
			a.t.Errorf("recovered: %v, and the node says %q", recovered, result)
		}
		if result != "failed" {
			return true
		}
		c.Conn.Cut()
		c.SID, c.PID, c.Offset = was.SID, was.PID, was.Offset
		return false
	})
	return result
}

// session is what a node finds under a secret.
func (a *absence) session(node int, pid string) (*adapter.Session, error) {
	store := &sessionStore{log: a.kafka[node].servers.Open()[0].sessions, namespace: "/"}
	return store.Load(within(a.t), pid)
}

func (a *absence) admin() *kadm.Client { return kadm.NewClient(clientOf(a.t, a.opts)) }

// trim has Kafka remove what is older than the last few records of a partition.
func (a *absence) trim(at place, left int64) {
	a.t.Helper()
	ends, err := a.admin().ListEndOffsets(within(a.t), at.topic)
	if err != nil {
		a.t.Fatal(err)
	}
	end, _ := ends.Lookup(at.topic, at.partition)
	var until kadm.Offsets
	until.AddOffset(at.topic, at.partition, end.Offset-left, -1)
	if _, err := a.admin().DeleteRecords(within(a.t), until); err != nil {
		a.t.Fatal(err)
	}
}

// renew deletes a topic and waits until both nodes have the new one.
func (a *absence) renew(topic string) {
	a.t.Helper()
	before := []uint64{a.kafka[0].Stats().NewTopics, a.kafka[1].Stats().NewTopics}
	if _, err := a.admin().DeleteTopics(within(a.t), topic); err != nil {
		a.t.Fatal(err)
	}
	redistest.Eventually(a.t, "both nodes have the new "+topic, func() bool {
		for i, k := range a.kafka {
			if s := k.Stats(); s.NewTopics == before[i] || s.State != Up {
				return false
			}
		}
		return true
	})
}

func (a *absence) log() place      { return logOf(&a.opts, "/") }
func (a *absence) sessions() place { return place{a.opts.sessionsTopic(), 0} }

// recede has all nodes learn that a new leader has not got the last few records.
func (a *absence) recede(lost int64) {
	a.t.Helper()
	for _, k := range a.kafka {
		rs := k.servers.Open()[0].readers
		at, _ := rs.position(a.log())
		loss := &kgo.ErrDataLoss{Topic: a.log().topic, Partition: a.log().partition, ConsumedTo: at.next, ResetTo: at.next - lost}
		rs.take(a.log(), &kgo.FetchPartition{Err: loss})
	}
}

// TestAway has something happen while a client is away. It gets everything once and in order then, or starts anew; and goes on the next time.
func TestAway(t *testing.T) {
	for name, test := range map[string]struct {
		happens func(a *absence)
		want    string
	}{
		"nothing":                       {func(*absence) {}, "recovered"},
		"log trimmed behind it":         {func(a *absence) { a.trim(a.log(), 15) }, "recovered"},
		"log trimmed":                   {func(a *absence) { a.trim(a.log(), 5) }, "recovered"}, // the nodes remember
		"log trimmed, and a node new":   {func(a *absence) { a.trim(a.log(), 5); a.join(a.opts) }, "gap"},
		"a node new":                    {func(a *absence) { a.join(a.opts) }, "recovered"},
		"log deleted and made anew":     {func(a *absence) { a.renew(a.log().topic) }, "gap"},
		"log cut off by a new leader":   {func(a *absence) { a.recede(3) }, "gap"},
		"sessions trimmed":              {func(a *absence) { a.trim(a.sessions(), 0) }, "recovered"},
		"sessions deleted":              {func(a *absence) { a.renew(a.sessions().topic) }, "unknown"},
		"log and sessions deleted":      {func(a *absence) { a.renew(a.log().topic); a.renew(a.sessions().topic) }, "unknown"},
		"sessions deleted, log trimmed": {func(a *absence) { a.renew(a.sessions().topic); a.trim(a.log(), 0) }, "unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := options(t, fake(t).ListenAddrs()...)
			opts.Prefix = "s"
			a := newAbsence(t, opts, opts)
			a.say(0)
			a.leave()
			a.say(1)
			test.happens(a)
			a.back(len(a.nodes)-1, test.want)
			a.leave()
			a.goes.Settle(a.nodes[1]) // a session that is new may not be written yet
			a.goes.Conn.Cut()
			a.say(1)
			a.back(0, "recovered")
		})
	}
}

// TestAwayAndCutOff has a node lose its way to Kafka, and what was said meanwhile be removed there: what the node has not read it knows nothing
// of, neither broadcasts nor sessions.
func TestAwayAndCutOff(t *testing.T) {
	addr := fake(t).ListenAddrs()[0]
	link := redistest.NewLink(t, addr)
	opts := options(t, addr)
	opts.Prefix, opts.AnswerTimeout = "s", time.Second // so that it is noticed soon
	a := newAbsence(t, through(opts, link.Addr), opts)
	cutOff, there := a.kafka[0], a.nodes[1]
	a.say(0)
	a.leave()
	link.Cut()
	redistest.Eventually(t, "the node knows that it is cut off", func() bool { return cutOff.Stats().State == Down })

	// Elsewhere the client goes on, and comes into a room.
	if got := a.comes(a.goes, 1); got != "recovered" {
		t.Fatalf("it is %q", got)
	}
	s, _ := there.Of("/").Socket(a.goes.SID)
	if err := s.Join(t.Context(), "room"); err != nil {
		t.Fatal(err)
	}
	a.say(1)
	a.goes.Until("n", a.said-1)
	redistest.Eventually(t, "the session has the room", func() bool {
		session, err := a.session(1, a.goes.PID)
		return err == nil && session != nil && slices.Contains(session.Rooms, "room")
	})
	until := func() int64 {
		l := a.kafka[1].servers.Open()[0].sessions
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.table.entries["/"][a.goes.PID].until
	}
	before := until()
	a.goes.Conn.Cut()
	redistest.Eventually(t, "the end of the session is written", func() bool { return until() < before }) // of one who is connected it is kept for longer

	gaps := cutOff.Stats().Gaps
	a.trim(a.log(), 5)
	a.trim(a.sessions(), 0)
	link.Mend()
	redistest.Eventually(t, "the node goes on", func() bool { return cutOff.Stats().State == Up && cutOff.Stats().Gaps >= gaps+2 })
	a.back(0, "unknown")
}

// TestSecrets has clients come with what is none of theirs.
func TestSecrets(t *testing.T) {
	opts := options(t, fake(t).ListenAddrs()...)
	a := newAbsence(t, opts, opts)
	a.say(0)
	a.goes.Until("n", a.said-1)
	early := a.goes.Offset
	a.say(1)
	a.goes.Until("n", a.said-1)
	mark, rest, _ := strings.Cut(early, "-")
	epoch, _, _ := strings.Cut(rest, "-")
	other := a.kafka[0].servers.Open()[0]
	elsewhere := &bus{broker: other, local: adaptertest.NewNode("/elsewhere"), log: a.log()}
	at, _ := other.readers.position(a.log())
	for name, test := range map[string]struct{ pid, offset, want string }{
		"a secret that is none":             {"AAAAAAAAAAAAAAAAAAAA", early, "unknown"},
		"a secret with a zero":              {"\x00", early, "unknown"},
		"a long secret":                     {strings.Repeat("x", 10_000), early, "unknown"},
		"an offset that is none":            {"", "hello", "gap"},
		"a number alone":                    {"", rest, "gap"},
		"an offset of the future":           {"", early + "zz", "gap"},
		"an offset of an impossible leader": {"", mark + "-zzzzzzzz-1", "gap"},
		"an offset of a later leader":       {"", mark + "-zz-" + strings.TrimPrefix(rest, epoch+"-"), "gap"},
		"an offset before the client came":  {"", mark + "-" + epoch + "-0", "gap"},
		"a negative offset":                 {"", mark + "-" + epoch + "--1", "gap"},
		"an offset of another namespace":    {"", elsewhere.offsetOf(at), "gap"},
		"an offset of another topic":        {"", strings.Repeat("0", markLength) + "-" + rest, "gap"},
		"a client that has got nothing":     {"", early, "recovered"},
	} {
		c := returning.NewCounting(t)
		c.Settle(a.nodes[0])
		c.Conn.Cut()
		if c.Offset = test.offset; test.pid != "" {
			c.PID = test.pid
		}
		if test.offset == early {
			c.Offset = ""
		}
		if got := a.comes(c, 1); got != test.want {
			t.Errorf("%s: it is %q, want %q", name, got, test.want)
		}
		c.Conn.Cut()
	}

	// One that was used: whoever leaves takes it along.
	a.goes.Conn.Send("41")
	redistest.Eventually(t, "the session is removed", func() bool {
		session, err := a.session(1, a.goes.PID)
		return err == nil && session == nil
	})
	if got := a.comes(a.goes, 1); got != "unknown" {
		t.Errorf("a secret of one who has left: it is %q", got)
	}
}

// TestTwoTakers has two connections at two nodes go on with one session at the same moment: one has it, and gets everything.
func TestTwoTakers(t *testing.T) {
	opts := options(t, fake(t).ListenAddrs()...)
	a := newAbsence(t, opts, opts)
	for range 4 {
		a.say(0)
		a.leave()
		a.say(1)
		takers := []*returning.Counting{a.goes, a.goes.Copy()}
		var coming sync.WaitGroup
		var goOn [2]bool
		for i, c := range takers {
			coming.Go(func() { goOn[i] = c.Come(a.nodes[i]) })
		}
		coming.Wait()
		if !goOn[0] && !goOn[1] {
			t.Fatalf("nobody goes on: %v, %v", a.nodes[0].Stats().Recovery, a.nodes[1].Stats().Recovery)
		}
		has, pokes := 0, 0
		redistest.Eventually(t, "one of them has the session", func() bool {
			n := 0
			pokes++
			for i, c := range takers {
				if s, ok := a.nodes[i].Of("/").Socket(c.SID); ok && goOn[i] {
					n++
					has = i
					_ = s.Join(t.Context(), fmt.Sprint("room", pokes)) // its node writes the session, and learns whose it is
				}
			}
			return n == 1
		})
		for i, c := range takers {
			if i != has {
				c.Conn.Cut()
			}
		}
		a.goes = takers[has]
		a.say(0)
		a.goes.Until("n", a.said-1)
	}
	if a.goes.Holes > 0 {
		t.Errorf("%d numbers are missing", a.goes.Holes)
	}
}

// TestRecoverySlow has clients go from node to node while everything takes long on its way to Kafka.
func TestRecoverySlow(t *testing.T) {
	addr := fake(t).ListenAddrs()[0]
	opts := options(t, addr)
	slow := through(opts, redistest.NewDelay(t, addr, 150*time.Millisecond))
	a := newAbsence(t, slow, slow)
	returning.Roam(t, a.nodes, 4, 60)
}

// TestStorm has 2,000 clients come back to a node at once: the log is read a few times, and each gets what it has missed.
func TestStorm(t *testing.T) {
	const clients, numbers = 2000, 300
	c := fake(t)
	n := join(t, options(t, c.ListenAddrs()...))[0]
	history, _, err := n.Adapter.(adapter.Historian).Keep(adapter.HistoryOptions{Retain: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	br := n.broker()
	log := logOf(&br.opts, "/chat")
	begun, _ := br.readers.position(log)
	n.sayAll(t, 1, numbers)
	n.hears(t, n, 1, numbers)
	at, _ := br.readers.position(log)
	missed := int(at.next - begun.next) // by who comes with the first offset
	var pages atomic.Int64
	c.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if f := req.(*kmsg.FetchRequest); f.MaxWaitMillis == 0 { // of past; the readers wait
			pages.Add(1)
		}
		return nil, nil, false
	})
	var coming sync.WaitGroup
	limits := adapter.HistoryLimits{Packets: 1000, Bytes: 1 << 20}
	for i := range clients {
		coming.Go(func() {
			want := i % (missed + 1)
			offset := br.buses["/chat"][0].offsetOf(position{at.topic, at.epoch, at.next - int64(want)})
			m, err := history.Missed(within(t), offset, []string{"x"}, limits)
			if err != nil || len(m.Events) != want {
				t.Errorf("client %d has missed %d events, %v, want %d", i, len(m.Events), err, want)
			}
		})
	}
	coming.Wait()
	if got := pages.Load(); got == 0 || got > clients/20 {
		t.Errorf("the log was read %d times", got)
	}
	t.Logf("the log was read %d times", pages.Load())
}

// TestExpired has one node of the cluster tell of clients that have not come back, also of one whose node was killed.
func TestExpired(t *testing.T) {
	opts := options(t, fake(t).ListenAddrs()...)
	told := make(chan string, 100)
	recovery := server.RecoveryOptions{
		MaxDisconnectionDuration: 500 * time.Millisecond,
		Expired:                  func(n *server.Namespace, e server.ExpiredSession) { told <- n.Name() + e.SocketID },
	}
	var nodes []*returning.Node
	for i := range 3 {
		nodes = append(nodes, returning.Start(t, New(&opts), fmt.Sprint("node", i), recovery))
	}
	dead := keepersIn(t, opts, 1, "/")[0]
	killed := adapter.SessionWrite{
		Session: &adapter.Session{SocketID: "killed", PID: "p", Rooms: []string{"killed"}}, Holder: "dead", TTL: time.Second, Told: true,
	}
	if _, err := dead.Write(within(t), []adapter.SessionWrite{killed}); err != nil {
		t.Fatal(err)
	}
	want, got := map[string]bool{"/killed": true}, map[string]bool{}
	for i := range 10 {
		c := returning.NewCounting(t)
		c.Come(nodes[i%3])
		if i < 5 {
			want["/"+c.SID] = true
			c.Conn.Cut()
		}
	}
	for range want {
		id := await(t, told)
		if !want[id] || got[id] {
			t.Errorf("told of %s, before: %v", id, got[id])
		}
		got[id] = true
	}
	late := returning.NewCounting(t) // whose end comes behind whatever else would be told of the others
	late.Come(nodes[0])
	late.Conn.Cut()
	if id := await(t, told); id != "/"+late.SID {
		t.Errorf("told of %s, want %s", id, late.SID)
	}
}
