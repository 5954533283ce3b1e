package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/api"
)

// event is one of a stream.
type event struct{ name, data string }

// watcher is who reads a stream.
type watcher struct {
	t      *testing.T
	cancel context.CancelFunc
	over   chan struct{} // closed when the node has ended the stream

	mu sync.Mutex
	// Guarded by mu.
	status int
	header http.Header
	text   bytes.Buffer
	read   int           // events that were taken
	stuck  chan struct{} // not nil: writes wait until it is closed
	events []event       // that were taken, for the document
}

func (w *watcher) Header() http.Header { return w.header }
func (w *watcher) WriteHeader(status int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = status
}
func (w *watcher) Flush() {}

func (w *watcher) Write(p []byte) (int, error) {
	w.mu.Lock()
	stuck := w.stuck
	w.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

// trace opens a stream.
func (n *node) trace(secret, query string) *watcher {
	n.w.t.Helper()
	ctx, cancel := context.WithCancel(n.w.t.Context())
	w := &watcher{t: n.w.t, cancel: cancel, over: make(chan struct{}), status: http.StatusOK, header: make(http.Header)}
	r := httptest.NewRequestWithContext(ctx, "GET", "/v1/trace?"+query, nil)
	r.Header.Set("Authorization", "Bearer "+secret)
	go func() {
		defer close(w.over)
		n.api.ServeHTTP(w, r)
	}()
	n.w.t.Cleanup(func() { cancel(); <-w.over })
	synctest.Wait()
	return w
}

// take returns the events that have come since the last call.
func (w *watcher) take() (list []event) {
	w.t.Helper()
	time.Sleep(time.Second)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, block := range strings.Split(w.text.String(), "\n\n") {
		name, data, ok := strings.Cut(block, "\ndata: ")
		if ok {
			list = append(list, event{strings.TrimPrefix(name, "event: "), data})
		}
	}
	list, w.read = list[w.read:], len(list)
	w.events = append(w.events, list...)
	return list
}

// kinds tells in short what was traced: node, kind, event, acknowledgement and arguments; of who watches see sockets.
func kinds(list []event) string {
	var out []string
	for _, e := range list {
		var v struct {
			Node, Kind, Event string
			Ack               *int
			Ms                *float64
			Args              json.RawMessage
		}
		if e.name == "watching" {
			continue
		}
		if e.name != "trace" || json.Unmarshal([]byte(e.data), &v) != nil {
			out = append(out, e.name)
			continue
		}
		text := v.Node + " " + v.Kind + " " + v.Event
		if v.Ack != nil {
			text += fmt.Sprint("#", *v.Ack)
		}
		if v.Ms != nil {
			text += "ms"
		}
		out = append(out, strings.TrimSpace(text)+string(v.Args))
	}
	return strings.Join(out, "; ")
}

func (w *watcher) expect(want string) {
	w.t.Helper()
	if got := kinds(w.take()); got != want {
		w.t.Errorf("traced %s\nwant   %s", got, want)
	}
}

// sockets checks how many sockets the last event of its kind says are watched.
func (w *watcher) sockets(want int) {
	w.t.Helper()
	w.take()
	got := -1
	for _, e := range w.events {
		var v struct{ Sockets int }
		if e.name == "watching" && json.Unmarshal([]byte(e.data), &v) == nil {
			got = v.Sockets
		}
	}
	if got != want {
		w.t.Errorf("%d sockets are watched, want %d", got, want)
	}
}

// watching checks how many traces the nodes take part in.
func watching(t *testing.T, when string, want int, nodes ...*node) {
	t.Helper()
	synctest.Wait()
	for _, n := range nodes {
		if watches, _ := n.api.Watches(); watches != want {
			t.Errorf("%s: %s watches %d times, want %d", when, n.name, watches, want)
		}
	}
}

// TestTrace follows a user over two nodes.
func TestTrace(t *testing.T) {
	var all []event
	bubble(t, "n1 n2", func(t *testing.T, w *world, nodes []*node) {
		for _, n := range nodes {
			n.srv.Of("/").Handle("hello", server.FuncAck(func(_ context.Context, s *server.Socket, text string) (string, error) { return text + "!", nil }))
		}
		bob, ann := nodes[1].login("bob"), nodes[1].login("ann")
		s := nodes[0].trace(writeSecret, "user=bob&payloads=1")
		s.sockets(1)
		bob.EmitWithAck("hello", "x")
		ann.EmitWithAck("hello", "not traced")
		s.expect(`n2 received hello#0["x"]; n2 ack_sent #0ms["x!"]; n2 handled hello#0ms`)
		nodes[0].post("/v1/publish", `{"users":["bob"],"event":"news","args":[{"$binary":"AQI="}]}`, nil)
		s.expect(`n2 sent news[{"type":"Buffer","data":[1,2]}]`)
		go func() {
			_, _ = server.BroadcastWithAck[int](t.Context(), nodes[0].srv.Of("/").To(bob.ID()), "ask")
		}()
		bob.Expect("news", []byte{1, 2})
		bob.Expect("ask").Ack(1)
		s.expect("n2 sent ask#0[]; n2 ack_received #0ms[1]")
		also := nodes[0].login("bob")
		s.expect("n1 connected")
		time.Sleep(10 * time.Second)
		s.sockets(2)
		also.Client().Cut()
		s.expect("n1 disconnected")
		sb, _ := nodes[1].srv.Of("/").Socket(bob.ID())
		if err := nodes[1].dir.Bind(t.Context(), sb, "carl", nil); err != nil {
			t.Fatal(err)
		}
		bob.Emit("hello", "no longer bob")
		time.Sleep(10 * time.Second)
		s.expect("")
		s.sockets(0)
		watching(t, "traced", 1, nodes...)
		s.cancel()
		<-s.over
		watching(t, "not traced any more", 0, nodes...)
		if s.header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("type %q", s.header.Get("Content-Type"))
		}
		all = s.events
	})
	for _, e := range all {
		api.CheckEvent(t, e.name, []byte(e.data))
	}
}

// TestTraceSocket ends with the socket, and shows no arguments unless they are asked for.
func TestTraceSocket(t *testing.T) {
	bubble(t, "n1 n2", func(t *testing.T, w *world, nodes []*node) {
		bob := nodes[1].login("bob")
		s := nodes[0].trace(readSecret, "socket="+bob.ID())
		s.sockets(1)
		bob.Emit("secret", "password")
		s.expect("n2 received secret; n2 handled secretms")
		bob.Disconnect()
		s.expect("n2 disconnected")
		<-s.over
		watching(t, "the socket has gone", 0, nodes...)
		n := nodes[0]
		n.refused(n.ask(readSecret, "GET", "/v1/trace?socket="+bob.ID(), ""), 404, "unknown_socket")
		n.refused(n.ask(readSecret, "GET", "/v1/trace?user=bob&payloads=1", ""), 403, "forbidden")
		n.refused(n.ask(readSecret, "GET", "/v1/trace", ""), 400, "invalid")
		n.refused(n.ask(readSecret, "GET", "/v1/trace?user=a&socket=b", ""), 400, "invalid")
		n.refused(n.ask("", "GET", "/v1/trace?user=a", ""), 401, "unauthorized")
		watching(t, "all were refused", 0, nodes...)
	})
}

// TestTraceAbandoned: what a node that has died wanted to know ends with its lease, and one that comes takes part.
func TestTraceAbandoned(t *testing.T) {
	bubble(t, "n1 n2", func(t *testing.T, w *world, nodes []*node) {
		s := nodes[0].trace(readSecret, "user=bob")
		n3 := w.start("n3")
		time.Sleep(10 * time.Second)
		watching(t, "a node has come", 1, nodes[0], nodes[1], n3)
		time.Sleep(time.Minute)
		watching(t, "long after", 1, nodes[0], nodes[1], n3)
		w.cluster.Kill("n1")
		time.Sleep(time.Minute)
		watching(t, "the node that was asked has died", 0, nodes[1], n3)
		s.cancel()
	})
}

// TestTraceTooMuch: what is more than a trace carries is counted, on the node that sees it and on the one that is asked.
func TestTraceTooMuch(t *testing.T) {
	bubble(t, "n1 n2", func(t *testing.T, w *world, nodes []*node) {
		bob := nodes[1].login("bob")
		s := nodes[0].trace(readSecret, "user=bob")
		count := func() (traced, dropped int) {
			for _, e := range s.take() {
				switch e.name {
				case "trace":
					traced++
				case "dropped":
					var v struct{ Count int }
					if err := json.Unmarshal([]byte(e.data), &v); err != nil {
						t.Fatal(err)
					}
					dropped += v.Count
				}
			}
			return traced, dropped
		}
		to := nodes[1].srv.Of("/").To(bob.ID()).Local()
		for range 3000 {
			if err := to.Emit("flood"); err != nil {
				t.Fatal(err)
			}
		}
		if traced, dropped := count(); traced+dropped != 3000 || traced > 1000 || traced == 0 {
			t.Errorf("%d were traced, %d dropped, of 3000", traced, dropped)
		}
		stuck := make(chan struct{})
		s.mu.Lock()
		s.stuck = stuck
		s.mu.Unlock()
		for range 200 {
			if err := to.Emit("slowly"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(150 * time.Millisecond)
		}
		s.mu.Lock()
		s.stuck = nil
		s.mu.Unlock()
		close(stuck)
		if traced, dropped := count(); traced+dropped != 200 || dropped == 0 {
			t.Errorf("%d were traced, %d dropped, of 200 that nobody read", traced, dropped)
		}
	})
}

// TestManyTraces: ten run on one node, and the next one when one has ended.
func TestManyTraces(t *testing.T) {
	bubble(t, "n1", func(t *testing.T, w *world, nodes []*node) {
		n := nodes[0]
		var all []*watcher
		for range 10 {
			all = append(all, n.trace(readSecret, "user=bob"))
		}
		n.refused(n.ask(readSecret, "GET", "/v1/trace?user=bob", ""), 429, "too_many_traces")
		bob := n.login("bob")
		for _, s := range all {
			s.expect("n1 connected")
		}
		all[0].cancel()
		<-all[0].over
		n.trace(readSecret, "user=bob").sockets(1)
		bob.Emit("hello")
		all[9].expect("n1 received hello; n1 handled helloms")
	})
}
