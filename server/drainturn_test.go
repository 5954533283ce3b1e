package server_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// slowToLeave has each client take a tenth of a second to be told.
var slowToLeave = server.Options{Hooks: []server.Hooks{{BeforeDrain: func(*server.Socket) { time.Sleep(100 * time.Millisecond) }}}}

// TestDrainSlowHook: a drain is called off, and its time is over, between two clients, however many of them are due.
func TestDrainSlowHook(t *testing.T) {
	t.Run("undrain", func(t *testing.T) {
		inBubble(t, slowToLeave, func(t *testing.T, d *drained) {
			d.clients(t, 40)
			done := d.begin(&server.DrainOptions{Timeout: 940 * time.Millisecond})
			time.Sleep(930 * time.Millisecond)
			d.srv.Undrain() // by the end of the hook that runs, the time is over too
			began := time.Now()
			expectEnd(t, done, server.ErrUndrained)
			synctest.Wait()
			if took := time.Since(began); took > 200*time.Millisecond || d.sessions() != 30 || d.srv.Stats().DrainCut != 0 {
				t.Errorf("took %v, %d sessions of 40 are left, want 30", took, d.sessions())
			}
		})
	})
	t.Run("context", func(t *testing.T) {
		inBubble(t, slowToLeave, func(t *testing.T, d *drained) {
			d.clients(t, 40)
			ctx, cancel := context.WithTimeout(t.Context(), 550*time.Millisecond)
			defer cancel()
			if err := d.srv.Drain(ctx, nil); err == nil || d.sessions() < 33 {
				t.Errorf("%v, %d sessions of 40 are left", err, d.sessions())
			}
		})
	})
	t.Run("timeout", func(t *testing.T) {
		inBubble(t, slowToLeave, func(t *testing.T, d *drained) {
			d.clients(t, 40)
			began := time.Now()
			expectEnd(t, d.begin(&server.DrainOptions{Timeout: 550 * time.Millisecond}), nil)
			if took := time.Since(began); took > 800*time.Millisecond || d.srv.Stats().DrainCut < 33 {
				t.Errorf("took %v, %d were cut off", took, d.srv.Stats().DrainCut)
			}
		})
	})
	t.Run("shed", func(t *testing.T) {
		inBubble(t, slowToLeave, func(t *testing.T, d *drained) {
			d.clients(t, 40)
			ctx, cancel := context.WithTimeout(t.Context(), 550*time.Millisecond)
			defer cancel()
			if n, err := d.srv.Shed(ctx, 40, &server.ShedOptions{Rate: 1000}); err == nil || n > 7 {
				t.Errorf("closed %d, %v", n, err)
			}
		})
	})
}

// TestDrainKeepsUp: turns that were too short for what was due leave nothing behind.
func TestDrainKeepsUp(t *testing.T) {
	inBubble(t, slowToLeave, func(t *testing.T, d *drained) {
		d.clients(t, 10)
		began := time.Now()
		expectEnd(t, d.begin(&server.DrainOptions{Rate: 20}), nil)
		if took := time.Since(began); took > 1200*time.Millisecond {
			t.Errorf("ten that take a tenth of a second each took %v", took)
		}
	})
}

// TestShutdownInGrace: the grace ends with the server.
func TestShutdownInGrace(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		d.clients(t, 2)
		done := d.begin(&server.DrainOptions{Grace: time.Hour})
		began := time.Now()
		if err := d.srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		expectEnd(t, done, nil)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// lingering is a Forwarder whose relays take a second to leave.
type lingering struct {
	relays, ending, asked, vain atomic.Int64
}

func (*lingering) Announce() (string, adapter.Secret)                        { return "127.0.0.1:1", "key" }
func (*lingering) Start(*server.Server)                                      {}
func (*lingering) Elsewhere(http.ResponseWriter, *http.Request, string) bool { return false }
func (*lingering) HoldYoung(*http.Request) time.Duration                     { return 0 }
func (*lingering) Shutdown(context.Context) error                            { return nil }
func (l *lingering) Relays() int                                             { return int(l.relays.Load()) }
func (l *lingering) CutRelays()                                              {}

func (l *lingering) EndRelay() bool {
	l.asked.Add(1)
	if l.ending.Load() == l.relays.Load() {
		l.vain.Add(1)
		return false
	}
	l.ending.Add(1)
	time.AfterFunc(time.Second, func() {
		l.ending.Add(-1)
		l.relays.Add(-1)
	})
	return true
}

// TestDrainLingeringRelays: relays that take their time are not looked at over and over, once for each of them.
func TestDrainLingeringRelays(t *testing.T) {
	l := &lingering{}
	l.relays.Store(50)
	inBubble(t, server.Options{Forwarder: l}, func(t *testing.T, d *drained) {
		expectEnd(t, d.begin(nil), nil)
		if n := d.srv.Stats().Drained; n != 50 || l.Relays() != 0 {
			t.Errorf("%d drained, %d left", n, l.Relays())
		}
		// A turn asks in vain once at most, and there are a hundred in that second.
		if n := l.vain.Load(); n == 0 || n > 110 {
			t.Errorf("asked %d times, %d in vain", l.asked.Load(), n)
		}
	})
}

// TestSheddingIsCounted: a client counts as one that is about to be closed until it has gone, in whatever way.
func TestSheddingIsCounted(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		var clients []*servertest.Client
		for range 10 {
			c := d.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
			c.Connect("/", nil)
			clients = append(clients, c)
			time.Sleep(time.Millisecond) // who came last goes first
		}
		for _, c := range clients {
			c.Stall() // it does not fetch its end
		}
		synctest.Wait()
		for range 2 { // the poll that each has open takes the first
			if err := d.srv.Of("/").Emit("x"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		expect := func(sessions, shedding int) {
			t.Helper()
			loads, err := d.srv.Loads(t.Context())
			if err != nil || loads[0].Sessions != sessions || loads[0].Shedding != shedding {
				t.Errorf("load %+v, %v; want %d sessions, %d of them to be closed", loads, err, sessions, shedding)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = d.srv.Shed(ctx, 6, &server.ShedOptions{Rate: 10})
		}()
		time.Sleep(250 * time.Millisecond) // three have been told
		expect(10, 6)
		leave := func(i int) {
			for _, s := range d.srv.Engine().Sessions() {
				if s.ID() == clients[i].SID() {
					s.Discard()
				}
			}
			synctest.Wait()
		}
		leave(4) // which waits in the queue
		expect(9, 5)
		leave(9) // which has been told
		expect(8, 4)
		cancel()
		<-done
		expect(8, 2)
		leave(8)
		leave(7)
		expect(6, 0)
	})
}
