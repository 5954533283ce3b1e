package kafkaadapter

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/kafkatest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// sayAll has a node say the numbers from first to last.
func (n *node) sayAll(t testing.TB, first, last int) {
	t.Helper()
	for i := first; i <= last; i++ {
		if err := n.say(t, i); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRemovedUnread has Kafka remove messages while a node is cut off: it counts them, a question that is open ends, and it goes on
// with the first that is there.
func TestRemovedUnread(t *testing.T) {
	server := kafkatest.Shared(t)
	link := redistest.NewLink(t, server.Addr)
	opts := options(t, server.Addr)
	nodes := join(t, opts, through(opts, link.Addr))
	there, cut := nodes[0], nodes[1]
	there.sayAll(t, 1, 10)
	cut.hears(t, there, 1, 10)

	link.Cut()
	cut.awaitState(t, Down)
	there.sayAll(t, 11, 100)
	redistest.Eventually(t, "all is in the log", func() bool { return there.kafka.Stats().Queued == 0 })
	admin := kadm.NewClient(server.Client())
	log := logOf(&there.kafka.opts, "/chat")
	ends, err := admin.ListEndOffsets(within(t), log.topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(log.topic, log.partition)
	var until kadm.Offsets
	until.AddOffset(log.topic, log.partition, end.Offset-20, -1)
	if _, err := admin.DeleteRecords(within(t), until); err != nil {
		t.Fatal(err)
	}
	before := cut.kafka.Stats()
	link.Mend()
	there.sayAll(t, 101, 110)
	redistest.Eventually(t, "the node goes on", func() bool { return slices.Contains(cut.numbers(t, there), 110) })
	if got := runs(cut.numbers(t, there)); got != "1-10 81-110 " {
		t.Errorf("heard %s", got)
	}
	s := cut.kafka.Stats()
	if lost, gaps := s.Lost-before.Lost, s.Gaps-before.Gaps; lost < 70 || gaps != 1 {
		t.Errorf("%d records were lost in %d gaps", lost, gaps)
	}
	if broken := cut.broker().BrokerStats().LogBroken; broken != s.Gaps {
		t.Errorf("%d gaps are told, want %d", broken, s.Gaps)
	}
}

// TestNewTopic deletes topics and has them made anew: the nodes notice it, go on with the new ones from their start, and count it.
func TestNewTopic(t *testing.T) {
	server := kafkatest.Shared(t)
	opts := options(t, server.Addr)
	nodes := join(t, opts, opts)
	from, to := nodes[0], nodes[1]
	from.sayAll(t, 1, 10)
	to.hears(t, from, 1, 10)
	admin := kadm.NewClient(server.Client())
	for i, topic := range []string{opts.Prefix + ".log", opts.Prefix + ".direct", opts.Prefix + ".control"} {
		if _, err := admin.DeleteTopics(within(t), topic); err != nil {
			t.Fatal(err)
		}
		redistest.Eventually(t, "both notice that "+topic+" is another one", func() bool {
			return from.kafka.Stats().NewTopics > uint64(i) && to.kafka.Stats().NewTopics > uint64(i)
		})
		from.awaitState(t, Up)
		to.awaitState(t, Up)
	}
	first := 1000
	redistest.Eventually(t, "messages cross again", func() bool {
		first++
		_ = from.say(t, first)
		return len(to.numbers(t, from)) > 10
	})
	redistest.Eventually(t, "a question is answered", func() bool {
		r, err := from.FetchSockets(within(t), adapter.Selection{}, adapter.Flags{})
		return err == nil && r.Complete()
	})
	got := to.numbers(t, from)
	if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("heard %s", runs(got))
	}
}

// TestGarbage writes what is no record of ours to every topic: it is counted, and costs nobody anything.
func TestGarbage(t *testing.T) {
	c := fake(t)
	opts := options(t, c.ListenAddrs()...)
	nodes := join(t, opts, opts)
	from, to := nodes[0], nodes[1]
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	header := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	good := []kgo.RecordHeader{header("v", "1"), header("from", "other"), header("kind", "broadcast"), header("nsp", "/chat")}
	count := uint64(0)
	b := to.broker()
	for _, at := range []place{logOf(&b.opts, "/chat"), b.inbox, b.control} {
		for _, r := range []*kgo.Record{
			{Value: []byte("something else")},
			{},
			{Headers: []kgo.RecordHeader{header("v", "2"), header("from", "other"), header("kind", "broadcast")}},
			{Headers: []kgo.RecordHeader{header("v", "1"), header("kind", "broadcast")}},
			{Headers: append(slices.Clone(good), header("at", "yesterday"))},
			{Headers: append(slices.Clone(good), header("order", "1,2"))},
			{Headers: append(slices.Clone(good), header("order", "1,2,99999999999999999999"))},
			{Headers: append(slices.Clone(good), header("more", strings.Repeat("x", 100_000)))},
			{Headers: slices.Repeat([]kgo.RecordHeader{header("v", "1")}, 1000)},
			{Headers: append(slices.Clone(good), header("to", string(b.id))), Value: []byte("no envelope")},
		} {
			r.Topic, r.Partition = at.topic, at.partition
			if err := client.ProduceSync(within(t), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
			count++
		}
	}
	from.sayAll(t, 1, 10)
	to.hears(t, from, 1, 10)
	redistest.Eventually(t, "all garbage is counted", func() bool { return to.kafka.Stats().BadFrames >= count-1 })
	if r, err := from.FetchSockets(within(t), adapter.Selection{}, adapter.Flags{}); err != nil || !r.Complete() {
		t.Errorf("a question ended with %v, %v", r, err)
	}
	if to.state() != Up {
		t.Error("garbage has brought the node down")
	}
}

// TestTooLarge has messages that are longer than their topic takes: they are refused at once, and cost the others nothing.
func TestTooLarge(t *testing.T) {
	server := kafkatest.Shared(t)
	opts := options(t, server.Addr)
	full := opts.withDefaults()
	for _, topic := range full.topics() {
		limit := "20000"
		if _, err := kadm.NewClient(server.Client()).CreateTopic(within(t), int32(topic.partitions), 1, map[string]*string{"max.message.bytes": &limit}, topic.name); err != nil {
			t.Fatal(err)
		}
	}
	nodes := join(t, opts, opts)
	from, to := nodes[0], nodes[1]
	for i := 1; i <= 100; i++ { // more than one batch
		if err := from.say(t, i); err != nil {
			t.Fatal(err)
		}
		if i%10 > 0 {
			continue
		}
		err := from.Broadcast(event(t, "long", strings.Repeat("x", 30_000)), adapter.Selection{}, adapter.Flags{})
		if !errors.Is(err, adapter.ErrClusterUnavailable) || !errors.Is(err, errTooLarge) {
			t.Fatalf("a message that is too long ended with %v", err)
		}
		if err := from.Broadcast(event(t, "short", strings.Repeat("x", 15_000)), adapter.Selection{}, adapter.Flags{}); err != nil {
			t.Fatal(err)
		}
	}
	to.hears(t, from, 1, 100)
	if s := from.kafka.Stats(); s.Dropped["toolarge"] != 10 || len(s.Failed) > 0 || s.State != Up {
		t.Errorf("%+v", s)
	}
}

// testRightsMissing has a node that may not do what it needs: it says what is missing, fails at once, and works when it may.
func testRightsMissing(t *testing.T, server *kafkatest.Broker) {
	opts := guarded(t, server)
	wrong := opts
	wrong.SASL = &SASL{ScramSHA256, "node", "wrong"}
	stranger := start(t, wrong)
	redistest.Eventually(t, "a wrong password is told", func() bool { return trouble(stranger.kafka.Stats().Reason) == "auth" })
	n := start(t, opts)
	n.awaitState(t, Down)
	text := ""
	t.Cleanup(func() { t.Log("the last reason was", text) })
	reason := func() string {
		if err := n.kafka.Stats().Reason; err != nil {
			text = err.Error()
			return text
		}
		return ""
	}
	redistest.Eventually(t, "it says what is missing", func() bool { return strings.Contains(reason(), "READ, WRITE and DESCRIBE") })
	admin := kadm.NewClient(server.Client())
	rights := func(op kadm.ACLOperation) *kadm.ACLBuilder {
		return kadm.NewACLs().Allow("User:node").AllowHosts("*").Operations(op).ResourcePatternType(kadm.ACLPatternPrefixed).Topics(opts.Prefix)
	}
	allow := func(op kadm.ACLOperation) {
		t.Helper()
		if _, err := admin.CreateACLs(within(t), rights(op)); err != nil {
			t.Fatal(err)
		}
	}
	allow(kadm.OpDescribe)
	redistest.Eventually(t, "it tells how to create the topic", func() bool { return strings.Contains(reason(), "kafka-topics.sh") })
	allow(kadm.OpCreate)
	redistest.Eventually(t, "it may not write", func() bool { return strings.Contains(reason(), "needs the operation WRITE") })
	allow(kadm.OpWrite)
	redistest.Eventually(t, "it may not read", func() bool {
		return strings.Contains(reason(), "TOPIC_AUTHORIZATION_FAILED") && strings.Contains(reason(), "read partition")
	})
	allow(kadm.OpRead)
	n.works(t)
	if _, err := admin.DeleteACLs(within(t), rights(kadm.OpWrite)); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, "it may not write any more", func() bool {
		_ = n.say(t, 1)
		return strings.Contains(reason(), "refuses to write")
	})
	allow(kadm.OpWrite)
	n.works(t)
	if err := n.kafka.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
}

// works waits until what a node says is taken.
func (n *node) works(t testing.TB) {
	t.Helper()
	before := n.kafka.Stats().Sent
	redistest.Eventually(t, "it works", func() bool {
		_ = n.say(t, 2)
		return n.state() == Up && n.kafka.Stats().Sent > before+5
	})
}

// TestReceipt: the broker's answer brings the place in the log, once.
func TestReceipt(t *testing.T) {
	c := fake(t)
	opts := options(t, c.ListenAddrs()...)
	from := join(t, opts, opts)[0]
	receipts := make(chan adapter.Receipt, 10)
	for range 2 {
		flags := adapter.Flags{Direction: &adapter.Direction{Receipt: func(r adapter.Receipt) { receipts <- r }}}
		if err := from.Broadcast(event(t, "x"), adapter.Selection{}, flags); err != nil {
			t.Fatal(err)
		}
	}
	first, second := await(t, receipts), await(t, receipts)
	if first.Err != nil || second.Err != nil || first.Receivers != -1 || first.Offset >= second.Offset || first.Offset == "" {
		t.Errorf("receipts %+v, %+v", first, second)
	}
}

func await[T any](t testing.TB, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-within(t).Done():
		t.Fatal("nothing came")
	}
	return v
}
