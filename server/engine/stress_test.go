package engine

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/websocket"
)

// Every method of a session, from 64 goroutines, on sessions that come and go over both transports.
func TestMixedUse(t *testing.T) {
	const goroutines, rounds = 64, 150
	g := newRigOn(t, &Options{PingInterval: 50 * time.Millisecond, PingTimeout: time.Second, PerMessageDeflate: &PerMessageDeflate{Threshold: 16}}, true, 0)
	g.onText = func(r *recorder, data string) { _ = r.s.Send(NewMessage([]byte(data))) }
	opened := sync.NewCond(&g.mu)
	g.onAccept = func(*Session) { opened.Broadcast() }
	var clients sync.WaitGroup
	stop := make(chan struct{})
	for i := range 8 {
		clients.Go(func() { g.churn(stop, i) })
	}
	shared := NewMessage([]byte("shared by everybody, long enough to be compressed"), []byte("attachment"))
	var callers sync.WaitGroup
	for i := range goroutines {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 7))
			for range rounds {
				if sessions := g.srv.Sessions(); len(sessions) > 0 {
					useOne(g.srv, sessions[r.IntN(len(sessions))], shared, r.IntN(64))
					continue
				}
				g.mu.Lock()
				for before := len(g.sessions); len(g.sessions) == before; {
					opened.Wait()
				}
				g.mu.Unlock()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		callers.Wait()
		close(stop)
		clients.Wait()
		close(done)
	}()
	within(t, "the callers", done)
	_ = g.srv.Close()
	// A client has the answer to its poll a moment before the goroutine of the request, which is the HTTP server's, has done with it.
	if err := g.http.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.checkEnded(t)
}

func useOne(srv *Server, s *Session, shared *Message, what int) {
	switch what {
	case 0:
		s.Close()
	case 1:
		s.Discard()
	case 2:
		s.Fail(ReasonParseError, errTest)
	case 3:
		s.Pause()
		s.Resume()
	case 4:
		_ = s.Transport() + s.ID() + s.Handshake().URL()
		_ = s.Queued()
	case 5:
		_ = srv.Stats()
	case 6:
		_ = s.Send(NewBinaryMessage([]byte{1, 2, 3}))
	default:
		if what%3 == 0 {
			s.SendVolatile(shared)
		} else if what%3 == 1 {
			_ = s.SendQueued(shared)
		} else {
			_ = s.Send(NewMessage(fmt.Appendf(nil, "own %d", what)))
		}
	}
}

// checkEnded demands that every session that was ever accepted has ended exactly once and left nothing behind.
func (g *rig) checkEnded(t *testing.T) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	for sid, r := range g.sessions {
		r.mu.Lock()
		if len(r.closes) != 1 {
			t.Errorf("session %s ended %d times", sid, len(r.closes))
		}
		r.mu.Unlock()
	}
	st := g.srv.Stats()
	if st.Sessions+st.Polling+st.WebSocket+st.Upgrading+st.Closing != 0 || st.QueuedBytes != 0 || st.Opened != st.Closed {
		t.Errorf("left behind: %+v", st)
	}
	if n := g.srv.wheel.Len(); n != 0 {
		t.Errorf("%d timers left", n)
	}
	t.Logf("%d sessions", len(g.sessions))
}

// churn opens sessions of all kinds until stop.
func (g *rig) churn(stop <-chan struct{}, seed int) {
	r := rand.New(rand.NewPCG(uint64(seed), 99))
	for {
		select {
		case <-stop:
			return
		default:
		}
		switch r.IntN(4) {
		case 0:
			g.pollOnce(r)
		case 1:
			g.upgradeOnce(r)
		default:
			g.websocketOnce(r)
		}
	}
}

func (g *rig) pollOnce(r *rand.Rand) {
	a, err := g.request("GET", base, "")
	if err != nil || a.status != http.StatusOK {
		return
	}
	target := base + "&sid=" + parseOpen(g.t, a.body).SID
	for range r.IntN(5) {
		if a, err = g.request("POST", target, "4hello\x1ebAQID\x1e3"); err != nil || a.status != http.StatusOK {
			return
		}
		if a, err = g.request("GET", target, ""); err != nil || a.status != http.StatusOK {
			return
		}
	}
	if r.IntN(2) == 0 {
		_, _ = g.request("POST", target, "1")
	}
}

func (g *rig) upgradeOnce(r *rand.Rand) {
	a, err := g.request("GET", base, "")
	if err != nil || a.status != http.StatusOK {
		return
	}
	sid := parseOpen(g.t, a.body).SID
	ws := g.upgrade("/engine.io/?EIO=4&transport=websocket&sid="+sid, "Sec-WebSocket-Extensions: permessage-deflate\r\n")
	defer ws.conn.Close()
	if ws.res.StatusCode != http.StatusSwitchingProtocols || r.IntN(4) == 0 {
		return
	}
	if ws.trySend(websocket.OpText, "2probe") != nil || r.IntN(4) == 0 {
		return
	}
	_ = ws.trySend(websocket.OpText, "5")
	ws.talk(r)
}

func (g *rig) websocketOnce(r *rand.Rand) {
	ws := g.upgrade("/engine.io/?EIO=4&transport=websocket", "Sec-WebSocket-Extensions: permessage-deflate\r\n")
	defer ws.conn.Close()
	ws.talk(r)
}

// talk exchanges messages for a while; the frames that come are not looked at.
func (c *wsClient) talk(r *rand.Rand) {
	heard := make(chan struct{}) // delivers what comes while somebody waits for it; closed when no more will come
	go func() {
		defer close(heard)
		for {
			if first, _ := c.frame(); first == 0xff || first == websocket.BitFin|byte(websocket.OpClose) {
				return
			}
			select {
			case heard <- struct{}{}:
			default:
			}
		}
	}()
	for range r.IntN(20) {
		text := []string{"4hello", "3", "6", "bAQID"}[r.IntN(4)]
		if c.trySend(websocket.OpText, text) != nil {
			break
		}
	}
	switch r.IntN(3) {
	case 0:
		c.goodbye()
	case 1:
		<-heard // a ping at the latest
	}
	_ = c.conn.Close()
	for range heard {
	}
}

// A broadcast must not allocate for each recipient, and the frame is built once.
func TestBroadcastAllocations(t *testing.T) {
	const n = 200
	g := newRigOn(t, nil, true, 0)
	for range n {
		g.openWS("")
	}
	sessions := g.srv.Sessions()
	text := []byte("a message of the usual size, some sixty bytes of JSON or so")
	allocs := testing.AllocsPerRun(50, func() {
		m := NewMessage(text)
		for _, s := range sessions {
			if err := s.SendQueued(m); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "all is written", func() bool { return m.charge.outboxes.Load() == 0 })
	})
	if allocs > n/5 {
		t.Errorf("a broadcast to %d sessions makes %.0f allocations", n, allocs)
	}
}

// A stalled peer over real TCP neither blocks the sender nor keeps others waiting.
func TestStalledPeer(t *testing.T) {
	g := newRigOn(t, &Options{OutboxLimit: 64 << 10, OutboxMax: 1 << 20}, true, 0)
	stalled, stalledID := g.openWS("")
	healthy, healthyID := g.openWS("")
	_ = stalled
	m := NewMessage(make([]byte, 32<<10))
	for i := range 2000 {
		if err := g.recorder(stalledID).s.SendQueued(m); err == ErrSlowConsumer {
			break
		} else if err != nil || i == 1999 {
			t.Fatalf("message %d: %v", i, err)
		}
		if i%100 == 0 {
			if err := g.recorder(healthyID).s.Send(NewMessage(fmt.Appendf(nil, "%d", i))); err != nil {
				t.Fatal(err)
			}
			healthy.expect(fmt.Sprintf("4%d", i))
		}
	}
	within(t, "the end of the slow consumer", g.recorder(stalledID).closed)
	if got := g.recorder(stalledID).ended(); got != ReasonTransportError {
		t.Errorf("ended with %q", got)
	}
}

// TestSlowReader: a client on a slow link reads less in 5 s than the kernel frees before it takes more. That it reads at all
// shows in what is on its way.
func TestSlowReader(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("other systems do not tell what is on its way")
	}
	g := newRigOn(t, &Options{OutboxLimit: 64 << 10}, true, 0)
	ws, sid := g.openWS("")
	s := g.recorder(sid).s
	m := NewMessage(make([]byte, 64<<10))
	for range 300 { // more than the kernels of both sides hold
		if err := s.Send(m); err != nil {
			t.Fatal(err)
		}
	}
	// slow sends a message if it is the first after some progress, and else says what it would meet after stallTime.
	slow := func() bool {
		s.mu.Lock()
		begun := s.out.stall.since != 0
		if begun {
			s.out.stall.since -= int64(stallTime)
		}
		slow := s.slowLocked()
		s.mu.Unlock()
		if !begun {
			_ = s.Send(m)
		}
		return slow
	}
	eventually(t, "that the kernels are full", slow)
	for range 10 {
		for slow() {
			ws.frame()
		}
		eventually(t, "that the kernels are full again", slow)
	}
	if err := s.Send(m); err != ErrSlowConsumer {
		t.Errorf("a client that does not read any more: %v", err)
	}
}

// busyConn queues another message whenever one is written, as other goroutines may.
type busyConn struct {
	syscall.RawConn
	s      *Session
	writes atomic.Int32
}

func (c *busyConn) Write(f func(uintptr) bool) error {
	if c.writes.Add(1) < 1000 {
		_ = c.s.Send(NewMessage([]byte("more")))
	}
	return c.RawConn.Write(f)
}

// Who writes at once is not held up by those who go on sending.
func TestWriterIsRelieved(t *testing.T) {
	g := newRigOn(t, nil, true, 0)
	var raw *busyConn
	sent := make(chan int32, 1)
	g.onText = func(r *recorder, _ string) {
		raw = &busyConn{RawConn: r.s.transport.(*wsConn).raw, s: r.s}
		if raw.RawConn != nil { // otherwise the system has no non-blocking writes
			r.s.transport.(*wsConn).raw = raw
		}
		_ = r.s.Send(NewMessage([]byte("first")))
		sent <- raw.writes.Load()
	}
	ws, sid := g.openWS("")
	ws.say("4go")
	writes := <-sent
	if writes > 2*maxRounds {
		t.Errorf("Send has written %d times", writes)
	}
	ws.expect("4first")
	_ = g.recorder(sid).s.Send(NewMessage([]byte("last")))
	for {
		if got := ws.text(); got == "4last" {
			break
		} else if got != "4more" {
			t.Fatalf("got %q", got)
		}
	}
}

// Large messages, attachments and compression arrive intact whatever the kernel takes at once.
func TestLargeMessages(t *testing.T) {
	g := newRigOn(t, &Options{OutboxLimit: 64 << 20}, true, 0)
	ws, sid := g.openWS("")
	s := g.recorder(sid).s
	sizes := []int{0, 1, 125, 126, 5000, 8192, 20_000, 70_000, 3_000_000}
	payload := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = 'a' + byte(i%23)
		}
		return b
	}
	go func() {
		for _, n := range sizes {
			m := NewMessage(payload(n), payload(n/2), nil, payload(n))
			_ = s.Send(m)
			_ = s.SendQueued(m)
		}
	}()
	for _, n := range sizes {
		for range 2 {
			for i, want := range []string{"4" + string(payload(n)), string(payload(n / 2)), "", string(payload(n))} {
				if _, got := ws.frame(); string(got) != want {
					t.Fatalf("size %d, part %d: %d bytes, want %d", n, i, len(got), len(want))
				}
			}
		}
	}
}
