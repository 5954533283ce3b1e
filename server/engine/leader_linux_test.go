package engine

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// spareP gives the test's server a P to spare, and some to others.
func spareP(t *testing.T) {
	before := runtime.GOMAXPROCS(4)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// A handler that blocks holds up its own connection alone, wherever it blocks, and what its client sends meanwhile follows.
func TestLeaderBlocked(t *testing.T) {
	for _, where := range []string{"OnText", "ContinueQuick", "Continue"} {
		t.Run(where, func(t *testing.T) {
			spareP(t)
			g := newRigOn(t, &Options{ReadMode: ReadHot, PingInterval: time.Hour}, true, 0)
			release, blocked := make(chan struct{}), make(chan struct{}, 1)
			block := func() {
				blocked <- struct{}{}
				<-release
			}
			g.onText = func(r *recorder, data string) {
				switch {
				case data != "block":
					sayEcho(r, data)
				case where == "OnText":
					block()
				case where == "Continue":
					r.s.Continue(block)
				default:
					r.s.ContinueQuick(block)
				}
			}
			stuck, sid := g.openWS("")
			others := make([]*wsClient, 20)
			for i := range others {
				others[i], _ = g.openWS("")
			}
			for range 3 {
				stuck.say("4block")
				within(t, "the handler that blocks", blocked)
				for i, ws := range others {
					ws.say(fmt.Sprint("4other ", i))
				}
				for i, ws := range others {
					ws.expect(fmt.Sprint("4other ", i))
				}
				stuck.say("4more")
				if where != "OnText" { // the connection has been let go of
					stuck.expect("4more")
				} else if got := g.recorder(sid).received(); strings.HasSuffix(got, "more") {
					t.Errorf("received %q though its handler blocks", got)
				}
				release <- struct{}{}
				if where == "OnText" {
					stuck.expect("4more")
				}
			}
			_ = g.srv.Close()
			g.checkEnded(t)
		})
	}
}

// What is continued may close the server, may end its goroutine, and may wait for its own client.
func TestLeaderContinued(t *testing.T) {
	spareP(t)
	g := newRigOn(t, &Options{ReadMode: ReadHot, PingInterval: time.Hour}, true, 0)
	answered, closed := make(chan struct{}), make(chan struct{})
	g.onText = func(r *recorder, data string) {
		switch data {
		case "ask":
			r.s.ContinueQuick(func() {
				sayEcho(r, "question")
				<-answered
				sayEcho(r, "thanks")
			})
		case "answer":
			close(answered)
		case "leave":
			r.s.ContinueQuick(runtime.Goexit)
		case "close":
			r.s.ContinueQuick(func() {
				_ = g.srv.Close()
				close(closed)
			})
		default:
			sayEcho(r, data)
		}
	}
	ws, _ := g.openWS("")
	ws.say("4ask")
	ws.expect("4question")
	ws.say("4answer")
	ws.expect("4thanks")
	for i := range 10 {
		ws.say("4leave")
		ws.say(fmt.Sprint("4still here ", i))
		ws.expect(fmt.Sprint("4still here ", i))
	}
	ws.say("4close")
	within(t, "Server.Close in a handler", closed)
	g.checkEnded(t)
}

// Many connections that are readable at the same time are read by several goroutines, each in its order, beside collections of
// garbage.
func TestLeaderHelpers(t *testing.T) {
	spareP(t)
	g := newRigOn(t, &Options{ReadMode: ReadHot, PingInterval: time.Hour}, true, 0)
	g.onText = func(r *recorder, data string) {
		if strings.HasPrefix(data, "q") {
			r.s.ContinueQuick(func() { sayEcho(r, data) })
			return
		}
		sayEcho(r, data)
	}
	const clients, rounds = 150, 20
	all := make([]*wsClient, clients)
	for i := range all {
		all[i], _ = g.openWS("")
	}
	done := make(chan struct{})
	var collector sync.WaitGroup
	collector.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				runtime.GC()
			}
		}
	})
	long := strings.Repeat("x", 3*readBufferSize)
	for round := range rounds {
		for i, ws := range all {
			if _, err := ws.conn.Write(masked(fmt.Sprintf("4a%d-%d", round, i), fmt.Sprintf("4q%d-%d", round, i))); err != nil {
				t.Fatal(err)
			}
		}
		for i, ws := range all {
			ws.expect(fmt.Sprintf("4a%d-%d", round, i), fmt.Sprintf("4q%d-%d", round, i))
		}
		ws := all[round]
		ws.say("4" + long)
		ws.expect("4" + long)
	}
	close(done)
	collector.Wait()
	_ = g.srv.Close()
	g.checkEnded(t)
}

// A helper whose connection's handler blocks is replaced by another one.
func TestLeaderHelperBlocked(t *testing.T) {
	before := runtime.GOMAXPROCS(3) // there is one helper at a time
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	g := newRigOn(t, &Options{ReadMode: ReadHot, PingInterval: time.Hour}, true, 0)
	var helped atomic.Int32
	release := make(chan struct{})
	g.onText = func(r *recorder, data string) {
		r.s.ContinueQuick(func() {
			sayEcho(r, data)
			if bytes.Contains(debug.Stack(), []byte("(*helper).run")) && helped.Add(1) <= 3 {
				<-release
			}
		})
	}
	all := make([]*wsClient, 100)
	for i := range all {
		all[i], _ = g.openWS("")
	}
	eventually(t, "another one helps", func() bool {
		for i, ws := range all {
			ws.say(fmt.Sprint("4", i))
		}
		for i, ws := range all {
			ws.expect(fmt.Sprint("4", i))
		}
		return helped.Load() > 3
	})
	close(release)
	_ = g.srv.Close()
	g.checkEnded(t)
}

// Who helps is as many as the queue is long for, up to the processors; those that are stuck are none of them.
func TestAskHelp(t *testing.T) {
	spareP(t)                             // up to two helpers
	synctest.Test(t, func(t *testing.T) { // where the clock stands still
		l := &leadership{p: new(poller)}
		ask := func(n, want int) []*helper {
			t.Helper()
			l.queue = make([]*wsConn, n)
			more := l.askHelpLocked()
			if len(more) != want {
				t.Fatalf("%d more for %d that wait, want %d", len(more), n, want)
			}
			return more
		}
		const many = 100 * queuePerHelper
		ask(queuePerHelper-1, 0)
		stuck := ask(queuePerHelper, 1)[0]
		ask(queuePerHelper, 0)
		quick := ask(many, 1)[0]
		time.Sleep(stuckTime - 1)
		ask(many, 0)
		quick.take()
		time.Sleep(time.Nanosecond)
		ask(many, 1)
		if l.next != 1 {
			t.Errorf("a helper took %d connections, want 1", l.next)
		}
		if stuck.take(); l.next != 1 {
			t.Error("a helper that was replaced took a connection")
		}
		stuck.leave()
		ask(many, 0)
		quick.leave()
		ask(many, 1)
	})
}

// What the leader hands over, or its handlers start or wake, begins at once also where all other processors compute, and not when the
// scheduler takes the leader's P away from it. Where the machine itself is busy that takes some series of messages to see.
func TestLeaderHandsOver(t *testing.T) {
	begun, woken := make(chan time.Time), make(chan struct{})
	begin := func() { begun <- time.Now() }
	go func() {
		for range woken {
			begin()
		}
	}()
	t.Cleanup(func() { close(woken) })
	for what, do := range map[string]func(r *recorder){
		"what is continued":       func(r *recorder) { r.s.Continue(begin) },
		"what a quick one starts": func(r *recorder) { r.s.ContinueQuick(func() { go begin() }) },
		"whom a quick one wakes":  func(r *recorder) { r.s.ContinueQuick(func() { woken <- struct{}{} }) },
	} {
		t.Run(what, func(t *testing.T) {
			before := runtime.GOMAXPROCS(3)
			t.Cleanup(func() { runtime.GOMAXPROCS(before) })
			g := newRigOn(t, &Options{ReadMode: ReadHot, PingInterval: time.Hour}, true, 0)
			g.onText = func(r *recorder, _ string) { do(r) }
			ws, _ := g.openWS("")
			over := compute(2)
			defer over()
			eventually(t, "half of what is handed over begins soon", func() bool {
				const series = 20
				soon := 0
				for range series {
					said := time.Now()
					ws.say("4do")
					if took := (<-begun).Sub(said); took < 5*time.Millisecond {
						soon++
					}
				}
				return soon >= series/2
			})
			over()
			_ = g.srv.Close()
			g.checkEnded(t)
		})
	}
}

// compute keeps n processors busy until over is called.
func compute(n int) (over func()) {
	var done atomic.Bool
	var computing sync.WaitGroup
	for range n {
		computing.Go(func() {
			for !done.Load() {
			}
		})
	}
	return func() {
		done.Store(true)
		computing.Wait()
	}
}

// Others wait no longer for a leader whose handler blocks than until somebody looks at it. Where the machine itself is busy that takes
// some series of messages to see.
func TestLeaderTakenOver(t *testing.T) {
	spareP(t)
	g := newRigOn(t, &Options{ReadMode: ReadHot, PingInterval: time.Hour}, true, 0)
	release, blocked := make(chan struct{}), make(chan struct{})
	g.onText = func(r *recorder, data string) {
		if data != "block" {
			sayEcho(r, data)
			return
		}
		r.s.ContinueQuick(func() {
			blocked <- struct{}{}
			<-release
		})
	}
	slow, _ := g.openWS("")
	other, _ := g.openWS("")
	eventually(t, "half of the answers come soon", func() bool {
		const series = 20
		soon := 0
		for range series {
			slow.say("4block")
			<-blocked
			said := time.Now()
			other.say("4x")
			other.expect("4x")
			if time.Since(said) < 6*time.Millisecond {
				soon++
			}
			release <- struct{}{}
		}
		return soon >= series/2
	})
	_ = g.srv.Close()
	g.checkEnded(t)
}

// An alarm that has been closed does nothing, whoever has its descriptor by then.
func TestStuckAlarm(t *testing.T) {
	a, err := newStuckAlarm()
	if err != nil {
		t.Fatal(err)
	}
	a.set()
	for range 3 {
		if !a.wait() {
			t.Fatal("closed before its time")
		}
	}
	ended := make(chan bool)
	a.stop()
	go func() { ended <- a.wait() }()
	a.close()
	if <-ended {
		t.Error("it went off though it was stopped")
	}
	a.set()
	a.stop()
	if a.wait() {
		t.Error("it went off though it was closed")
	}
}

// A wait that has become cold, so that the scheduler knows of it, ends with the next event, and with the end of the set.
func TestHotWait(t *testing.T) {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newHotWait(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pipe[0])
	defer syscall.Close(pipe[1])
	event := syscall.EpollEvent{Events: pollEvents, Fd: 7}
	if err := syscall.EpollCtl(fd, syscall.EPOLL_CTL_ADD, pipe[0], &event); err != nil {
		t.Fatal(err)
	}
	waits := make(chan int32)
	go func() {
		defer close(waits)
		events := make([]syscall.EpollEvent, 4)
		for n := w.wait(events); n > 0; n = w.wait(events) {
			waits <- events[0].Fd
		}
	}()
	awaitCold(t)
	if _, err := syscall.Write(pipe[1], []byte("x")); err != nil {
		t.Fatal(err)
	}
	if slot := <-waits; slot != 7 {
		t.Errorf("an event of %d", slot)
	}
	awaitCold(t)
	go w.end()
	for slot := range waits {
		if slot != wakeUpSlot {
			t.Errorf("an event of %d at the end", slot)
		}
	}
}

// Whoever waits may close the descriptors as soon as it is told of the end: what gets their numbers next is left alone.
func TestHotWaitEnd(t *testing.T) {
	spareP(t)
	eventFD := func(n uintptr) int {
		fd, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, n, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
		if errno != 0 {
			t.Error(errno)
		}
		return int(fd)
	}
	ready := eventFD(1) // a connection that is readable all the time
	defer syscall.Close(ready)
	for round := range 500 {
		fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		w, err := newHotWait(fd)
		if err != nil {
			t.Fatal(err)
		}
		event := syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: 7}
		if err := syscall.EpollCtl(fd, syscall.EPOLL_CTL_ADD, ready, &event); err != nil {
			t.Fatal(err)
		}
		var waits atomic.Bool
		opened := make(chan [2]int)
		go func() { // as leadership.run
			events := make([]syscall.EpollEvent, 4)
			for w.wait(events) > 0 {
				waits.Store(true)
			}
			w.close()
			opened <- [2]int{eventFD(0), eventFD(0)}
		}()
		for !waits.Load() {
			runtime.Gosched()
		}
		w.end()
		for _, fd := range <-opened {
			var written [8]byte
			if n, _ := syscall.Read(fd, written[:]); n > 0 {
				t.Errorf("round %d: the end wrote to a descriptor that was opened afterwards", round)
			}
			_ = syscall.Close(fd)
		}
	}
}

// awaitCold returns when a goroutine waits in a system call that the scheduler knows of.
func awaitCold(t *testing.T) {
	buf := make([]byte, 1<<20)
	eventually(t, "the wait is cold", func() bool {
		for _, g := range bytes.Split(buf[:runtime.Stack(buf, true)], []byte("\n\n")) {
			head, stack, _ := bytes.Cut(g, []byte("\n"))
			if bytes.Contains(head, []byte("[syscall")) && bytes.Contains(stack, []byte("hotWait")) {
				return true
			}
		}
		return false
	})
}
