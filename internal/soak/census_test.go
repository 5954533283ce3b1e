package soak

import (
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

// awaitCensus waits until the server is as it was.
func awaitCensus(t testing.TB, srv *server.Server, want census, limit time.Duration) {
	t.Helper()
	var got census
	if !eventually(t, limit, func() bool { got = count(srv); return got == want }) {
		t.Errorf("after %v:\n got %+v\nwant %+v", limit, got, want)
		if got.Goroutines != want.Goroutines {
			buf := make([]byte, 1<<20)
			t.Logf("%.20000s", buf[:runtime.Stack(buf, true)])
		}
	}
}

// bubble runs a test in virtual time, once the goroutines of what ran before have ended.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for last, same := 0, 0; same < 10; same++ {
		<-look.C
		if n := runtime.NumGoroutine(); n != last {
			last, same = n, 0
		}
	}
	synctest.Test(t, f)
}

// awaitCensusInBubble is awaitCensus in virtual time.
func awaitCensusInBubble(t testing.TB, srv *server.Server, want census) {
	t.Helper()
	var got census
	for range 100 {
		synctest.Wait()
		if got = count(srv); got == want {
			return
		}
		time.Sleep(time.Second)
	}
	t.Errorf("\n got %+v\nwant %+v", got, want)
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
