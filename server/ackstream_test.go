package server_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/server"
)

// TestBroadcastWithAckSeq takes the replies in the order in which they come, with those of sockets that go or say something else.
func TestBroadcastWithAckSeq(t *testing.T) {
	n := start(t, nil)
	a, sa := n.connect(t)
	b, sb := n.connect(t)
	c, sc := n.connect(t)
	peers := []*peer{c, a, b}
	var got []string
	answered := 0
	answer := func() {
		if answered == len(peers) {
			return
		}
		p := peers[answered]
		answered++
		p.expect(`20["how many","?"]`)
		switch p {
		case a:
			p.send(`30["no number"]`)
		case b:
			p.close()
		default:
			p.send(`30[7,"ignored"]`)
		}
	}
	replies := server.BroadcastWithAckSeq[int](t.Context(), n.Of("/"), "how many", "?")
	go answer() // the others when the one before has come
	for r, err := range replies {
		got = append(got, fmt.Sprintf("%s %d %d %v %v", r.SocketID, r.Value, r.Expected, err != nil, errors.Is(err, server.ErrAckMissing)))
		answer()
	}
	want := []string{sc.ID() + " 7 3 false false", sa.ID() + " 0 3 true false", sb.ID() + " 0 3 true true"}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	if pending := n.Stats().PendingAcks; pending != 0 {
		t.Errorf("%d acks pending", pending)
	}
}

// TestBroadcastWithAckSeqBreak breaks off after the first of three replies, and asks again: the late answers go nowhere.
func TestBroadcastWithAckSeqBreak(t *testing.T) {
	nodes, _ := startCluster(t, server.Options{})
	var peers []*peer
	for _, n := range nodes {
		p, _ := n.connect(t)
		peers = append(peers, p)
	}
	replies := server.BroadcastWithAckSeq[string](t.Context(), nodes[0].Of("/"), "ask")
	for round := range 3 {
		first := round % len(peers)
		ids := make([]string, len(peers)) // of the packets: each node counts for itself
		go func() {
			for i, p := range peers {
				ids[i] = ackIDOf(p.next())
			}
			peers[first].send("3" + ids[first] + fmt.Sprintf(`["answer %d"]`, round))
		}()
		taken := 0
		for r, err := range replies {
			if taken++; err != nil || r.Value != fmt.Sprint("answer ", round) {
				t.Fatalf("round %d: %+v, %v", round, r, err)
			}
			break
		}
		if pending := nodes[0].Stats().PendingAcks; taken != 1 || pending != 0 {
			t.Errorf("round %d: %d replies taken, %d acks pending", round, taken, pending)
		}
		for i, p := range peers {
			if i != first {
				p.send("3" + ids[i] + `["too late"]`)
			}
		}
	}
}

// ackIDOf cuts the id out of an event without arguments.
func ackIDOf(packet string) string {
	var id int
	if _, err := fmt.Sscanf(packet, `2%d["ask"]`, &id); err != nil {
		return packet
	}
	return fmt.Sprint(id)
}

// TestBroadcastWithAckSeqEnds holds what comes last, and how often the event is sent.
func TestBroadcastWithAckSeqEnds(t *testing.T) {
	n := start(t, nil)
	main := n.Of("/")
	p, s := n.connect(t)
	all := func(ctx context.Context, to server.Broadcaster, event string, args ...any) (ids []string, errs []error) {
		for r, err := range server.BroadcastWithAckSeq[int](ctx, to, event, args...) {
			ids, errs = append(ids, r.SocketID), append(errs, err)
		}
		return ids, errs
	}
	short, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	ids, errs := all(short, main, "ask")
	if !slices.Equal(ids, []string{s.ID(), ""}) || !errors.Is(errs[0], server.ErrAckMissing) || !errors.Is(errs[1], server.ErrAckTimeout) {
		t.Errorf("without time: %q, %v", ids, errs)
	}
	p.expect(`20["ask"]`)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, errs := all(cancelled, main, "ask"); len(errs) != 2 || !errors.Is(errs[1], context.Canceled) {
		t.Errorf("cancelled: %v", errs)
	}
	p.expect(`21["ask"]`)
	if _, errs := all(t.Context(), main.To("nobody"), "ask"); errs != nil {
		t.Errorf("nobody: %v", errs)
	}
	if _, errs := all(t.Context(), main.To(), "ask"); errs != nil {
		t.Errorf("an empty list: %v", errs)
	}
	if _, errs := all(t.Context(), main, "disconnect"); len(errs) != 1 || !errors.Is(errs[0], server.ErrReservedEvent) {
		t.Errorf("a reserved event: %v", errs)
	}
	parent := n.OfPattern(regexp.MustCompile("^/x$"))
	if _, errs := all(t.Context(), parent, "ask"); len(errs) != 1 || !errors.Is(errs[0], server.ErrParentNamespace) {
		t.Errorf("a parent: %v", errs)
	}

	replies := server.BroadcastWithAckSeq[int](t.Context(), main, "count")
	for round := range 2 {
		go func() { p.send("3" + fmt.Sprint(ackIDOfCount(p.next())) + fmt.Sprintf(`[%d]`, round)) }()
		for r, err := range replies {
			if err != nil || r.Value != round {
				t.Errorf("round %d: %+v, %v", round, r, err)
			}
		}
	}
}

func ackIDOfCount(packet string) int {
	id := -1
	_, _ = fmt.Sscanf(packet, `2%d["count"]`, &id)
	return id
}
