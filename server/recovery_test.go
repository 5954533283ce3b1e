package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// returner is a client that comes back, as the npm client does: it remembers its secret, and the last argument of events that is a string.
type returner struct {
	*peer
	node        *node
	pid, offset string
	sid         string
	got         []string // events, without their offsets
}

// come connects, with the secret if there is one.
func (n *node) come(t testing.TB, r *returner) (recovered bool) {
	t.Helper()
	r.node, r.peer = n, n.websocket(t)
	return r.hello()
}

func (r *returner) hello() (recovered bool) {
	r.t.Helper()
	auth := ""
	if r.pid != "" {
		members := map[string]string{"pid": r.pid}
		if r.offset != "" {
			members["offset"] = r.offset
		}
		raw, _ := json.Marshal(members)
		auth = string(raw)
	}
	r.send("0" + auth)
	for {
		m := r.next()
		rest, connect := strings.CutPrefix(m, "0")
		if !connect {
			r.take(m)
			continue
		}
		var reply struct{ SID, PID string }
		if err := json.Unmarshal([]byte(rest), &reply); err != nil || reply.PID == "" {
			r.t.Fatalf("answer to CONNECT: %s", m)
		}
		recovered = r.pid == reply.PID
		if recovered != (r.sid == reply.SID) {
			r.t.Errorf("socket %s with secret %s became %s with %s", r.sid, r.pid, reply.SID, reply.PID)
		}
		if !recovered {
			r.offset = ""
		}
		r.sid, r.pid = reply.SID, reply.PID
		return recovered
	}
}

// take notes an event and its offset.
func (r *returner) take(m string) {
	r.t.Helper()
	if strings.HasPrefix(m, "b") { // an attachment
		return
	}
	var list []any
	_, text, _ := strings.Cut(m, "[")
	if err := json.Unmarshal([]byte("["+text), &list); err != nil {
		r.t.Fatalf("no event: %s", m)
	}
	if offset, ok := list[len(list)-1].(string); ok && r.pid != "" {
		r.offset = offset
		list = list[:len(list)-1]
	}
	raw, _ := json.Marshal(list)
	r.got = append(r.got, string(raw))
}

// await takes events until one has come.
func (r *returner) await(event string) {
	r.t.Helper()
	for len(r.got) == 0 || r.got[len(r.got)-1] != event {
		r.take(r.next())
	}
}

func (r *returner) check(want ...string) {
	r.t.Helper()
	if got := strings.Join(r.got, " "); got != strings.Join(want, " ") {
		r.t.Errorf("got %s, want %s", got, strings.Join(want, " "))
	}
	r.got = nil
}

func recovering(o server.RecoveryOptions) *server.Options { return &server.Options{Recovery: &o} }

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// TestRecovery lets a client come back to everything that can have happened meanwhile.
func TestRecovery(t *testing.T) {
	n := start(t, recovering(server.RecoveryOptions{}))
	main := n.Of("/")
	var r returner
	if n.come(t, &r) {
		t.Fatal("a new client has come back")
	}
	s, _ := main.Socket(r.sid)
	must(t, s.Join(t.Context(), "red"), s.Data().Set("name", "x"), main.Emit("a", 1), s.Emit("own", 1))
	r.await(`["own",1]`)
	r.check(`["a",1]`, `["own",1]`)
	r.close()
	eventually(t, "the socket is gone", func() bool { return n.Stats().Sockets == 0 })
	must(t, main.Emit("b", []byte{7}), main.To("red").Emit("room", 1), main.To("blue").Emit("not", 1), main.Except("red").Emit("not", 2),
		main.To(r.sid).Emit("id", 1), main.Volatile().Emit("not", 3), main.Local().Emit("not", 4))
	if !n.come(t, &r) {
		t.Fatal("the client has not come back")
	}
	r.check(`["b",{"_placeholder":true,"num":0}]`, `["room",1]`, `["id",1]`)
	s, ok := main.Socket(r.sid)
	var name string
	if !ok || !s.Recovered() || fmt.Sprint(s.Rooms()) != fmt.Sprint([]string{r.sid, "red"}) {
		t.Errorf("recovered %v, rooms %v", s.Recovered(), s.Rooms())
	}
	if _, err := s.Data().Load("name", &name); err != nil || name != "x" {
		t.Errorf("data %q, %v", name, err)
	}
	must(t, s.Emit("c", 1))
	r.await(`["c",1]`)
	if got := n.Stats().Recovery; got["recovered"] != 1 || got["unknown"]+got["gap"]+got["failed"] != 0 {
		t.Errorf("results %v", got)
	}
}

// TestRecoveryOffsets: a client that has received nothing goes on, one goes on again and again, and events that the history has not do
// not spoil the offset.
func TestRecoveryOffsets(t *testing.T) {
	n := start(t, recovering(server.RecoveryOptions{}))
	main := n.Of("/")
	must(t, main.Emit("before", 1))
	var r returner
	n.come(t, &r)
	for i := range 10 {
		s, _ := main.Socket(r.sid)
		if i == 5 {
			for want, emit := range map[string]func() error{
				`["text","spoils",null]`: func() error { return main.Volatile().Emit("text", "spoils") },
				`["name",null]`:          func() error { return main.Local().Emit("name") },
				`["own","spoils",null]`:  func() error { return s.Volatile().Emit("own", "spoils") },
			} {
				for !slices.Contains(r.got, want) { // a volatile event is dropped as long as the connection is busy
					r.got = nil
					must(t, main.Emit("first", 1), emit(), main.Emit("then", 1))
					r.await(`["then",1]`)
				}
			}
			r.got = nil
		}
		r.close()
		if i > 0 {
			must(t, main.To(r.sid).Emit("missed", i))
		}
		if !n.come(t, &r) {
			t.Fatalf("round %d: %v", i, n.Stats().Recovery)
		}
		if i > 0 {
			r.check(fmt.Sprintf(`["missed",%d]`, i))
		}
	}
	// An acknowledgement is asked for behind an event, with a text at the end.
	s, _ := main.Socket(r.sid)
	asked := make(chan error, 1)
	go func() {
		_, err := server.EmitWithAck[string](t.Context(), s, "ask", "text")
		asked <- err
	}()
	m := r.next()
	id, _, _ := strings.Cut(strings.TrimPrefix(m, "2"), "[")
	if !strings.HasSuffix(m, `["ask","text"]`) {
		t.Errorf("asked by %s", m)
	}
	r.send("3" + id + `["x"]`)
	must(t, <-asked)
}

// TestRecoveryRefused: what is no session, no offset or not all that was missed lets the client start anew, and costs nobody else anything.
func TestRecoveryRefused(t *testing.T) {
	tests := []struct {
		name, result string
		spoil        func(n *node, r *returner)
	}{
		{"a forged secret", "unknown", func(_ *node, r *returner) { r.pid = "AAAAAAAAAAAAAAAAAAAA" }},
		{"an offset that is none", "gap", func(_ *node, r *returner) { r.offset = "hello" }},
		{"an offset of the future", "gap", func(_ *node, r *returner) { r.offset += "zzz" }},
		{"an offset of another namespace", "gap", func(n *node, r *returner) {
			var other returner
			other.peer = n.websocket(r.t)
			other.send("0/other,")
			other.next()
			must(r.t, n.Of("/other").Emit("x", 1))
			m := other.next()
			r.offset = m[strings.LastIndex(m, ",\"")+2 : len(m)-2]
		}},
		{"too much", "limit", func(n *node, _ *returner) {
			for i := range 20 {
				must(n.t, n.Of("/").Emit("x", i))
			}
		}},
		{"too many bytes", "limit", func(n *node, _ *returner) { must(n.t, n.Of("/").Emit("x", strings.Repeat("x", 2000))) }},
		{"Recheck", "refused", func(n *node, _ *returner) { n.Of("/").Use(func(context.Context, *server.Socket) error { return nil }) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t, recovering(server.RecoveryOptions{
				MaxMissed: 10, MaxMissedBytes: 1000,
				Recheck: func(context.Context, *server.Socket) error {
					if tt.name == "Recheck" {
						return errors.New("no")
					}
					return nil
				},
			}))
			n.Of("/other")
			var r returner
			n.come(t, &r)
			must(t, n.Of("/").Emit("first", 1))
			r.await(`["first",1]`)
			r.close()
			eventually(t, "the socket is gone", func() bool { return n.Stats().Sockets == 0 })
			tt.spoil(n, &r)
			r.got = nil
			former := r.pid
			if n.come(t, &r) || r.pid == former {
				t.Errorf("went on with %s", former)
			}
			r.check()
			if got := n.Stats().Recovery; got[tt.result] != 1 || got["recovered"] != 0 {
				t.Errorf("results %v", got)
			}
			must(t, n.Of("/").Emit("after", 1))
			r.await(`["after",1]`)
		})
	}
}

// TestRecoveryReasons: who has left, or was told to go, starts anew.
func TestRecoveryReasons(t *testing.T) {
	for name, end := range map[string]func(r *returner, s *server.Socket){
		"client leaves":         func(r *returner, _ *server.Socket) { r.send("1") },
		"server disconnects":    func(_ *returner, s *server.Socket) { s.Disconnect() },
		"server closes":         func(_ *returner, s *server.Socket) { s.DisconnectClient() },
		"packet without a form": func(r *returner, _ *server.Socket) { r.send("9") },
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, recovering(server.RecoveryOptions{}))
			var r returner
			n.come(t, &r)
			s, _ := n.Of("/").Socket(r.sid)
			end(&r, s)
			eventually(t, "the socket is gone", func() bool { return n.Stats().Sockets == 0 })
			r.close()
			recovered := n.come(t, &r)
			if want := name == "packet without a form"; recovered != want {
				t.Errorf("recovered %v", recovered)
			}
		})
	}
}

// TestRecoveryTwice: of those who come with one secret at the same moment one goes on.
func TestRecoveryTwice(t *testing.T) {
	n := start(t, recovering(server.RecoveryOptions{}))
	var r returner
	n.come(t, &r)
	must(t, n.Of("/").Emit("x", 1))
	r.await(`["x",1]`)
	auth := fmt.Sprintf(`0{"pid":%q,"offset":%q}`, r.pid, r.offset)
	var twins [8]*peer
	for i := range twins {
		twins[i] = n.websocket(t)
	}
	for _, p := range twins {
		go p.send(auth)
	}
	// Whoever has gone on is succeeded by the next one, since a connection counts as dead when its secret comes again.
	eventually(t, "everybody is answered", func() bool {
		got := n.Stats()
		return got.Recovery["recovered"]+got.Recovery["unknown"]+got.Recovery["gone"] == uint64(len(twins)) && got.Connecting == 0
	})
	eventually(t, "one of them has gone on", func() bool { // who is counted may be about to make room for the next one
		var alive []*server.Socket
		for _, s := range n.Of("/").Sockets() {
			if s.Recovered() {
				alive = append(alive, s)
			}
		}
		return len(alive) == 1 && alive[0].ID() == r.sid
	})
	r.expectClosed()
}

// TestRecoveryExpires: a session ends in time, and the application is told.
func TestRecoveryExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var expired []server.ExpiredSession
		n, stop := startInMemory(t, recovering(server.RecoveryOptions{
			MaxDisconnectionDuration: time.Minute,
			Expired:                  func(_ *server.Namespace, e server.ExpiredSession) { expired = append(expired, e) },
		}))
		main := n.Of("/")
		var in, late returner
		n.come(t, &in)
		n.come(t, &late)
		must(t, main.Emit("x", 1))
		in.await(`["x",1]`)
		late.await(`["x",1]`)
		in.close()
		late.close()
		synctest.Wait()
		time.Sleep(59 * time.Second)
		for i := range 3 {
			must(t, main.Emit("y", i))
		}
		if !n.come(t, &in) {
			t.Errorf("a minute is not over: %v", n.Stats().Recovery)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n.come(t, &late) {
			t.Error("the minute is over")
		}
		if len(expired) != 1 || expired[0].SocketID == in.sid || len(expired[0].Rooms) != 1 {
			t.Errorf("expired %+v", expired)
		}
		in.close()
		late.close()
		stop()
	})
}

// TestRecoveryAmongMany has clients lose their connections at random, some before the server knows, while numbers are sent to all, to a
// room and to each: everybody gets each number once, in the order of its sender.
func TestRecoveryAmongMany(t *testing.T) {
	const clients, numbers = 12, 400
	n := start(t, recovering(server.RecoveryOptions{}))
	main := n.Of("/")
	main.HandleAnyOutgoing(func(context.Context, *server.Socket, *server.Event) {})
	all := make([]*returner, clients)
	sids := make([]string, clients)
	for i := range all {
		all[i] = new(returner)
		n.come(t, all[i])
		sids[i] = all[i].sid
		s, _ := main.Socket(sids[i])
		must(t, s.Join(t.Context(), "red"))
	}
	var sending, reading sync.WaitGroup
	for sender, emit := range []func(i int) error{
		func(i int) error { return main.Emit("all", i) },
		func(i int) error { return main.To("red").Emit("red", i) },
		func(i int) error {
			var errs []error
			for _, sid := range sids {
				errs = append(errs, main.To(sid).Emit("own", i))
			}
			return errors.Join(errs...)
		},
	} {
		_ = sender
		sending.Go(func() {
			pace := time.NewTicker(time.Millisecond)
			defer pace.Stop()
			for i := range numbers {
				<-pace.C
				must(t, emit(i))
			}
		})
	}
	for _, r := range all {
		reading.Go(func() {
			next := map[string]int{}
			seen := 0
			for seen < 3*numbers {
				r.take(r.next())
				if rand.IntN(40) == 0 {
					if rand.IntN(2) == 0 {
						r.close()
					}
					if !n.come(t, r) {
						t.Errorf("a client did not go on: %v", n.Stats().Recovery)
						return
					}
				}
				for _, e := range r.got {
					var list [2]any
					_ = json.Unmarshal([]byte(e), &list)
					name := list[0].(string)
					if got := int(list[1].(float64)); got != next[name] {
						t.Errorf("%s: got %d, want %d", name, got, next[name])
						return
					}
					next[name]++
					seen++
				}
				r.got = nil
			}
		})
	}
	sending.Wait()
	reading.Wait()
	if got := n.Stats().Recovery; got["recovered"] == 0 || got["gap"]+got["unknown"]+got["failed"] != 0 {
		t.Errorf("results %v", got)
	}
}

// TestRecoveryOwner: middlewares that say who a client is run always, and a session is its owner's alone.
func TestRecoveryOwner(t *testing.T) {
	n := start(t, recovering(server.RecoveryOptions{}))
	main := n.Of("/")
	var mu sync.Mutex
	who := "alice"
	ran := map[string]int{}
	note := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		ran[name]++
	}
	main.Use(func(context.Context, *server.Socket) error { note("once"); return nil })
	main.UseAlways(func(_ context.Context, s *server.Socket) error {
		note("always")
		mu.Lock()
		defer mu.Unlock()
		if who == "" {
			return &server.ClientError{Message: "no"}
		}
		s.SetOwner(who)
		return nil
	})
	var r returner
	n.come(t, &r)
	must(t, main.Emit("x", 1))
	r.await(`["x",1]`)
	r.close()
	if !n.come(t, &r) || ran["once"] != 1 || ran["always"] != 2 {
		t.Errorf("did not go on, %v, middlewares %v", n.Stats().Recovery, ran)
	}
	r.close()
	mu.Lock()
	who = "mallory"
	mu.Unlock()
	if n.come(t, &r) || ran["once"] != 2 {
		t.Errorf("went on with a session of somebody else: %v", ran)
	}
	r.close()
	mu.Lock()
	who = ""
	mu.Unlock()
	r.peer = n.websocket(t)
	r.send(fmt.Sprintf(`0{"pid":%q}`, r.pid))
	r.expect(`4{"message":"no"}`)
	if got := n.Stats().Recovery; got["recovered"] != 1 || got["refused"] != 2 {
		t.Errorf("results %v", got)
	}
}
