package server_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// drained is a server in virtual time, and what its application hears of sockets.
type drained struct {
	*servertest.Server
	srv *server.Server

	mu      sync.Mutex
	ends    []time.Time // of sockets
	order   []string    // their ids
	reasons map[server.Reason]int
}

// inBubble runs a test with a server in virtual time.
func inBubble(t *testing.T, opts server.Options, f func(t *testing.T, d *drained)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opts.Logger = quiet()
		srv, err := server.New(&opts)
		if err != nil {
			t.Fatal(err)
		}
		d := &drained{srv: srv, reasons: make(map[server.Reason]int)}
		srv.Of("/").OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.ends, d.order = append(d.ends, time.Now()), append(d.order, s.ID())
			d.reasons[reason]++
		})
		d.Server = servertest.New(t, srv, &servertest.Options{Timeout: time.Hour})
		f(t, d)
	})
}

// clients connects some, by websocket and by polling in turns, and returns their sockets.
func (d *drained) clients(t *testing.T, n int) (sockets []*servertest.Socket) {
	t.Helper()
	for i := range n {
		opts := &servertest.DialOptions{Transport: []string{engine.TransportWebSocket, engine.TransportPolling}[i%2]}
		sockets = append(sockets, d.Dial(t, opts).Connect("/", nil))
	}
	synctest.Wait()
	return sockets
}

func (d *drained) sessions() int { return d.srv.Stats().Engine.Sessions }

// begin calls Drain on a goroutine of its own.
func (d *drained) begin(opts *server.DrainOptions) <-chan error {
	done := make(chan error, 1)
	go func() { done <- d.srv.Drain(context.Background(), opts) }()
	synctest.Wait()
	return done
}

func expectEnd(t *testing.T, done <-chan error, want error) {
	t.Helper()
	if err := <-done; !errors.Is(err, want) {
		t.Errorf("drain: %v, want %v", err, want)
	}
}

// TestDrainPace closes connections at the rate, in an order of its own, each as clients have to see it to come back by themselves.
func TestDrainPace(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		sockets := d.clients(t, 40)
		began := time.Now()
		done := d.begin(&server.DrainOptions{Rate: 10})
		time.Sleep(2*time.Second + 5*time.Millisecond)
		synctest.Wait()
		if n := d.sessions(); n < 18 || n > 20 {
			t.Errorf("%d of 40 sessions are left after two seconds at 10 a second", n)
		}
		expectEnd(t, done, nil)
		if took := time.Since(began); took < 3800*time.Millisecond || took > 4100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		var joined []string
		for _, s := range sockets {
			joined = append(joined, s.ID())
			switch end := s.Client().ExpectClosed(); {
			case end.Status == http.StatusBadRequest, end.Code == 1006: // no close packet, no close frame
			default:
				t.Errorf("ended with %v", end)
			}
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.reasons[server.ReasonShutdown] != 40 || len(d.reasons) != 1 {
			t.Errorf("reasons: %v", d.reasons)
		}
		if slices.Equal(d.order, joined) {
			t.Error("the connections were closed in the order in which they had come")
		}
		if s := d.srv.Stats(); !s.Draining || s.Drained != 40 || s.DrainCut != 0 {
			t.Errorf("afterwards: %+v", s)
		}
	})
}

// TestDrainGrace: clients are let in during the grace, and refused afterwards; all are drained.
func TestDrainGrace(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		d.clients(t, 2)
		began := time.Now()
		done := d.begin(&server.DrainOptions{Grace: time.Second, Rate: 1})
		if !d.srv.Draining() || !d.srv.Node().Draining {
			t.Error("it is not said at once that the server drains")
		}
		d.clients(t, 2)
		time.Sleep(time.Second)
		synctest.Wait()
		d.expectRefused(t)
		expectEnd(t, done, nil)
		if took := time.Since(began); took < 4*time.Second {
			t.Errorf("four clients at one a second, the first at once, and the grace took %v", took)
		}
		if s := d.srv.Stats(); s.Drained != 4 || s.Engine.TurnedAway != 3 {
			t.Errorf("afterwards: %d drained, %d turned away", s.Drained, s.Engine.TurnedAway)
		}
	})
}

// expectRefused tries three handshakes.
func (d *drained) expectRefused(t *testing.T) {
	t.Helper()
	for _, transport := range []string{engine.TransportWebSocket, engine.TransportPolling} {
		var refused *servertest.CloseError
		_, err := d.TryDial(t, &servertest.DialOptions{Transport: transport})
		if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable {
			t.Errorf("%s: %v", transport, err)
		}
	}
	resp, err := d.HTTPClient().Get("http://x/socket.io/?EIO=4&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, %v", resp.StatusCode, resp.Header)
	}
}

// TestRefuseHandshakes: sessions that are there poll, post and upgrade.
func TestRefuseHandshakes(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		d.srv.Of("/").Handle("echo", server.FuncAck(func(_ context.Context, _ *server.Socket, s string) (string, error) { return s, nil }))
		s := d.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling}).Connect("/", nil)
		d.srv.Engine().RefuseHandshakes(true)
		d.expectRefused(t)
		s.EmitWithAck("echo", "polling")
		s.Client().Upgrade()
		s.EmitWithAck("echo", "websocket")
		d.srv.Engine().RefuseHandshakes(false)
		d.clients(t, 2)
	})
}

// TestDrainNothing: a server without clients has nothing to wait for but the grace.
func TestDrainNothing(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		began := time.Now()
		for _, grace := range []time.Duration{0, time.Second} {
			if err := d.srv.Drain(t.Context(), &server.DrainOptions{Grace: grace}); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took != grace {
				t.Errorf("took %v with a grace of %v", took, grace)
			}
		}
		if err := d.srv.Drain(t.Context(), &server.DrainOptions{Rate: -1}); err == nil {
			t.Error("a negative rate is taken")
		}
	})
}

// TestUndrain calls a drain off, in its grace and while it closes connections.
func TestUndrain(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		d.clients(t, 10)
		done := d.begin(&server.DrainOptions{Grace: time.Minute})
		d.srv.Undrain()
		expectEnd(t, done, server.ErrUndrained)
		if n := d.sessions(); n != 10 || d.srv.Draining() || d.srv.Node().Draining {
			t.Errorf("%d sessions, draining %v", n, d.srv.Draining())
		}
		done = d.begin(&server.DrainOptions{Rate: 1})
		time.Sleep(2500 * time.Millisecond)
		d.srv.Undrain()
		d.srv.Undrain()
		expectEnd(t, done, server.ErrUndrained)
		synctest.Wait()
		if n := d.sessions(); n < 6 || n > 8 {
			t.Errorf("%d sessions of 10 are left after two and a half seconds at one a second", n)
		}
		left := d.sessions()
		d.clients(t, 2)
		time.Sleep(time.Minute)
		if n := d.sessions(); n != left+2 || d.srv.Stats().Draining {
			t.Errorf("%d sessions, want %d", n, left+2)
		}
	})
}

// TestDrainTwice: a drain whose context ends leaves the rest, and goes on refusing; a second one, and one beside it, add up.
func TestDrainTwice(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		d.clients(t, 30)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := d.srv.Drain(ctx, &server.DrainOptions{Rate: 5}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		d.expectRefused(t)
		left, began := d.sessions(), time.Now()
		if left < 23 || left > 25 {
			t.Errorf("%d sessions of 30 are left after a second at 5 a second", left)
		}
		one, other := d.begin(&server.DrainOptions{Rate: 5}), d.begin(&server.DrainOptions{Rate: 5})
		expectEnd(t, one, nil)
		expectEnd(t, other, nil)
		if took, want := time.Since(began), time.Duration(left)*time.Second/10; took > want {
			t.Errorf("%d sessions took %v at twice 5 a second", left, took)
		}
		if s := d.srv.Stats(); s.Drained != 30 {
			t.Errorf("%d were drained", s.Drained)
		}
	})
}

// TestDrainTimeout: the rate is raised so that all are told in time, and who takes nothing is cut off at the end.
func TestDrainTimeout(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		sockets := d.clients(t, 50)
		stuck := sockets[0].Client()
		stuck.Stall()
		for range 100 { // more than a connection holds
			if err := d.srv.Of("/").Emit("x", make([]byte, 4<<10)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		began := time.Now()
		done := d.begin(&server.DrainOptions{Rate: 1, Timeout: 10 * time.Second})
		time.Sleep(8*time.Second + 100*time.Millisecond)
		synctest.Wait()
		if n := d.sessions(); n != 1 {
			t.Errorf("%d sessions are left after four fifths of the time, want the stuck one", n)
		}
		expectEnd(t, done, nil)
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
		if s := d.srv.Stats(); s.DrainCut != 1 || s.Drained != 50 {
			t.Errorf("%d drained, %d cut off", s.Drained, s.DrainCut)
		}
		stuck.Resume()
		stuck.ExpectClosed()
	})
}

// TestDrainAbsent: a client on polling that has vanished does not hold the drain up, one that comes again within two seconds gets
// everything.
func TestDrainAbsent(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		var clients []*servertest.Socket
		for range 2 {
			c := d.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
			clients = append(clients, c.Connect("/", nil))
			c.Stall() // from now on it polls once more
		}
		synctest.Wait()
		for range 2 {
			if err := d.srv.Of("/").Emit("x"); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		began := time.Now()
		done := d.begin(nil)
		time.Sleep(time.Second)
		clients[1].Client().Resume()
		for range 2 {
			clients[1].Expect("x")
		}
		if end := clients[1].Client().ExpectClosed(); end.Status != http.StatusBadRequest {
			t.Errorf("ended with %v", end)
		}
		expectEnd(t, done, nil)
		if took := time.Since(began); took < 2*time.Second || took > 2100*time.Millisecond {
			t.Errorf("took %v", took)
		}
		clients[0].Client().Resume()
		if end := clients[0].Client().ExpectClosed(); end.Status != http.StatusBadRequest {
			t.Errorf("the one that vanished ended with %v", end)
		}
	})
}

// TestDrainFlushes: what was queued before a connection is closed arrives.
func TestDrainFlushes(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		sockets := d.clients(t, 4)
		for _, s := range sockets {
			s.Client().Stall()
		}
		text := strings.Repeat("x", 1<<10)
		for i := range 200 {
			if err := d.srv.Of("/").Emit("n", i, text); err != nil {
				t.Fatal(err)
			}
		}
		done := d.begin(nil)
		for _, s := range sockets {
			s.Client().Resume()
			for i := range 200 {
				s.Expect("n", i, text)
			}
			s.Client().ExpectClosed()
		}
		expectEnd(t, done, nil)
	})
}

// TestBeforeDrain: the hook sees the sockets as they were.
func TestBeforeDrain(t *testing.T) {
	saved := make(chan []string, 10)
	opts := server.Options{Hooks: []server.Hooks{{BeforeDrain: func(s *server.Socket) {
		if s.Connected() {
			saved <- s.Rooms()[1:]
		}
	}}}}
	inBubble(t, opts, func(t *testing.T, d *drained) {
		d.srv.Of("/").OnConnection(func(ctx context.Context, s *server.Socket) { _ = s.Join(ctx, "r") })
		d.clients(t, 2)
		if err := d.srv.Drain(t.Context(), nil); err != nil {
			t.Error(err)
		}
		for range 2 {
			if rooms := <-saved; !slices.Equal(rooms, []string{"r"}) {
				t.Errorf("saved with rooms %v", rooms)
			}
		}
	})
}

// TestShutdownDuringDrain: Shutdown does not wait for the pace.
func TestShutdownDuringDrain(t *testing.T) {
	inBubble(t, server.Options{}, func(t *testing.T, d *drained) {
		d.clients(t, 10)
		began := time.Now()
		done := d.begin(&server.DrainOptions{Rate: 1})
		if err := d.srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		expectEnd(t, done, nil)
		if took := time.Since(began); took > 2*time.Second { // one of them is for clients' answers to the close frames
			t.Errorf("took %v", took)
		}
		if d.srv.Undrain(); !d.srv.Draining() {
			t.Error("a server that has ended says that it takes clients")
		}
	})
}
