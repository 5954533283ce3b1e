package kafkaadapter

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/internal/outflow"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestOutdated: what a node reads long after it was said, because it was frozen or cut off, is done if it is of use later, and dropped
// otherwise. What was kept from being said is not.
func TestOutdated(t *testing.T) {
	server := kafkatest.Shared(t)
	link := redistest.NewLink(t, server.Addr)
	opts := options(t, server.Addr)
	nodes := join(t, opts, through(opts, link.Addr))
	there, cut := nodes[0], nodes[1]
	redistest.Eventually(t, "the nodes know the broker's clock", func() bool {
		return there.broker().clock.now() > 0 && cut.broker().clock.now() > 0
	})
	link.Cut()
	cut.awaitState(t, Down)
	said := time.Now()
	for _, what := range []struct {
		name  string
		flags adapter.Flags
	}{{"kept", adapter.Flags{}}, {"volatile", adapter.Flags{Volatile: true}}, {"kept too", adapter.Flags{}}} {
		if err := there.Broadcast(event(t, what.name), adapter.Selection{}, what.flags); err != nil {
			t.Fatal(err)
		}
	}
	if r, _ := there.FetchSockets(within(t), adapter.Selection{}, adapter.Flags{Timeout: time.Second}); r.Complete() {
		t.Error("a node that is cut off has answered")
	}
	redistest.Eventually(t, "time passes", func() bool { return time.Since(said) > staleAfter+time.Second })
	link.Mend()
	redistest.Eventually(t, "what is of use arrives", func() bool { return slices.Contains(cut.got(), `["kept too"]`) })
	if got := cut.got(); !slices.Equal(got, []string{`["kept"]`, `["kept too"]`}) {
		t.Errorf("heard %q", got)
	}
	if s := cut.kafka.Stats(); s.Outdated < 2 || s.Lost > 0 {
		t.Errorf("%+v", s)
	}
}

func (n *node) broker() *broker { return n.kafka.servers.Open()[0] }

// logReader returns what reads the log.
func (n *node) logReader() *reader {
	rs := n.broker().readers
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.list[logOf(&rs.opts, "/chat")]
}

// TestQueue: while Kafka is away messages wait up to a limit and an age; what is more, or older, is refused or dropped, with a receipt.
// Afterwards everything works.
func TestQueue(t *testing.T) {
	server := kafkatest.Victim(t)
	opts := options(t, server.Addr)
	limited := opts
	limited.QueueLimit, limited.QueueAge = 100_000, 4*time.Second
	nodes := join(t, limited, opts)
	from, to := nodes[0], nodes[1]
	server.Kill()
	from.awaitState(t, Down)
	receipts := make(chan adapter.Receipt, 1000)
	long := strings.Repeat("x", 10_000)
	accepted, refused := 0, 0
	for range 20 {
		flags := adapter.Flags{Direction: &adapter.Direction{Receipt: func(r adapter.Receipt) { receipts <- r }}}
		switch err := from.Broadcast(event(t, "long", long), adapter.Selection{}, flags); {
		case err == nil:
			accepted++
		case errors.Is(err, adapter.ErrQueueFull):
			refused++
		default:
			t.Fatal(err)
		}
	}
	if accepted < 5 || refused < 5 {
		t.Errorf("%d were accepted and %d refused", accepted, refused)
	}
	for range accepted {
		if r := await(t, receipts); !errors.Is(r.Err, adapter.ErrClusterUnavailable) {
			t.Errorf("receipt %+v", r)
		}
	}
	s := from.kafka.Stats()
	if s.Dropped[outflow.Full] != uint64(refused) || s.Dropped[outflow.Stale]+s.Failed["timeout"] < uint64(accepted) || s.Queued > 2 {
		t.Errorf("%+v", s)
	}
	server.Start()
	from.awaitState(t, Up)
	to.awaitState(t, Up)
	from.sayAll(t, 1, 100)
	to.hears(t, from, 1, 100)
	if len(receipts) > 0 {
		t.Errorf("%d receipts came twice", len(receipts))
	}
}

// TestSlowNode: what a node cannot keep up with waits in Kafka, and nothing is lost.
func TestSlowNode(t *testing.T) {
	c := fake(t)
	opts := options(t, c.ListenAddrs()...)
	slow := opts
	slow.FeedLimit = 50_000
	nodes := join(t, opts, slow)
	from, to := nodes[0], nodes[1]
	to.local.mu.Lock() // nothing is delivered
	stopped := func() bool { return to.logReader().flow.is() }
	last := 0
	redistest.Eventually(t, "the reading stops", func() bool {
		from.sayAll(t, last+1, last+100)
		last += 100
		return stopped()
	})
	from.sayAll(t, last+1, last+1000)
	last += 1000
	redistest.Eventually(t, "all is in the log", func() bool { return from.kafka.Stats().Queued == 0 })
	r := to.logReader()
	if waiting := r.feed.Waiting(); waiting > 2_000_000 {
		t.Errorf("%d bytes wait", waiting)
	}
	to.local.mu.Unlock()
	to.hears(t, from, 1, last)
	redistest.Eventually(t, "the reading goes on", func() bool { return !stopped() })
}

// TestLeaderKilled kills the broker that leads a namespace's partition, of three: what is said meanwhile arrives, in order and once.
func TestLeaderKilled(t *testing.T) {
	onlyLong(t)
	servers := kafkatest.Cluster(t, 3, nil)
	opts := options(t, servers.Addrs()...)
	opts.ReplicationFactor = 3
	nodes := join(t, opts, opts)
	from, to := nodes[0], nodes[1]
	at := logOf(&from.kafka.opts, "/chat")
	servers.InSync(at.topic)
	stop := from.stream(t)
	redistest.Eventually(t, "messages arrive", func() bool { return len(to.numbers(t, from)) > 100 })
	servers.Leader(at.topic, at.partition).Kill()
	killed := time.Now()
	heard := len(to.numbers(t, from))
	redistest.Eventually(t, "messages arrive again", func() bool { return len(to.numbers(t, from)) > heard+50 })
	t.Logf("messages crossed again after %v", time.Since(killed))
	from.awaitState(t, Up)
	to.awaitState(t, Up)
	to.hears(t, from, 1, stop())
	redistest.Eventually(t, "a question is answered", func() bool {
		r, err := from.FetchSockets(within(t), adapter.Selection{}, adapter.Flags{})
		return err == nil && r.Complete()
	})
}

// TestMovedPartition has a leader step down under way: nobody notices.
func TestMovedPartition(t *testing.T) {
	c := fake(t, kfake.NumBrokers(3))
	opts := options(t, c.ListenAddrs()...)
	nodes := join(t, opts, opts)
	from, to := nodes[0], nodes[1]
	changes := from.kafka.Stats().StateChanges + to.kafka.Stats().StateChanges
	stop := from.stream(t)
	at := logOf(&from.kafka.opts, "/chat")
	for i := range 6 {
		heard := len(to.numbers(t, from))
		redistest.Eventually(t, "messages arrive", func() bool { return len(to.numbers(t, from)) > heard+20 })
		if err := c.MoveTopicPartition(at.topic, at.partition, int32(i%3)); err != nil {
			t.Fatal(err)
		}
	}
	to.hears(t, from, 1, stop())
	if n := from.kafka.Stats().StateChanges + to.kafka.Stats().StateChanges; n != changes {
		t.Errorf("the states have changed %d times", n-changes)
	}
}

// TestTwoServers opens two servers on one adapter, which are two nodes.
func TestTwoServers(t *testing.T) {
	c := fake(t)
	opts := options(t, c.ListenAddrs()...)
	k := New(&opts)
	for range 2 {
		cluster, err := k.Open(adapter.Node{ID: adapter.NewNodeID(), Name: "n" + string(adapter.NewNodeID())}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
	}
	if err := k.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	if s := k.Stats(); s.State != Up || s.Partitions != 4 {
		t.Errorf("%+v", s)
	}
}

// TestOptions refuses what cannot work.
func TestOptions(t *testing.T) {
	for name, opts := range map[string]Options{
		"no seeds":          {},
		"prefix":            {Seeds: []string{"a:1"}, Prefix: "a/b"},
		"partitions":        {Seeds: []string{"a:1"}, LogPartitions: -1},
		"replication":       {Seeds: []string{"a:1"}, ReplicationFactor: -1},
		"mechanism":         {Seeds: []string{"a:1"}, SASL: &SASL{Mechanism: "GUESS"}},
		"message too short": {Seeds: []string{"a:1"}, MaxMessage: 10},
	} {
		opts.Logger = quiet()
		if opts.Validate() == nil {
			t.Errorf("%s: Validate finds nothing", name)
		}
		if c, err := New(&opts).Open(adapter.Node{ID: adapter.NewNodeID(), Name: "n"}, nil); err == nil {
			t.Errorf("%s: no error", name)
			c.Close()
		}
	}
}

// TestCloseInTrouble closes a node while the broker is frozen, and while it is gone: that takes a moment, and ends everything.
func TestCloseInTrouble(t *testing.T) {
	server := kafkatest.Victim(t)
	opts := options(t, server.Addr)
	frozen, gone := join(t, opts)[0], start(t, opts)
	gone.awaitState(t, Up)
	server.Freeze()
	for i, n := range []*node{frozen, gone} {
		if i == 1 {
			server.Thaw()
			server.Kill()
		}
		n.sayAll(t, 1, 10)
		began := time.Now()
		n.close()
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("closing took %v", took)
		}
		if err := n.say(t, 11); !errors.Is(err, adapter.ErrClosed) {
			t.Errorf("after that: %v", err)
		}
	}
}

// TestOwnClocks: a volatile packet says that it is one also if Kafka does not stamp records itself, so that its age is seen.
func TestOwnClocks(t *testing.T) {
	c := fake(t)
	opts := options(t, c.ListenAddrs()...)
	full := opts.withDefaults()
	at := logOf(&full, "/chat")
	client := clientOf(t, opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{at.topic: {at.partition: kgo.NewOffset().AtStart()}}))
	for _, topic := range full.topics() { // with Kafka's defaults
		if _, err := kadm.NewClient(client).CreateTopic(within(t), int32(topic.partitions), 1, nil, topic.name); err != nil {
			t.Fatal(err)
		}
	}
	n := join(t, opts)[0]
	if err := n.Broadcast(event(t, "v"), adapter.Selection{}, adapter.Flags{Volatile: true}); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "the packet is written", func() bool {
		for _, r := range client.PollFetches(within(t)).Records() {
			if l, err := new(names).open(r); err == nil && l.kind == "broadcast" {
				if l.at == 0 {
					t.Error("the packet does not say that it may be too old")
				}
				return true
			}
		}
		return false
	})
}
