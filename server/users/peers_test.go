package users

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// alone is a directory whose only other node is one that it is told of.
func alone(t testing.TB, peer adapter.NodeID) *Directory {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	srv, err := server.New(&server.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	d, err := New(srv, Options{Store: NewMemoryStore(), Logger: quiet, Mixed: MixedOff})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		_ = d.Close()
	})
	d.members.put(&server.NodeChange{Node: adapter.Node{ID: peer, Life: string(peer), State: adapter.NodeAlive}, Served: []string{"/"}}, "/")
	return d
}

// BenchmarkLookup finds a user of another node in the cache.
func BenchmarkLookup(b *testing.B) {
	d := alone(b, "peer")
	for i := range 10_000 {
		d.cache.put(strings.Repeat("x", i%20)+"user", []adapter.NodeID{"peer"})
	}
	b.ReportAllocs()
	for b.Loop() {
		if p, err := d.locate(b.Context(), "xxxuser"); err != nil || len(p.nodes) != 1 {
			b.Fatalf("%+v, error %v", p, err)
		}
	}
	if n := d.Stats().Lookups; n > 0 {
		b.Errorf("the store was asked %d times", n)
	}
}

// FuzzPeers: whatever another node says, what this one knows of its own sockets stays, and the caches keep their bounds.
func FuzzPeers(f *testing.F) {
	for _, seed := range []any{
		notice{From: "peer", Hold: []string{"here", "there"}, Release: []string{"here"}},
		notice{From: "peer", User: "here", Holders: []adapter.NodeID{"peer", "nobody", ""}},
		presenceQuestion{Group: groupKey{Kind: oneRoom, Name: "here"}}, presenceQuestion{Count: true}, presenceQuestion{Group: groupKey{Kind: 200}},
		frame{Request: &request{From: "peer", Watch: []wish{{Group: groupKey{Kind: roomsWith, Name: "#"}}}}},
		frame{Request: &request{From: "peer", Drop: []groupKey{{}}}},
		frame{Update: &update{From: "peer", Stream: "s", Seq: 1, Begins: true, Set: []here{{seat: seat{User: "u"}, Sockets: -1}}}},
	} {
		text, err := json.Marshal(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	d := alone(f, "peer")
	client := servertest.New(f, d.srv, nil).Connect(f, "/", nil)
	s, _ := d.nsp.Socket(client.ID())
	d.add(s, "here")
	f.Fuzz(func(t *testing.T, text string) {
		var n notice
		if json.Unmarshal([]byte(text), &n) == nil {
			holds, err := d.told(t.Context(), n)
			if err != nil || len(holds) > len(n.Hold) {
				t.Errorf("%d users are held of %d, error %v", len(holds), len(n.Hold), err)
			}
		}
		var q presenceQuestion
		if json.Unmarshal([]byte(text), &q) == nil {
			if _, err := d.present(t.Context(), q); err != nil {
				t.Error(err)
			}
		}
		var fr frame
		if json.Unmarshal([]byte(text), &fr) == nil {
			if err := d.presence.heard(t.Context(), fr); err != nil {
				t.Error(err)
			}
		}
		if id, ok := d.userOfSocket(client.ID()); !ok || id != "here" || d.Stats().Users != 1 {
			t.Errorf("the socket has user %q, %v; %+v", id, ok, d.Stats())
		}
		if d.cache.len() > 0 {
			t.Error("what nobody has asked for is in the cache")
		}
	})
}
