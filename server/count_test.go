package server_test

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server"
)

// TestCount counts and names sockets, on one node and on all, with one that does not answer.
func TestCount(t *testing.T) {
	nodes, cluster := startCluster(t, server.Options{})
	main := nodes[0].Of("/")
	var sids []string
	for _, n := range nodes {
		_, s := n.connect(t)
		sids = append(sids, s.ID())
	}
	if err := main.To(sids[0], sids[1]).SocketsJoin("room"); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		op          server.BroadcastOperator
		here, total int
	}{
		"all":             {main.Except(), 1, 3},
		"room":            {main.To("room"), 1, 2},
		"room and socket": {main.To("room", sids[0]), 1, 2},
		"except":          {main.Except("room"), 0, 1},
		"nobody":          {main.To("nobody"), 0, 0},
		"local":           {main.Local(), 1, 1},
	} {
		eventually(t, name, func() bool {
			count, err := tt.op.Count(t.Context())
			return err == nil && count.Complete() && count.Sockets == tt.total
		})
		ids, err := tt.op.IDs(t.Context())
		if err != nil || !ids.Complete() || len(ids.Values) != tt.total {
			t.Errorf("%s: ids %v, %v; want %d", name, ids, err, tt.total)
		}
		if n, local := tt.op.LocalCount(), tt.op.LocalIDs(); n != tt.here || len(local) != tt.here || tt.here == 1 && local[0] != sids[0] {
			t.Errorf("%s: %d here, %v; want %d", name, n, local, tt.here)
		}
	}
	if rooms := main.LocalRooms(); len(rooms) != 2 || !slices.Contains(rooms, "room") || !slices.Contains(rooms, sids[0]) {
		t.Errorf("rooms here: %v", rooms)
	}
	if n, ids := main.LocalCount(), main.LocalIDs(); n != 1 || !slices.Equal(ids, sids[:1]) {
		t.Errorf("namespace: %d, %v", n, ids)
	}
	cluster.Cut("b")
	defer cluster.Heal("b")
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	count, err := main.Count(short)
	if !errors.Is(err, context.DeadlineExceeded) || count.Sockets != 2 || count.Complete() || !slices.Equal(count.Missing, []adapter.NodeID{"b"}) {
		t.Errorf("one is cut off: %+v, %v", count, err)
	}
	short, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	ids, err := main.IDs(short)
	if !errors.Is(err, context.DeadlineExceeded) || len(ids.Values) != 2 || !slices.Equal(ids.Missing, []adapter.NodeID{"b"}) {
		t.Errorf("one is cut off: %+v, %v", ids, err)
	}
}

// teller is an adapter that has no own way to count.
type teller struct{ adapter.Adapter }

// TestCountWithout counts where the adapter can only describe.
func TestCountWithout(t *testing.T) {
	n := start(t, &server.Options{Adapter: adapter.BuilderFunc(func(l adapter.Local) (adapter.Adapter, error) {
		return teller{adapter.NewMemory(l)}, nil
	})})
	_, s := n.connect(t)
	n.connect(t)
	count, err := n.Of("/").Count(t.Context())
	if err != nil || count.Sockets != 2 || !count.Complete() {
		t.Errorf("%+v, %v", count, err)
	}
	ids, err := n.Of("/").To(s.ID()).IDs(t.Context())
	if err != nil || !slices.Equal(ids.Values, []string{s.ID()}) {
		t.Errorf("%+v, %v", ids, err)
	}
}

// TestCountOfChildren: a parent counts its children on this node; there is no answer for the whole cluster.
func TestCountOfChildren(t *testing.T) {
	n := start(t, &server.Options{Adapter: new(adaptertest.Cluster).Node("a")})
	parent := n.OfPattern(regexp.MustCompile(`^/dyn-\d$`))
	p := n.websocket(t)
	want := []string{p.join("/dyn-1", ""), p.join("/dyn-2", "")}
	got := parent.LocalIDs()
	slices.Sort(got)
	slices.Sort(want)
	if n := parent.LocalCount(); n != 2 || !slices.Equal(got, want) || parent.To(want[0]).LocalCount() != 1 {
		t.Errorf("%d sockets, %v, want %v", n, got, want)
	}
	if _, err := parent.Local().Count(t.Context()); !errors.Is(err, server.ErrParentNamespace) {
		t.Error(err)
	}
	if _, err := parent.Local().IDs(t.Context()); !errors.Is(err, server.ErrParentNamespace) {
		t.Error(err)
	}
}

func BenchmarkLocalCount(b *testing.B) {
	srv, err := server.New(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { srv.Close() })
	op := srv.Of("/").To("room")
	b.ReportAllocs()
	for b.Loop() {
		op.LocalCount()
	}
}
