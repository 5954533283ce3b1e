package server_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// keeperStore is a store that outlives the node, as far as the node knows.
type keeperStore struct {
	adapter.SessionStore
	write func(writes []adapter.SessionWrite) error
	taken *atomic.Bool // another node has every session
}

func (s keeperStore) Take(ctx context.Context, pid string, _ adapter.NodeID) (*adapter.Session, error) {
	return s.Load(ctx, pid)
}

func (s keeperStore) Write(ctx context.Context, writes []adapter.SessionWrite) ([]bool, error) {
	if err := s.write(writes); err != nil {
		return nil, err
	}
	held := make([]bool, len(writes))
	for i, w := range writes {
		if held[i] = !s.taken.Load(); held[i] {
			_ = s.Save(ctx, w.Session, w.TTL) // in memory it does not fail
		}
	}
	return held, nil
}

type keeperAdapter struct {
	adapter.Adapter
	store keeperStore
}

func (a keeperAdapter) Keep(o adapter.HistoryOptions) (adapter.History, adapter.SessionStore, error) {
	h, s, err := a.Adapter.(adapter.Historian).Keep(o)
	a.store.SessionStore = s
	return h, a.store, err
}

func withKeeper(o *server.Options, taken *atomic.Bool, write func([]adapter.SessionWrite) error) *server.Options {
	o.Adapter = adapter.BuilderFunc(func(l adapter.Local) (adapter.Adapter, error) {
		return keeperAdapter{adapter.NewMemory(l), keeperStore{write: write, taken: taken}}, nil
	})
	return o
}

// TestKeeperAway: a client that comes back while the store is away starts anew soon, and a server ends in time.
func TestKeeperAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := errors.New("away")
		n, stop := startInMemory(t, withKeeper(recovering(server.RecoveryOptions{}), new(atomic.Bool), func([]adapter.SessionWrite) error { return away }))
		n.Of("/")
		var r returner
		n.come(t, &r)
		r.close()
		synctest.Wait()
		began := time.Now()
		if n.come(t, &r) {
			t.Error("went on")
		}
		if took := time.Since(began); took > 3*time.Second || n.Stats().Recovery["failed"] != 1 {
			t.Errorf("answered after %v, %v", took, n.Stats().Recovery)
		}
		r.close()
		began = time.Now()
		stop()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the server ended after %v", took)
		}
	})
}

// TestKeeperSameConnection: a client that leaves a namespace and comes back to it keeps its connection, which another one uses.
func TestKeeperSameConnection(t *testing.T) {
	n := start(t, withKeeper(recovering(server.RecoveryOptions{}), new(atomic.Bool), func([]adapter.SessionWrite) error { return nil }))
	n.Of("/")
	n.Of("/b")
	p := n.websocket(t)
	p.send("0")
	pid := regexp.MustCompile(`"pid":"([^"]+)"`).FindStringSubmatch(p.next())[1]
	p.send("0/b,")
	p.next()
	p.send("1")
	p.send(fmt.Sprintf(`0{"pid":%q}`, pid))
	if m := p.next(); !strings.HasPrefix(m, "0{") {
		t.Errorf("got %s", m)
	}
	must(t, n.Of("/b").Emit("x", 1))
	if m := p.next(); !strings.HasPrefix(m, `2/b,["x",1,`) {
		t.Errorf("got %s", m)
	}
}

// TestKeeperTaken: the last client of a dynamic namespace goes on elsewhere, which ends the namespace from the goroutine that has found
// it out.
func TestKeeperTaken(t *testing.T) {
	var taken atomic.Bool
	o := recovering(server.RecoveryOptions{})
	o.CleanupEmptyChildNamespaces = true
	n := start(t, withKeeper(o, &taken, func([]adapter.SessionWrite) error { return nil }))
	n.OfPattern(regexp.MustCompile("^/d"))
	p := n.websocket(t)
	p.send("0/d1,")
	p.next()
	taken.Store(true)
	for _, s := range n.Of("/d1").Sockets() {
		must(t, s.Data().Set("a", 1))
	}
	p.expectClosed()
	eventually(t, "no worker waits", func() bool { return n.Stats().Workers == 0 })
}

// TestRecoveryAgain: in memory, too, a client goes on that was refused for now, or that was lost again before it had gone on.
func TestRecoveryAgain(t *testing.T) {
	n := start(t, recovering(server.RecoveryOptions{}))
	main := n.Of("/")
	var fail, slow atomic.Bool
	reached := make(chan struct{}, 1)
	main.UseAlways(func(ctx context.Context, _ *server.Socket) error {
		switch {
		case fail.CompareAndSwap(true, false):
			return &server.ClientError{Message: "token expired"}
		case slow.CompareAndSwap(true, false):
			reached <- struct{}{}
			<-ctx.Done()
		}
		return nil
	})
	var r returner
	n.come(t, &r)
	must(t, main.Emit("x", 1))
	r.await(`["x",1]`)
	r.close()
	auth := fmt.Sprintf(`0{"pid":%q,"offset":%q}`, r.pid, r.offset)
	fail.Store(true)
	p := n.websocket(t)
	p.send(auth)
	p.expect(`4{"message":"token expired"}`)
	slow.Store(true)
	q := n.websocket(t)
	q.send(auth)
	await(t, reached)
	q.close()
	must(t, main.Emit("y", 1))
	r.got = nil
	if !n.come(t, &r) {
		t.Errorf("did not go on, %v", n.Stats().Recovery)
	}
	r.check(`["y",1]`)
}

// TestRecoveryForgedOffset: a client gets nothing that was sent before it came.
func TestRecoveryForgedOffset(t *testing.T) {
	n := start(t, recovering(server.RecoveryOptions{}))
	main := n.Of("/")
	must(t, main.To("secret").Emit("before", 1), main.Emit("before", 2))
	var r returner
	n.come(t, &r)
	s, _ := main.Socket(r.sid)
	must(t, s.Join(t.Context(), "secret"), main.Emit("x", 1))
	r.await(`["x",1]`)
	r.close()
	r.got, r.offset = nil, r.offset[:strings.Index(r.offset, "-")+1]+"0"
	if n.come(t, &r) {
		t.Error("went on")
	}
	r.check()
	if got := n.Stats().Recovery; got["gap"] != 1 {
		t.Errorf("results %v", got)
	}
}

// TestKeeperChangesFirst: what has changed is written soon, also while the sessions of many sockets are renewed.
func TestKeeperChangesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sockets, changed = 2000, 10
		var wrote atomic.Int64
		o := recovering(server.RecoveryOptions{MaxDisconnectionDuration: 10 * time.Second})
		n, stop := startInMemory(t, withKeeper(o, new(atomic.Bool), func(writes []adapter.SessionWrite) error {
			for _, w := range writes {
				if strings.Contains(string(w.Session.Data.JSON), `"a":1`) {
					wrote.Add(1)
				}
			}
			return nil
		}))
		defer stop()
		n.Of("/")
		for range sockets {
			n.come(t, new(returner))
		}
		time.Sleep(5*time.Second + 10*time.Millisecond)
		for _, s := range n.Of("/").Sockets()[:changed] {
			must(t, s.Data().Set("a", 1))
		}
		time.Sleep(2 * 50 * time.Millisecond)
		synctest.Wait()
		if got := wrote.Load(); got < changed {
			t.Errorf("%d of %d changes are written within two turns", got, changed)
		}
	})
}
