package users_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

// keeping is a node of a cluster whose clients can go on, as far as the directory knows: with what its own memory has.
type keeping struct {
	adapter.Builder
	of *kept // shared by the nodes
}

type keepingCluster struct {
	adapter.Cluster
	of *kept
}

// kept is the history of a namespace of several nodes.
type kept struct {
	once     sync.Once
	history  adapter.History
	sessions adapter.SessionStore
}

type historian struct {
	of    *kept
	local adapter.Local
}

func (h historian) Keep(o adapter.HistoryOptions) (adapter.History, adapter.SessionStore, error) {
	h.of.once.Do(func() { h.of.history, h.of.sessions, _ = adapter.NewMemory(h.local).(adapter.Historian).Keep(o) })
	return h.of.history, h.of.sessions, nil
}

func (k keeping) Open(self adapter.Node, changed func(adapter.Node)) (adapter.Cluster, error) {
	c, err := k.Builder.Open(self, changed)
	return keepingCluster{c, k.of}, err
}

func (k keepingCluster) New(l adapter.Local) (adapter.Adapter, error) {
	a, err := k.Cluster.New(l)
	if err != nil {
		return nil, err
	}
	return struct {
		adapter.Clustered
		adapter.Historian
	}{a.(adapter.Clustered), historian{k.of, l}}, nil
}

// TestAwayElsewhere: a user with a client that may go on is not offline because its other client, on another node, has left.
func TestAwayElsewhere(t *testing.T) {
	for _, name := range []string{"first lost", "first lost before the other came"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, users.Options{Mixed: users.MixedOff})
				w.recovery = &server.RecoveryOptions{}
				of := new(kept)
				a := w.startServer("a", keeping{w.cluster.Node("a"), of})
				b := w.startServer("b", keeping{w.cluster.Node("b"), of})
				w.settle()
				come := func(n *node) *returner {
					r := newReturner(t)
					r.Come(n)
					s, _ := n.srv.Of("/").Socket(r.SID)
					if err := n.dir.Bind(t.Context(), s, "u", nil); err != nil {
						t.Fatal(err)
					}
					return r
				}
				r := come(a)
				var other *returner
				if name == "first lost" {
					other = come(b)
					r.Conn.Cut()
					time.Sleep(time.Second)
				} else {
					r.Conn.Cut()
					time.Sleep(time.Second)
					other = come(b)
				}
				time.Sleep(time.Second)
				other.Conn.Send("41")
				time.Sleep(15 * time.Second)
				for _, n := range []*node{a, b} {
					if err := n.emit("u", "x"); !errors.Is(err, users.ErrKept) {
						t.Errorf("from %s: %v", n.name, err)
					}
				}
				time.Sleep(3 * time.Minute)
				if err := a.emit("u", "x"); !errors.Is(err, users.ErrOffline) {
					t.Error(err)
				}
			})
		})
	}
}

// TestAwayAfterFailure: a client whose connection is lost while it goes on elsewhere, after its node was shut down, is still awaited.
func TestAwayAfterFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, users.Options{Mixed: users.MixedOff})
		w.recovery = &server.RecoveryOptions{}
		of := new(kept)
		a := w.startServer("a", keeping{w.cluster.Node("a"), of})
		b := w.startServer("b", keeping{w.cluster.Node("b"), of})
		w.settle()
		r := newReturner(t)
		r.Come(a)
		s, _ := a.srv.Of("/").Socket(r.SID)
		if err := a.dir.Bind(t.Context(), s, "u", nil); err != nil {
			t.Fatal(err)
		}
		if err := a.srv.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		reached := make(chan struct{})
		remove := b.srv.Of("/").OnRecover(func(ctx context.Context, _ *server.Socket) error {
			close(reached)
			<-ctx.Done()
			return nil
		})
		c := b.Dial(t, nil)
		c.Send(fmt.Sprintf(`40{"pid":%q}`, r.PID))
		<-reached
		remove()
		time.Sleep(time.Second)
		c.Cut()
		time.Sleep(15 * time.Second)
		if err := b.emit("u", "x"); !errors.Is(err, users.ErrKept) {
			t.Error(err)
		}
	})
}
