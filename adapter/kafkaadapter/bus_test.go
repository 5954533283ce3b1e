package kafkaadapter

import (
	"context"
	"errors"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/envelope"
	"github.com/sockeye-io/sockeye/internal/redistest"
	"github.com/sockeye-io/sockeye/server/parser"
)

// TestSkipped: what is for another node, or for a room that nobody here is in, goes no further than its headers, and costs no
// message its place in the order.
func TestSkipped(t *testing.T) {
	c := fake(t)
	opts := options(t, c.ListenAddrs()...)
	opts.DirectPartitions = 1 // all nodes share their inboxes' partition
	nodes := join(t, opts, opts, opts)
	from, to, third := nodes[0], nodes[1], nodes[2]
	to.local.Connect("s", "red")
	redistest.Eventually(t, "nothing is under way", func() bool { return from.kafka.Stats().Queued == 0 })
	before := third.kafka.Stats()
	for range 10 {
		if err := from.Broadcast(event(t, "in red"), adapter.Selection{Rooms: []string{"red"}}, adapter.Flags{}); err != nil {
			t.Fatal(err)
		}
		err := from.Adapter.(adapter.Director).ServerSideEmitTo(adapter.NodeID(to.id), parser.Payload{JSON: []byte(`["directed"]`)})
		if err != nil {
			t.Fatal(err)
		}
		if err := from.Broadcast(event(t, "to all"), adapter.Selection{}, adapter.Flags{}); err != nil {
			t.Fatal(err)
		}
	}
	redistest.Eventually(t, "all have heard what is for them", func() bool { return len(to.got()) == 20 && len(third.got()) == 10 })
	if n := third.kafka.Stats().Foreign - before.Foreign; n < 20 {
		t.Errorf("the third node has skipped %d records", n)
	}
	for _, n := range nodes[1:] {
		if o := n.Adapter.(adapter.Clustered).Order(); o.Late > 0 || o.Skipped > 0 {
			t.Errorf("the order was given up: %+v", o)
		}
	}
}

// TestCount: Kafka does not count, and says so, but that it is away.
func TestCount(t *testing.T) {
	c := fake(t)
	n := join(t, options(t, c.ListenAddrs()...))[0]
	b, err := newBus(n.broker(), n.local)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Count(within(t)); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := b.Nodes(within(t)); !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	if ids, err := n.broker().Absent(within(t), []adapter.NodeID{"a"}); ids != nil || err != nil {
		t.Error(ids, err)
	}
	c.Close()
	n.awaitState(t, Down)
	if _, err := b.Count(context.Background()); !errors.Is(err, adapter.ErrClusterUnavailable) {
		t.Error(err)
	}
}

// TestUnopened: of a record that is thrown away unread its body alone is kept, without all that was fetched with it, and of what is no
// broadcast nothing.
func TestUnopened(t *testing.T) {
	b := &bus{}
	var err error
	if b.all, err = envelope.New("history", "/", everything); err != nil {
		t.Fatal(err)
	}
	codec, err := envelope.New("sender", "/", everything)
	if err != nil {
		t.Fatal(err)
	}
	body, err := codec.Sharded(&adapter.Message{Kind: adapter.KindBroadcast, Packet: event(t, "kept")})
	if err != nil {
		t.Fatal(err)
	}
	a := &arrived{letter: letter{kind: kindNames[adapter.KindBroadcast], body: body}}
	u := b.unopened(a)
	size := len(body)
	clear(body) // of a buffer that is used for something else
	if m, err := u.Open(); err != nil || u.Size != size || m == nil || m.Packet == nil {
		t.Errorf("of %d bytes %d are kept, as %+v, %v", size, u.Size, m, err)
	}
	a.kind = kindNames[adapter.KindFetch]
	u = b.unopened(a)
	if m, err := u.Open(); err != nil || u.Size != 0 || m != nil {
		t.Errorf("of a question %d bytes are kept, as %+v, %v", u.Size, m, err)
	}
}
