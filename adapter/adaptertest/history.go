package adaptertest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/parser"
)

// RunHistory runs the suite that every adapter passes that is an adapter.Historian, on clusters of the given number of nodes. If what it
// keeps sessions in is an adapter.SessionKeeper or an adapter.SessionReaper, that is checked, too.
func RunHistory(t *testing.T, nodes int, newCluster NewCluster) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T, h *historians)
	}{
		{"Missed", testMissed},
		{"Remembered", testRemembered},
		{"NotKept", testNotKept},
		{"Limits", testHistoryLimits},
		{"Offsets", testHistoryOffsets},
		{"OtherHistory", func(t *testing.T, h *historians) { testOtherHistory(t, h, newCluster) }},
		{"Order", testHistoryOrder},
		{"ComeBack", testComeBack},
		{"Sessions", testSessions},
		{"Holders", testHolders},
		{"Takers", testTakers},
		{"Reapers", testReapers},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, startKeeping(t, nodes, "/chat", newCluster)) })
	}
}

// historians are the nodes of a cluster that keeps what it broadcasts in one namespace.
type historians struct {
	adapters  []adapter.Adapter
	nodes     []*Node
	histories []adapter.History
	stores    []adapter.SessionStore
	sockets   []*Socket // one of each node, in room red
	sent      int
}

func startKeeping(t *testing.T, nodes int, namespace string, newCluster NewCluster) *historians {
	t.Helper()
	h := &historians{}
	c := &cluster{} // for what it waits for
	for i, b := range newCluster(t, nodes) {
		n := NewNode(namespace)
		cl, err := b.Open(adapter.Node{ID: adapter.NewNodeID(), Name: fmt.Sprint("node", i)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := cl.New(n)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = a.Close()
			_ = cl.Close()
		})
		keeper, ok := a.(adapter.Historian)
		if !ok {
			t.Fatal("the adapter keeps no history")
		}
		history, store, err := keeper.Keep(adapter.HistoryOptions{Retain: 2 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if o, ok := a.(adapter.RoomObserver); ok {
			n.Observe(o)
		}
		h.adapters, h.nodes = append(h.adapters, a), append(h.nodes, n)
		h.histories, h.stores = append(h.histories, history), append(h.stores, store)
		h.sockets = append(h.sockets, n.Connect(fmt.Sprint("socket", i), "red"))
	}
	c.nodes, c.adapters = h.nodes, h.adapters
	for i, a := range h.adapters {
		c.awaitCount(t, i, nodes)
		c.awaitJoined(patient(t), t, a, h.nodes[i].Rooms())
		awaitPosition(t, h.histories[i], "")
	}
	for i, offset := range h.settle(t) { // which a socket gets a moment before its node stands behind it
		awaitPosition(t, h.histories[i], offset)
	}
	return h
}

// awaitPosition waits until a node knows where it stands, and that is not before an offset.
func awaitPosition(t *testing.T, h adapter.History, offset string) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for ctx := patient(t); ; {
		if p := h.Position(); p != "" && (offset == "" || h.Compare(p, offset) >= 0) {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("the node never stands behind %q", offset)
		}
	}
}

// send broadcasts the next number from a node.
func (h *historians) send(t *testing.T, node int, sel adapter.Selection, flags adapter.Flags) (text string) {
	t.Helper()
	h.sent++
	p := event(t, h.nodes[node].Name(), "n", h.sent)
	if err := h.adapters[node].Broadcast(p, sel, flags); err != nil {
		t.Fatal(err)
	}
	return string(p.JSON)
}

// settle waits until every node has delivered something that each of them has sent now, and returns the offsets of the last one at each
// node.
func (h *historians) settle(t *testing.T) (offsets []string) {
	t.Helper()
	for i := range h.nodes {
		for offsets = h.mark(t, i); slices.Contains(offsets, ""); offsets = h.mark(t, i) { // the broker was slow
		}
	}
	for _, s := range h.sockets {
		s.take()
	}
	return offsets
}

// mark sends something from a node and returns the offsets with which the nodes have delivered it, "" for none.
func (h *historians) mark(t *testing.T, node int) (offsets []string) {
	t.Helper()
	text := h.send(t, node, adapter.Selection{}, adapter.Flags{})
	for j, n := range h.nodes {
		n.await(t, fmt.Sprintf("%s of node %d at node %d", text, node, j), func() bool {
			i := slices.IndexFunc(h.sockets[j].got, func(d Delivery) bool { return plain(d) == text })
			if i >= 0 {
				offsets = append(offsets, h.sockets[j].got[i].Flags.Offset)
			}
			return i >= 0
		})
	}
	return offsets
}

// plain is the event of a delivery without its offset.
func plain(d Delivery) string {
	_, text, _ := cutEvent(d.Text)
	if d.Flags.Offset == "" {
		return text
	}
	return withoutLast(text)
}

// cutEvent takes the type and the namespace from the wire form of a packet.
func cutEvent(text string) (head, event string, ok bool) {
	for i, c := range text {
		if c == '[' {
			return text[:i], text[i:], true
		}
	}
	return "", text, false
}

// withoutLast takes the last argument, which is an offset, from an event.
func withoutLast(text string) string {
	var list []json.RawMessage
	if json.Unmarshal([]byte(text), &list) != nil || len(list) < 2 {
		return text
	}
	short, err := json.Marshal(list[:len(list)-1])
	if err != nil {
		return text
	}
	return string(short)
}

var someLimits = adapter.HistoryLimits{Packets: 10_000, Bytes: 4 << 20}

// missed returns what came after an offset for a socket in rooms, at a node, without the offsets.
func (h *historians) missed(t *testing.T, node int, offset string, rooms ...string) (events []string) {
	t.Helper()
	m, err := h.histories[node].Missed(within(t), offset, rooms, someLimits)
	if err != nil {
		t.Fatalf("missed at node %d after %q: %v", node, offset, err)
	}
	last := ""
	for _, e := range m.Events {
		at := lastArgument(t, e)
		if last != "" && h.histories[node].Compare(last, at) >= 0 {
			t.Errorf("offset %s comes behind %s", at, last)
		}
		if !m.Had(at) {
			t.Errorf("%s is said not to be had", at)
		}
		last = at
		events = append(events, withoutLast(string(e.JSON)))
	}
	return events
}

// lastArgument is the offset of an event.
func lastArgument(t *testing.T, e parser.Payload) string {
	t.Helper()
	var list []any
	if err := json.Unmarshal(e.JSON, &list); err != nil || len(list) == 0 {
		t.Fatalf("no event: %s", e.JSON)
	}
	offset, _ := list[len(list)-1].(string)
	if offset == "" {
		t.Fatalf("%s has no offset", e.JSON)
	}
	return offset
}

// wants compares what was missed.
func wants(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("missed %v, want %v", got, want)
	}
}

// testMissed: what was sent after an offset comes at every node, whoever has sent it, to those whom it selects.
func testMissed(t *testing.T, h *historians) {
	last := len(h.nodes) - 1
	begun := h.histories[last].Position()
	one := h.send(t, 0, adapter.Selection{}, adapter.Flags{})
	red := h.send(t, last, adapter.Selection{Rooms: []string{"red"}}, adapter.Flags{})
	own := h.send(t, 0, adapter.Selection{Rooms: []string{"gone"}}, adapter.Flags{})
	blue := h.send(t, 0, adapter.Selection{Rooms: []string{"blue", "red"}, Except: []string{"gone"}}, adapter.Flags{})
	before := h.sent
	offsets := h.settle(t)
	var marks []string
	for n := before + 1; n <= h.sent; n++ {
		marks = append(marks, fmt.Sprintf(`["n",%d]`, n))
	}
	for node := range h.nodes {
		cut := func(list []string) []string {
			return slices.DeleteFunc(list, func(event string) bool { return slices.Contains(marks, event) })
		}
		// With several senders their order among each other is the log's.
		got := cut(h.missed(t, node, begun, "gone", "red"))
		slices.Sort(got)
		want := []string{one, red, own}
		slices.Sort(want)
		wants(t, got, want...)
		wants(t, cut(h.missed(t, node, begun, "other", "blue")), one, blue)
		wants(t, h.missed(t, node, offsets[node], "gone", "red"))
	}
	for _, o := range offsets {
		if o != offsets[0] {
			t.Errorf("one event has the offsets %v", offsets)
		}
	}
}

// testRemembered: a node that was there gives a client what it has missed without a look at the log: what it has sent itself, what others
// have, and what is for rooms in which nobody was, here or anywhere. A log that has just begun may have breaks, behind each of which the nodes
// begin anew to remember.
func testRemembered(t *testing.T, h *historians) {
	for until := time.Now().Add(20 * time.Second); !t.Failed(); {
		readings := h.readings()
		remember(t, h)
		again := h.readings()
		if slices.Equal(readings, again) {
			return
		}
		if time.Now().After(until) {
			t.Errorf("the nodes have read the log %v times before, and %v times afterwards", readings, again)
		}
	}
}

// readings is how often the nodes have read the log, as far as they tell.
func (h *historians) readings() (list []uint64) {
	for _, history := range h.histories {
		if r, ok := history.(interface{ LogReadings() uint64 }); ok {
			list = append(list, r.LogReadings())
		}
	}
	return list
}

// remember asks each node for what came after its position.
func remember(t *testing.T, h *historians) {
	t.Helper()
	h.send(t, 0, adapter.Selection{}, adapter.Flags{}) // so that there is something that they remember
	h.settle(t)
	before := h.sent
	var began []string
	for _, history := range h.histories {
		began = append(began, history.Position())
	}
	var all, red, empty []string
	for i := range h.nodes {
		all = append(all, h.send(t, i, adapter.Selection{}, adapter.Flags{}))
		red = append(red, h.send(t, i, adapter.Selection{Rooms: []string{"red"}}, adapter.Flags{}))
		empty = append(empty, h.send(t, i, adapter.Selection{Rooms: []string{"empty"}}, adapter.Flags{}))
	}
	sent := h.sent
	h.settle(t)
	for node, offset := range began {
		for room, own := range map[string][]string{"red": red, "empty": empty, "other": nil} {
			got := slices.DeleteFunc(h.missed(t, node, offset, room), func(event string) bool {
				var n int
				_, err := fmt.Sscanf(event, `["n",%d]`, &n)
				return err == nil && (n <= before || n > sent) // by settle
			})
			slices.Sort(got) // several senders
			want := slices.Sorted(slices.Values(append(slices.Clone(all), own...)))
			wants(t, got, want...)
		}
	}
}

// testNotKept: what is of use for a moment only has no offset and is not missed.
func testNotKept(t *testing.T, h *historians) {
	begun := h.histories[0].Position()
	for _, flags := range []adapter.Flags{{Volatile: true}, {Local: true}} {
		h.send(t, 0, adapter.Selection{}, flags)
	}
	want := h.send(t, 0, adapter.Selection{}, adapter.Flags{})
	h.settle(t)
	wants(t, h.missed(t, len(h.nodes)-1, begun, "x")[:1], want)
}

func testHistoryLimits(t *testing.T, h *historians) {
	begun := h.histories[0].Position()
	for range 5 {
		h.send(t, 0, adapter.Selection{Rooms: []string{"x"}}, adapter.Flags{})
	}
	h.settle(t)
	for _, limits := range []adapter.HistoryLimits{{Packets: 4, Bytes: 1 << 20}, {Packets: 100, Bytes: 100}} {
		if _, err := h.histories[0].Missed(within(t), begun, []string{"x"}, limits); !errors.Is(err, adapter.ErrHistoryLimit) {
			t.Errorf("with %+v: %v", limits, err)
		}
	}
}

// testHistoryOffsets: what is no offset is a gap and comes before all that are some; so is one that is not there yet.
func testHistoryOffsets(t *testing.T, h *historians) {
	offset := h.settle(t)[0]
	for _, forged := range []string{
		"", "x", "-", offset + "x", offset + "-1", offset[1:], "99" + offset, offset + "999", "9999999999999-0", "\x00", "-1", "18446744073709551616",
	} {
		if _, err := h.histories[0].Missed(within(t), forged, []string{"x"}, someLimits); !errors.Is(err, adapter.ErrHistoryGap) {
			t.Errorf("%q: %v", forged, err)
		}
	}
	for _, none := range []string{"", "x", "\x00"} {
		if h.histories[0].Compare(none, offset) >= 0 {
			t.Errorf("%q does not come before %q", none, offset)
		}
	}
	if h.histories[0].Compare(offset, offset) != 0 {
		t.Errorf("%q is not itself", offset)
	}
}

// testOtherHistory: an offset of another cluster is none of this one.
func testOtherHistory(t *testing.T, h *historians, newCluster NewCluster) {
	var other historians
	t.Run("other", func(t *testing.T) { // which has a name of its own
		other = *startKeeping(t, 1, "/chat", newCluster)
		for range 10 {
			other.settle(t)
		}
		own := map[string]bool{}
		for i := range h.nodes {
			own[h.mark(t, i)[0]] = true
		}
		offset := other.settle(t)[0]
		for own[offset] { // the offsets of streams of Redis are times, and say nothing of a cluster
			offset = other.settle(t)[0]
		}
		if _, err := h.histories[0].Missed(within(t), offset, []string{"x"}, someLimits); !errors.Is(err, adapter.ErrHistoryGap) {
			t.Errorf("%q of another cluster: %v", offset, err)
		}
	})
}

// testHistoryOrder: all nodes deliver in one order, that of the offsets, whoever sends.
func testHistoryOrder(t *testing.T, h *historians) {
	const each = 100
	begun := h.histories[0].Position()
	h.everybodySends(t, each)
	h.settleTaking(t, each)
	want := h.missed(t, 0, begun, "x")
	for node := range h.nodes {
		wants(t, h.missed(t, node, begun, "x"), want...)
	}
}

// everybodySends has all nodes broadcast at the same time.
func (h *historians) everybodySends(t *testing.T, each int) {
	t.Helper()
	var sending sync.WaitGroup
	for i, a := range h.adapters {
		sending.Go(func() {
			for k := range each {
				if err := a.Broadcast(event(t, h.nodes[i].Name(), "from", i, k), adapter.Selection{}, adapter.Flags{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	sending.Wait()
}

// settleTaking waits until everything has come, and checks the order of the offsets at each node.
func (h *historians) settleTaking(t *testing.T, each int) {
	t.Helper()
	for i, n := range h.nodes {
		n.await(t, fmt.Sprint("everything at node ", i), func() bool { return len(h.sockets[i].got) >= each*len(h.nodes) })
		last := ""
		for _, d := range h.sockets[i].take() {
			if o := d.Flags.Offset; o != "" {
				if last != "" && h.histories[i].Compare(last, o) >= 0 {
					t.Errorf("node %d delivers %s behind %s", i, o, last)
				}
				last = o
			}
		}
	}
}

// again does something until the broker is not too slow for it.
func again(t *testing.T, do func() error) {
	t.Helper()
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	for ctx := patient(t); ; {
		err := do()
		if err == nil {
			return
		}
		if !errors.Is(err, adapter.ErrClusterUnavailable) || ctx.Err() != nil {
			t.Fatal(err)
		}
		<-pause.C
	}
}

// testComeBack: a socket that goes on in the middle of what everybody sends gets the rest once: what it has missed, and of what is
// delivered to it since it was selected again that which it has not.
func testComeBack(t *testing.T, h *historians) {
	const each = 300
	last := len(h.nodes) - 1
	begun := h.histories[last].Position()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.everybodySends(t, each)
	}()
	s := h.sockets[last]
	h.nodes[last].await(t, "the first", func() bool { return len(s.got) > each/3 })
	back := h.nodes[last].Connect("back")
	var m adapter.Missed
	again(t, func() (err error) {
		m, err = h.histories[last].Missed(within(t), begun, []string{"back"}, someLimits)
		return err
	})
	<-done
	h.nodes[last].await(t, "everything", func() bool { return len(s.got) >= each*len(h.nodes) })
	times := make(map[string]int)
	for _, e := range m.Events {
		times[withoutLast(string(e.JSON))]++
	}
	early := 0
	for _, d := range back.take() {
		if d.Flags.Offset == "" {
			early++ // the broker was too slow: it may come again
			times[plain(d)] = 1
		} else if !m.Had(d.Flags.Offset) {
			times[plain(d)]++
		}
	}
	for i := range h.nodes {
		for k := range each {
			if text := fmt.Sprintf(`["from",%d,%d]`, i, k); times[text] != 1 {
				t.Errorf("%s came %d times", text, times[text])
			}
		}
	}
	t.Logf("%d were missed, %d came without offset", len(m.Events), early)
}
