package soak

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// census counts everything that a session may leave behind.
type census struct {
	Goroutines, Descriptors                               int
	Sessions, Polling, WebSocket, Upgrading, Closing      int
	Timers, Unjoined                                      int
	Namespaces, Sockets, Connecting, Rooms, Acks, Workers int
	Queued, Input                                         int64
}

func count(srv *server.Server) census {
	s := srv.Stats()
	return census{
		Goroutines: runtime.NumGoroutine(), Descriptors: descriptors(),
		Sessions: s.Engine.Sessions, Polling: s.Engine.Polling, WebSocket: s.Engine.WebSocket,
		Upgrading: s.Engine.Upgrading, Closing: s.Engine.Closing, Timers: s.Engine.Timers, Unjoined: s.Unjoined,
		Namespaces: s.Namespaces, Sockets: s.Sockets, Connecting: s.Connecting, Rooms: s.Rooms, Acks: s.PendingAcks,
		Workers: s.Workers, Queued: s.Engine.QueuedBytes, Input: s.Engine.InputBytes,
	}
}

// countInBubble counts what is in the bubble: virtual time does not wait for a goroutine outside it, such as one that a timer of an
// earlier test has started, nor for its descriptor.
func countInBubble(srv *server.Server) census {
	synctest.Wait()
	c := count(srv)
	c.Descriptors = 0
	stacks := make([]byte, 1<<20)
	n := runtime.Stack(stacks, true)
	for n == len(stacks) {
		stacks = make([]byte, 2*n)
		n = runtime.Stack(stacks, true)
	}
	c.Goroutines = bytes.Count(stacks[:n], []byte(", synctest bubble "))
	return c
}

// descriptors counts the open files of the process, where the system tells.
func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// eventually waits until ok reports true. It looks ever again because what it waits for, such as the end of a goroutine
// of the HTTP server, tells nobody.
func eventually(t testing.TB, limit time.Duration, ok func() bool) bool {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	over := time.After(limit)
	for !ok() {
		select {
		case <-look.C:
		case <-over:
			return ok()
		}
	}
	return true
}

// settled counts when nothing has changed for a while.
func settled(srv *server.Server) census {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	last, same := count(srv), 0
	for same < 16 { // longer than workers of the engine wait for the next job
		<-look.C
		now := count(srv)
		if same++; now != last {
			last, same = now, 0
		}
	}
	return last
}

// as reports whether the server is as it was. Goroutines may be fewer: some of the HTTP server sleep before they end, so that a
// census that nothing changes may count one that has nothing to do any more.
func (c census) as(want census) bool {
	fewer := c.Goroutines <= want.Goroutines
	c.Goroutines = want.Goroutines
	return fewer && c == want
}

// awaitCensus waits until the server is as it was.
func awaitCensus(t testing.TB, srv *server.Server, want census, limit time.Duration) {
	t.Helper()
	var got census
	if !eventually(t, limit, func() bool { got = count(srv); return got.as(want) }) {
		t.Errorf("after %v:", limit)
		compare(t, got, want)
	}
}

// compare says how the server differs from what it was.
func compare(t testing.TB, got, want census) {
	t.Helper()
	t.Errorf("\n got %+v\nwant %+v", got, want)
	if got.Goroutines != want.Goroutines {
		buf := make([]byte, 1<<20)
		t.Logf("%.20000s", buf[:runtime.Stack(buf, true)])
	}
}

// TestCensusInBubble: what is in the bubble counts, and nothing else.
func TestCensusInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, &server.Options{})
		before := countInBubble(a.Server)
		inside := make(chan struct{})
		go func() { <-inside }()
		now := countInBubble(a.Server)
		if now.Goroutines != before.Goroutines+1 || now.as(before) || now.Goroutines >= runtime.NumGoroutine() {
			t.Errorf("%d goroutines, then %d with one more; %d in the process", before.Goroutines, now.Goroutines, runtime.NumGoroutine())
		}
		close(inside)
		awaitCensusInBubble(t, a.Server, before)
	})
}

// awaitCensusInBubble is awaitCensus in virtual time.
func awaitCensusInBubble(t testing.TB, srv *server.Server, want census) {
	t.Helper()
	var got census
	for range 100 {
		if got = countInBubble(srv); got.as(want) {
			return
		}
		time.Sleep(time.Second)
	}
	compare(t, got, want)
}

// writeProfile writes a heap profile where -profiles asks for it.
func writeProfile(t testing.TB, name string) {
	t.Helper()
	if *profiles == "" {
		return
	}
	f, err := os.Create(filepath.Join(*profiles, name))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(pprof.WriteHeapProfile(f), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// heap returns the bytes in use after a collection that also empties the pools.
func heap() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}
