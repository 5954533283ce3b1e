package server_test

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// hot starts a server whose engine has a goroutine that runs what is quick, and a P for it.
func hot(t *testing.T, hooks ...server.Hooks) *node {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("there is no such goroutine")
	}
	before := runtime.GOMAXPROCS(4)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	return start(t, &server.Options{Hooks: hooks, Engine: server.EngineOptions{ReadMode: server.ReadHot}})
}

// byLeader reports whether it is called on the goroutine that reads.
func byLeader() bool { return strings.Contains(string(debug.Stack()), "leadership") }

// Hooks run on the goroutine that reads all connections when they are known to be quick, not before; observers never do.
func TestQuickHooks(t *testing.T) {
	var here atomic.Int32
	note := func() {
		if byLeader() {
			here.Add(1)
		}
	}
	n := hot(t, server.Hooks{
		BeforeConnect: func(*server.Conn, string, []byte) error { note(); return nil },
		BeforeEvent:   func(*server.Socket, server.Incoming) error { note(); return nil },
	})
	n.Of("/").Handle("echo", server.FuncAck(func(_ context.Context, _ *server.Socket, v int) (int, error) { return v, nil }))
	p, s := n.connect(t)
	calls := func() int32 {
		before := here.Load()
		for i := range 20 {
			p.send(fmt.Sprintf(`21["echo",%d]`, i))
			p.expect(fmt.Sprintf(`31[%d]`, i))
		}
		return here.Load() - before
	}
	if calls() > 0 || here.Load() > 0 {
		t.Error("hooks of which nothing is known ran on the goroutine that reads")
	}
	eventually(t, "hooks that are quick run on the goroutine that reads", func() bool {
		n.ProveHooksQuick()
		return calls() > 0
	})
	stop := s.Observe(func(server.Observation) { note() })
	n.ProveHooksQuick()
	if calls() > 0 {
		t.Error("an observer ran on the goroutine that reads")
	}
	stop()
}

// Handlers of a socket's own are quick as others are, and what was proved without them does not hold with them.
func TestQuickHandlerOfSocket(t *testing.T) {
	n := hot(t)
	main := n.Of("/")
	var here atomic.Int32
	echo := server.FuncAck(func(_ context.Context, _ *server.Socket, v int) (int, error) {
		if byLeader() {
			here.Add(1)
		}
		return v, nil
	})
	main.OnConnection(func(_ context.Context, s *server.Socket) { s.Handle("own", echo) })
	p, s := n.connect(t)
	other, second := n.connect(t)
	eventually(t, "an event that each socket handles is handled where it is read", func() bool {
		main.ProveOwnQuick("own")
		for i, p := range []*peer{p, other} {
			p.send(fmt.Sprintf(`21["own",%d]`, i))
			p.expect(fmt.Sprintf(`31[%d]`, i))
		}
		return here.Load() > 1
	})
	main.Handle("event", echo)
	main.ProveQuick("event")
	quick := func(what string, want bool) {
		t.Helper()
		if got := s.QuickEvent("event"); got != want {
			t.Errorf("quick %v %s", got, what)
		}
		if !second.QuickEvent("event") {
			t.Errorf("another socket's event is not quick %s", what)
		}
	}
	quick("when it is proved", true)
	for what, register := range map[string]func() (remove func()){
		"with a handler that is not proved": func() func() { return s.Handle("event", echo) },
		"with a catch-all of its own":       func() func() { return s.HandleAny(func(context.Context, *server.Socket, *server.Event) {}) },
		"with a middleware of its own": func() func() {
			return s.UseEvent(func(context.Context, *server.Socket, *server.Event) error { return nil })
		},
	} {
		remove := register()
		quick(what, false)
		remove()
		quick("without what came and went", true)
	}
	main.UseEvent(func(context.Context, *server.Socket, *server.Event) error { return nil })
	main.ProveOwnQuick("own")
	if main.Quick("event") {
		t.Error("quick with a new middleware of the namespace")
	}
	main.HandleAny(func(context.Context, *server.Socket, *server.Event) {})
	if s.QuickEvent("own") {
		t.Error("quick with a new catch-all of the namespace")
	}
}

// Names of events that sockets handle are kept up to a bound.
func TestQuickHandlerNames(t *testing.T) {
	n := hot(t)
	_, s := n.connect(t)
	nothing := server.Func(func(context.Context, *server.Socket, server.None) error { return nil })
	for i := range 2_000 {
		s.Handle(fmt.Sprint("reply ", i), nothing)()
	}
	if got := n.Of("/").OwnTempos(); got > 1_000 {
		t.Errorf("%d names are kept", got)
	}
}

// Handlers that are known to be quick run on the goroutine that reads, others do not; the order of a socket's events is the same.
func TestQuickHandlers(t *testing.T) {
	n := hot(t)
	main := n.Of("/")
	var here atomic.Int32
	main.Handle("quick", server.FuncReply(func(_ context.Context, _ *server.Socket, v int, reply *server.Reply) error {
		if byLeader() {
			here.Add(1)
		}
		return reply.Send(v)
	}))
	var slow atomic.Int32
	main.Handle("slow", server.FuncAck(func(_ context.Context, _ *server.Socket, v int) (int, error) {
		if byLeader() {
			slow.Add(1)
		}
		return v, nil
	}))
	p, _ := n.connect(t)
	p.send(`20["quick",1]`)
	p.expect(`30[1]`)
	if here.Load() != 0 {
		t.Error("a handler of which nothing is known ran on the goroutine that reads")
	}
	for i := range 100 {
		main.ProveQuick("quick")
		switch i % 3 {
		case 0:
			p.send(fmt.Sprintf(`21["quick",%d]`, i))
			p.expect(fmt.Sprintf(`31[%d]`, i))
		case 1:
			p.batch(fmt.Sprintf(`422["quick",%d]`, i), fmt.Sprintf(`423["slow",%d]`, i), fmt.Sprintf(`424["quick",%d]`, i))
			p.expect(fmt.Sprintf(`32[%d]`, i), fmt.Sprintf(`33[%d]`, i), fmt.Sprintf(`34[%d]`, i))
		default:
			var packets, answers []string
			for j := range 50 {
				packets = append(packets, fmt.Sprintf(`42%d["quick",%d]`, j+5, i))
				answers = append(answers, fmt.Sprintf(`3%d[%d]`, j+5, i))
			}
			p.batch(packets...)
			p.expect(answers...)
		}
	}
	if here.Load() == 0 || slow.Load() != 0 {
		t.Errorf("%d quick and %d slow calls ran on the goroutine that reads", here.Load(), slow.Load())
	}
}

// The end of a socket, which may come between two quick events, is told on a goroutine for which nobody waits.
func TestQuickHandlerDisconnect(t *testing.T) {
	n := hot(t)
	here := make(chan bool, 1)
	n.Of("/").OnDisconnect(func(context.Context, *server.Socket, server.Reason) {
		here <- strings.Contains(string(debug.Stack()), "workQuickly")
	})
	_, s := n.connect(t)
	for range 20_000 {
		s.EndBesideQuickWork()
		if await(t, here) {
			t.Fatal("the end was told by whoever runs what is quick")
		}
	}
}

// A handler that was quick until now may wait for its own client, and for one that shares its goroutine.
func TestQuickHandlerWaits(t *testing.T) {
	n := hot(t)
	main := n.Of("/")
	main.Handle("ask", server.FuncAck(func(ctx context.Context, s *server.Socket, _ server.None) (string, error) {
		return server.EmitWithAck[string](ctx, s, "question")
	}))
	turn := make(chan struct{})
	main.Handle("wait", server.FuncAck(func(context.Context, *server.Socket, server.None) (string, error) {
		<-turn
		return "waited", nil
	}))
	main.Handle("go", server.Func(func(context.Context, *server.Socket, server.None) error {
		turn <- struct{}{}
		return nil
	}))
	p, _ := n.connect(t)
	other, _ := n.connect(t)
	for i := range 5 {
		main.ProveQuick("ask")
		p.send(`21["ask"]`)
		p.expect(fmt.Sprintf(`2%d["question"]`, i))
		p.send(fmt.Sprintf(`3%d["answer"]`, i))
		p.expect(`31["answer"]`)
		main.ProveQuick("wait")
		main.ProveQuick("go")
		p.send(`22["wait"]`)
		other.send(`2["go"]`)
		p.expect(`32["waited"]`)
	}
}

// What a proved handler asks hangs: of many calls at once the goroutine that reads is given few, since each holds the others up.
func TestQuickHandlerHangs(t *testing.T) {
	n := hot(t)
	main := n.Of("/")
	var here, begun atomic.Int32
	release := make(chan struct{})
	main.Handle("query", server.FuncAck(func(context.Context, *server.Socket, server.None) (int, error) {
		if byLeader() {
			here.Add(1)
		}
		begun.Add(1)
		<-release
		return 1, nil
	}))
	main.Handle("echo", server.FuncAck(func(_ context.Context, _ *server.Socket, v int) (int, error) { return v, nil }))
	const many = 100
	peers := make([]*peer, many)
	for i := range peers {
		peers[i], _ = n.connect(t)
	}
	other, _ := n.connect(t)
	main.ProveQuick("query")
	for _, p := range peers {
		p.send(`21["query"]`)
	}
	other.send(`22["echo",5]`)
	other.expect(`32[5]`)
	eventually(t, "each call has begun", func() bool { return begun.Load() == many })
	if here.Load() > many/10 {
		t.Errorf("%d blocked calls were given to the goroutine that reads", here.Load())
	}
	close(release)
	for _, p := range peers {
		p.expect(`31[1]`)
	}
	if main.Quick("query") {
		t.Error("quick though all calls blocked")
	}
}

// What follows a quick event and is not quick begins at once also where all other processors compute. Where the machine itself is
// busy that takes some series to see.
func TestQuickHandlerHandsOver(t *testing.T) {
	n := hot(t)
	main := n.Of("/")
	begun := make(chan time.Time)
	nothing := func(context.Context, *server.Socket, server.None) error { return nil }
	main.Handle("quick", server.Func(nothing))
	main.Handle("slow", server.Func(func(context.Context, *server.Socket, server.None) error {
		begun <- time.Now()
		return nil
	}))
	p, _ := n.connect(t)
	var over atomic.Bool
	defer over.Store(true)
	for range runtime.GOMAXPROCS(0) - 1 {
		go func() {
			for !over.Load() {
			}
		}()
	}
	eventually(t, "half of what follows begins soon", func() bool {
		const series = 20
		soon := 0
		for range series {
			main.ProveQuick("quick")
			said := time.Now()
			p.batch(`42["quick"]`, `42["slow"]`)
			if took := (<-begun).Sub(said); took < 5*time.Millisecond {
				soon++
			}
		}
		return soon >= series/2
	})
}

// A quick handler that panics or ends its goroutine is contained as any other.
func TestQuickHandlerFails(t *testing.T) {
	n := hot(t)
	main := n.Of("/")
	main.Handle("panic", server.Func(func(context.Context, *server.Socket, server.None) error { panic("quick") }))
	main.Handle("exit", server.Func(func(context.Context, *server.Socket, server.None) error { runtime.Goexit(); return nil }))
	main.Handle("echo", server.FuncAck(func(_ context.Context, _ *server.Socket, v int) (int, error) { return v, nil }))
	p, _ := n.connect(t)
	other, _ := n.connect(t)
	for i := range 10 {
		for _, event := range []string{"panic", "exit", "echo"} {
			main.ProveQuick(event)
		}
		p.batch(`42["panic"]`, `42["exit"]`, fmt.Sprintf(`427["echo",%d]`, i))
		p.expect(fmt.Sprintf(`37[%d]`, i))
		other.send(fmt.Sprintf(`27["echo",%d]`, i))
		other.expect(fmt.Sprintf(`37[%d]`, i))
	}
	if got := n.Stats().Panics; got != 20 {
		t.Errorf("%d panics counted, want 20", got)
	}
}

// A handler that is registered or removed makes the others prove anew that they are quick.
func TestQuickHandlerChanges(t *testing.T) {
	n := hot(t)
	main := n.Of("/")
	nothing := server.Func(func(context.Context, *server.Socket, server.None) error { return nil })
	main.Handle("event", nothing)
	main.ProveQuick("event")
	remove := main.Handle("event", nothing)
	if main.Quick("event") {
		t.Error("quick with a new handler")
	}
	main.ProveQuick("event")
	remove()
	if main.Quick("event") {
		t.Error("quick without a handler of them")
	}
}
