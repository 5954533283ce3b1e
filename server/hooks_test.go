package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// connectLimiter bounds the auth objects of clients and the namespaces that they may ask for.
func connectLimiter(maxAuth int, allowed string) server.Hooks {
	return server.Hooks{BeforeConnect: func(_ *server.Conn, namespace string, auth []byte) error {
		switch {
		case len(auth) > maxAuth:
			return &server.ClientError{Message: "auth too large"}
		case !strings.HasPrefix(namespace, allowed):
			return errors.New("a scanner")
		}
		return nil
	}}
}

// joinLimiter bounds the rooms of each socket, its own not counted.
func joinLimiter(most int) server.Hooks {
	return server.Hooks{BeforeJoin: func(s *server.Socket, rooms []string) error {
		if len(s.Rooms())-1+len(rooms) > most {
			return &server.ClientError{Message: "too many rooms"}
		}
		return nil
	}}
}

// eventLimiter allows each socket a number of events, and of bytes, in each interval.
type eventLimiter struct {
	events, bytes int
	interval      time.Duration

	mu    sync.Mutex
	spent map[string]budget // by socket id
}

type budget struct {
	since         time.Time
	events, bytes int
}

func (l *eventLimiter) hooks() server.Hooks {
	return server.Hooks{BeforeEvent: l.beforeEvent, AfterDisconnect: l.afterDisconnect}
}

func (l *eventLimiter) beforeEvent(s *server.Socket, in server.Incoming) error {
	if in.Name() == "vital" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.spent[s.ID()]
	if now := time.Now(); now.Sub(b.since) >= l.interval {
		b = budget{since: now}
	}
	b.events++
	b.bytes += in.Bytes
	l.spent[s.ID()] = b
	if b.events > l.events || b.bytes > l.bytes {
		return &server.ClientError{Message: "slow down", Data: l.interval.Seconds()}
	}
	return nil
}

func (l *eventLimiter) afterDisconnect(s *server.Socket, _ server.Reason) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.spent, s.ID())
}

// meter counts what metrics show: events by namespace, name and outcome, sockets by namespace, disconnects by reason.
type meter struct {
	mu      sync.Mutex
	events  map[string]int
	took    map[string]time.Duration
	sockets map[string]int
	reasons map[server.Reason]int
}

func newMeter() *meter {
	return &meter{events: map[string]int{}, took: map[string]time.Duration{}, sockets: map[string]int{}, reasons: map[server.Reason]int{}}
}

func (m *meter) hooks() server.Hooks {
	return server.Hooks{
		AfterConnect: func(s *server.Socket) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.sockets[s.Namespace().Name()]++
		},
		AfterEvent: func(s *server.Socket, r server.EventResult) {
			name := r.Name
			if r.Outcome == server.OutcomeUnhandled {
				name = "other" // clients must not choose labels
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.events[fmt.Sprintf("%s %s %s", s.Namespace().Name(), name, r.Outcome)]++
			m.took[name] += r.Took
		},
		AfterDisconnect: func(s *server.Socket, reason server.Reason) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.sockets[s.Namespace().Name()]--
			m.reasons[reason]++
		},
	}
}

func TestConnectHook(t *testing.T) {
	n := start(t, &server.Options{Hooks: []server.Hooks{connectLimiter(20, "/app")}})
	n.OfFunc(func(_ context.Context, name string, _ json.RawMessage) bool {
		t.Errorf("asked for %s", name)
		return false
	})
	n.Of("/app")
	p := n.websocket(t)
	p.send("0/other,")
	p.expect(`4/other,{"message":"internal error"}`)
	p.send(`0/app,{"token":"` + strings.Repeat("x", 20) + `"}`)
	p.expect(`4/app,{"message":"auth too large"}`)
	p.join("/app", `{"token":"x"}`)
	if got := n.Stats().Refused; got != 2 {
		t.Errorf("%d refusals counted", got)
	}
}

func TestJoinHook(t *testing.T) {
	n := start(t, &server.Options{Hooks: []server.Hooks{joinLimiter(2)}})
	main := n.Of("/")
	main.Handle("join", server.FuncAck(func(ctx context.Context, s *server.Socket, room string) (string, error) {
		return room, s.Join(ctx, room)
	}))
	p, s := n.connect(t)
	p.send(`21["join","a"]`)
	p.expect(`31["a"]`)
	var ce *server.ClientError
	if err := s.Join(t.Context(), "b", "c"); !errors.As(err, &ce) || err.Error() != "join: too many rooms" {
		t.Errorf("join: %v", err)
	}
	if err := main.SocketsJoin("b"); err != nil {
		t.Error(err)
	}
	if err := main.SocketsJoin("c"); err != nil { // does not reach a socket with two rooms
		t.Error(err)
	}
	p.send(`22["join","d"]`)
	p.expect(`32[{"error":{"message":"too many rooms"}}]`)
	if got := fmt.Sprint(s.Rooms()[1:]); got != "[a b]" {
		t.Errorf("rooms %s", got)
	}
	if got := n.Stats().Refused; got != 3 {
		t.Errorf("%d refusals counted", got)
	}
}

func TestEventHook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := &eventLimiter{events: 2, bytes: 100, interval: time.Second, spent: make(map[string]budget)}
		n, stop := startInMemory(t, &server.Options{Hooks: []server.Hooks{limiter.hooks()}})
		seen := 0
		count := server.FuncAck(func(context.Context, *server.Socket, server.Args) (int, error) { seen++; return seen, nil })
		n.Of("/").Handle("x", count)
		n.Of("/").Handle("vital", count)
		p := n.websocket(t)
		p.join("/", "")
		const refused = `[{"error":{"message":"slow down","data":1}}]`
		p.send(`21["x"]`)
		p.send(`2["x"]`)
		p.send(`2["x"]`) // dropped without a word
		p.expect(`31[1]`)
		p.send(`22["x"]`)
		p.expect(`32` + refused)
		p.send(`23["vital"]`)
		p.expect(`33[3]`)
		time.Sleep(time.Second) // of the bubble
		p.send(`24["x","` + strings.Repeat("y", 100) + `"]`)
		p.expect(`34` + refused)
		p.close()
		synctest.Wait()
		if len(limiter.spent) != 0 || n.Stats().Refused != 3 || n.Stats().Engine.InputBytes != 0 {
			t.Errorf("at the end: %v, %+v", limiter.spent, n.Stats())
		}
		stop()
	})
}

func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter()
		n, stop := startInMemory(t, &server.Options{Hooks: []server.Hooks{{}, m.hooks()}})
		nsp := n.Of("/app")
		handle := func(name string, f func() error) {
			nsp.Handle(name, server.FuncAck(func(context.Context, *server.Socket, int) (int, error) { return 0, f() }))
		}
		handle("slow", func() error { time.Sleep(3 * time.Second); return nil })
		handle("rejects", func() error { return &server.ClientError{Message: "no"} })
		handle("fails", func() error { return errors.New("no") })
		handle("panics", func() error { panic("no") })
		handle("exits", func() error { runtime.Goexit(); return nil })
		nsp.UseEvent(func(_ context.Context, _ *server.Socket, e *server.Event) error {
			if strings.HasPrefix(e.Name, "bad") {
				return errors.New("bad")
			}
			return nil
		})
		p := n.websocket(t)
		p.join("/app", "")
		for _, event := range []string{`["slow",1]`, `["slow","x"]`, `["rejects",1]`, `["fails",1]`, `["panics",1]`, `["exits",1]`, `["nothing"]`, `["bad"]`} {
			p.send("2/app," + event)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if m.sockets["/app"] != 1 || m.took["slow"] != 3*time.Second {
			t.Errorf("sockets %v, durations %v", m.sockets, m.took)
		}
		p.close()
		synctest.Wait()
		want := map[string]int{
			"/app slow handled": 1, "/app slow rejected": 1, "/app rejects rejected": 1, "/app fails failed": 1,
			"/app panics panicked": 1, "/app exits panicked": 1, "/app other unhandled": 2,
		}
		if !maps.Equal(m.events, want) {
			t.Errorf("events %v", m.events)
		}
		if m.sockets["/app"] != 0 || !maps.Equal(m.reasons, map[server.Reason]int{server.ReasonTransportClose: 1}) {
			t.Errorf("sockets %v, reasons %v", m.sockets, m.reasons)
		}
		stop()
	})
}

// TestHookPanics: a hook that panics refuses what it was asked about, and harms nothing else.
func TestHookPanics(t *testing.T) {
	var bad atomic.Bool
	check := func() {
		if bad.Load() {
			panic("hook")
		}
	}
	n := start(t, &server.Options{Hooks: []server.Hooks{{
		BeforeConnect:   func(*server.Conn, string, []byte) error { check(); return nil },
		BeforeEvent:     func(*server.Socket, server.Incoming) error { check(); return nil },
		BeforeJoin:      func(*server.Socket, []string) error { check(); return nil },
		AfterConnect:    func(*server.Socket) { panic("hook") },
		AfterEvent:      func(*server.Socket, server.EventResult) { panic("hook") },
		AfterDisconnect: func(*server.Socket, server.Reason) { panic("hook") },
	}}})
	main := n.Of("/")
	main.Handle("echo", server.FuncAck(func(_ context.Context, _ *server.Socket, v int) (int, error) { return v, nil }))
	main.OnConnection(func(_ context.Context, s *server.Socket) { _ = s.Emit("welcome") })
	p, s := n.connect(t)
	p.expect(`2["welcome"]`)
	p.send(`21["echo",5]`)
	p.expect(`31[5]`)
	eventually(t, "the worker ends", func() bool { return n.Stats().Workers == 0 })
	bad.Store(true)
	p.send(`22["echo",5]`)
	p.expect(`32[{"error":{"message":"internal error"}}]`)
	p.send(`0/other,`)
	p.expect(`4/other,{"message":"internal error"}`)
	if err := s.Join(t.Context(), "a"); err == nil || len(s.Rooms()) != 1 {
		t.Errorf("join: %v, rooms %v", err, s.Rooms())
	}
	p.send("1")
	eventually(t, "all panics are counted", func() bool { return n.Stats().Panics == 6 })
}

// NameBytes is Name, whatever the name looks like.
func TestIncomingNameBytes(t *testing.T) {
	var names []string
	n := start(t, &server.Options{Hooks: []server.Hooks{{BeforeEvent: func(_ *server.Socket, in server.Incoming) error {
		if got, want := string(in.NameBytes()), in.Name(); got != want {
			t.Errorf("NameBytes is %q, Name %q", got, want)
		}
		names = append(names, in.Name())
		return &server.ClientError{Message: "seen"}
	}}}})
	n.Of("/")
	p, _ := n.connect(t)
	for i, text := range []string{`["a"]`, `["","b"]`, `["ab\"c",1]`, `["\u0061b"]`, `[12,"x"]`, ` [ "spaced" ]`, `["é"]`, `["a\\"]`} {
		p.send(fmt.Sprintf("2%d%s", i, text))
		p.expect(fmt.Sprintf(`3%d[{"error":{"message":"seen"}}]`, i))
	}
	if got := fmt.Sprintf("%q", names); got != `["a" "" "ab\"c" "ab" "12" "spaced" "é" "a\\"]` {
		t.Errorf("names %s", got)
	}
}
