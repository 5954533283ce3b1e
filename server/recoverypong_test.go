package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// busy has a namespace send something to others every second for a while.
func busy(t *testing.T, n *server.Namespace, d time.Duration) {
	t.Helper()
	for range int(d / time.Second) {
		must(t, n.To("others").Emit("not", 1))
		time.Sleep(time.Second)
	}
}

// TestRecoveryQuiet: a client that has got nothing for long, while others have got more than is kept, goes on: its pongs say what it has got.
func TestRecoveryQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, stop := startInMemory(t, recovering(server.RecoveryOptions{}))
		main := n.Of("/")
		var silent, heard returner // one has never got anything
		n.come(t, &silent)
		n.come(t, &heard)
		s, _ := main.Socket(heard.sid)
		must(t, main.To(heard.sid).Emit("own", 1))
		heard.await(`["own",1]`)
		heard.check(`["own",1]`)
		must(t, s.Join(t.Context(), "red"))
		busy(t, main, 20*time.Minute)
		for _, r := range []*returner{&silent, &heard} {
			r.close()
		}
		must(t, main.Emit("all", 1), main.To("red").Emit("red", 1))
		busy(t, main, time.Minute)
		if !n.come(t, &silent) || !n.come(t, &heard) {
			t.Fatalf("they start anew: %v", n.Stats().Recovery)
		}
		silent.check(`["all",1]`)
		heard.check(`["all",1]`, `["red",1]`)
		silent.close()
		heard.close()
		stop()
	})
}

// TestRecoveryPongs: what is sent behind a ping is not had because the ping is answered. A client that loses its connection just then gets
// it, once, however often that happens.
func TestRecoveryPongs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, stop := startInMemory(t, recovering(server.RecoveryOptions{}))
		main := n.Of("/")
		var r returner
		n.come(t, &r)
		for i := range 60 {
			time.Sleep(time.Duration(i*3+1) * time.Second) // 25 s is a ping
			synctest.Wait()
			must(t, main.Emit("n", i))
			r.close()
			synctest.Wait()
			if !n.come(t, &r) {
				t.Fatalf("it starts anew: %v", n.Stats().Recovery)
			}
			r.check(fmt.Sprintf(`["n",%d]`, i))
		}
		r.close()
		stop()
	})
}

// TestRecoveryQuietNamespaces: a pong is one of all sockets of a connection, those of dynamic namespaces, too.
func TestRecoveryQuietNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, stop := startInMemory(t, recovering(server.RecoveryOptions{}))
		n.Of("/")
		n.Of("/b")
		n.OfFunc(func(_ context.Context, name string, _ json.RawMessage) bool { return name == "/dynamic" })
		names, pids := []string{"/", "/b", "/dynamic"}, map[string]string{}
		connect := func(p *peer, name, auth string) (pid string) {
			p.send("0" + name + "," + auth)
			for {
				m := p.next()
				if rest, ok := strings.CutPrefix(m, "0"); ok {
					var reply struct{ PID string }
					must(t, json.Unmarshal([]byte(rest[strings.Index(rest, "{"):]), &reply))
					return reply.PID
				}
			}
		}
		p := n.websocket(t)
		for _, name := range names {
			pids[name] = connect(p, name, "")
		}
		for range 600 {
			for _, name := range names {
				must(t, n.Of(name).To("others").Emit("not", 1))
			}
			time.Sleep(time.Second)
		}
		p.close()
		synctest.Wait()
		p = n.websocket(t)
		for _, name := range names {
			if pid := connect(p, name, fmt.Sprintf(`{"pid":%q}`, pids[name])); pid != pids[name] {
				t.Errorf("%s starts anew: %v", name, n.Stats().Recovery)
			}
		}
		p.close()
		stop()
	})
}

// historyOf is an adapter of which the test knows the history.
type historyOf struct {
	keeperAdapter
	history *adapter.History
}

func (a historyOf) Keep(o adapter.HistoryOptions) (adapter.History, adapter.SessionStore, error) {
	h, s, err := a.keeperAdapter.Keep(o)
	*a.history = h
	return h, s, err
}

// TestKeeperQuiet: the session of a client that gets nothing for long is written with what it has got until its last pongs. So it can go on
// when its node is killed.
func TestKeeperQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var last *adapter.Session
		var history adapter.History
		write := func(writes []adapter.SessionWrite) error {
			mu.Lock()
			defer mu.Unlock()
			last = writes[len(writes)-1].Session
			return nil
		}
		o := recovering(server.RecoveryOptions{})
		o.Adapter = adapter.BuilderFunc(func(l adapter.Local) (adapter.Adapter, error) {
			return historyOf{keeperAdapter{adapter.NewMemory(l), keeperStore{write: write, taken: new(atomic.Bool)}}, &history}, nil
		})
		n, stop := startInMemory(t, o)
		main := n.Of("/")
		var r returner
		n.come(t, &r)
		busy(t, main, 20*time.Minute)
		mu.Lock()
		session := last
		mu.Unlock()
		must(t, main.Emit("all", 1))
		missed, err := history.Missed(t.Context(), session.Offset, session.Rooms, adapter.HistoryLimits{Packets: 10, Bytes: 1 << 20})
		if session.SocketID != r.sid || err != nil || len(missed.Events) != 1 {
			t.Errorf("with the session of %s the client misses %d events, %v", session.SocketID, len(missed.Events), err)
		}
		r.close()
		stop()
	})
}
