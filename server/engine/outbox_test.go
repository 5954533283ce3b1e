package engine

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestVolatile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		m := NewMessage([]byte("v"))
		ws, sid := g.openWS("")
		synctest.Wait()
		s := g.recorder(sid).s
		if !s.SendVolatile(m) {
			t.Error("dropped on an idle websocket")
		}
		ws.expect("4v")
		synctest.Wait()
		// Nobody reads the pipe: the first write stays under way.
		if !s.SendVolatile(m) || s.SendVolatile(m) {
			t.Error("not dropped behind a write")
		}
		ws.expect("4v")

		sid, target := g.openPoll()
		s = g.recorder(sid).s
		if s.SendVolatile(m) {
			t.Error("not dropped without a poll")
		}
		poll := g.async("GET", target, "")
		synctest.Wait()
		if !s.SendVolatile(m) {
			t.Error("dropped with a parked poll")
		}
		if a := <-poll; a.body != "4v" {
			t.Errorf("%+v", a)
		}
		s.Discard()
		if s.SendVolatile(m) {
			t.Error("sent on a closed session")
		}
		if n := g.srv.Stats().Drops["volatile"]; n != 3 {
			t.Errorf("%d drops counted", n)
		}
	})
}

// What is queued when a session ends is counted as such, by packets.
func TestDropsAtEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newRig(t, nil)
		sid, _ := g.openPoll()
		s := g.recorder(sid).s
		for range 3 {
			_ = s.Send(NewMessage([]byte("m"), []byte("attachment")))
		}
		s.Discard()
		st := g.srv.Stats()
		if st.Drops["closed"] != 6 || st.Drops["volatile"] != 0 || st.QueuedBytes != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// Whatever is chosen, and however little memory there is, one client may owe less than all of them.
func TestOutboxDefaults(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct{ chosen, want [3]int64 }{
		{[3]int64{}, [3]int64{mb, 64 * mb, 256 * mb}},
		{[3]int64{100 * mb, 0, 0}, [3]int64{100 * mb, 100 * mb, 256 * mb}},
		{[3]int64{0, 500 * mb, 0}, [3]int64{mb, 500 * mb, 500 * mb}},
		{[3]int64{0, 0, 16 * mb}, [3]int64{mb, 8 * mb, 16 * mb}},
		{[3]int64{0, 0, 1000}, [3]int64{500, 500, 1000}},
		{[3]int64{2000, 0, 3000}, [3]int64{2000, 2000, 3000}},
	} {
		cfg := &settings{Options: Options{OutboxLimit: c.chosen[0], OutboxMax: c.chosen[1], OutboxTotal: c.chosen[2]}}
		err := cfg.setOutbox(1 << 40)
		if got := [3]int64{cfg.OutboxLimit, cfg.OutboxMax, cfg.OutboxTotal}; got != c.want || err != nil {
			t.Errorf("%v: %v, want %v, %v", c.chosen, got, c.want, err)
		}
	}
	cfg := &settings{}
	if err := cfg.setOutbox(4 * mb); cfg.OutboxMax != 2*mb || cfg.OutboxTotal != 4*mb || err != nil {
		t.Errorf("with little memory: %+v, %v", cfg.Options, err)
	}
}

func TestSlowConsumer(t *testing.T) {
	big := NewMessage(bytes.Repeat([]byte("x"), 1000))
	t.Run("stalled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, &Options{OutboxLimit: 10_000})
			_, sid := g.openWS("")
			s := g.recorder(sid).s
			for range 20 {
				if err := s.Send(big); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(4 * time.Second)
			if err := s.Send(big); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			if err := s.Send(big); err != ErrSlowConsumer {
				t.Fatalf("got %v", err)
			}
			g.expectEnd(sid, ReasonTransportError, ErrSlowConsumer)
			st := g.srv.Stats()
			if st.Limits["slow_consumer"] != 1 || st.Drops["slow_consumer"]+st.Drops["closed"] != 21 || st.QueuedBytes != 0 {
				t.Errorf("%+v", st)
			}
		})
	})
	t.Run("progress", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, &Options{OutboxLimit: 10_000})
			ws, sid := g.openWS("")
			s := g.recorder(sid).s
			for range 20 {
				_ = s.Send(big)
			}
			for range 20 {
				time.Sleep(time.Second)
				for range 4 {
					ws.text()
					if err := s.Send(big); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	})
	t.Run("a burst", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, &Options{OutboxLimit: 10_000})
			ws, sid := g.openWS("")
			for i := range 2000 {
				if err := g.recorder(sid).s.Send(big); err != nil {
					t.Fatalf("message %d: %v", i, err)
				}
			}
			for range 2000 {
				if first, p := ws.frame(); first != 0x81 || len(p) != 1001 {
					t.Fatalf("frame %x of %d bytes", first, len(p))
				}
			}
		})
	})
	t.Run("beyond the maximum", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, &Options{OutboxLimit: 10_000, OutboxMax: 300_000})
			sid, _ := g.openPoll()
			s := g.recorder(sid).s
			if err := s.Send(NewMessage(make([]byte, 400_000))); err != nil {
				t.Fatalf("one large message: %v", err)
			}
			if err := s.Send(big); err != ErrSlowConsumer {
				t.Fatalf("got %v", err)
			}
			g.expectEnd(sid, ReasonTransportError, ErrSlowConsumer)
		})
	})
	t.Run("server budget during writes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, &Options{OutboxTotal: 50_000})
			_, light := g.openWS("")
			_, heavy := g.openWS("")
			synctest.Wait()
			_ = g.recorder(heavy).s.Send(NewMessage(make([]byte, 30_000)))
			synctest.Wait() // nobody reads: it is being written
			_ = g.recorder(light).s.Send(NewMessage(make([]byte, 20_000)))
			g.expectEnd(heavy, ReasonTransportError, ErrOutboxTotal)
			g.expectEnd(light, "", nil)
		})
	})
	t.Run("server budget", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, &Options{OutboxTotal: 50_000})
			light, _ := g.openPoll()
			heavy, _ := g.openPoll()
			shared := NewMessage(make([]byte, 20_000))
			for _, sid := range []string{light, heavy} {
				if err := g.recorder(sid).s.Send(shared); err != nil {
					t.Fatal(err)
				}
			}
			if n := g.srv.Stats().QueuedBytes; n != 20_001 {
				t.Errorf("%d bytes charged for a shared message", n)
			}
			_ = g.recorder(heavy).s.Send(NewMessage(make([]byte, 40_000)))
			g.expectEnd(heavy, ReasonTransportError, ErrOutboxTotal)
			g.expectEnd(light, "", nil)
			g.recorder(light).s.Discard()
			if n := g.srv.Stats().QueuedBytes; n != 0 {
				t.Errorf("%d bytes left", n)
			}
		})
	})
}

// A message that two servers of one process share counts for each of them, once, and for neither when it has left.
func TestBudgetOfEachServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := NewMessage(make([]byte, 20_000))
		var rigs []*rig
		for i := range 3 {
			g := newRig(t, &Options{OutboxTotal: []int64{1 << 20, 20_000, 1 << 20}[i]})
			rigs = append(rigs, g)
			for range 2 {
				sid, _ := g.openPoll()
				_ = g.recorder(sid).s.Send(shared)
			}
			synctest.Wait()
		}
		for i, g := range rigs {
			st := g.srv.Stats()
			if i == 1 {
				if st.Sessions != 0 || st.QueuedBytes != 0 || st.Limits["outbox_total"] == 0 {
					t.Errorf("the server with the small budget: %+v", st)
				}
				continue
			}
			if st.QueuedBytes != 20_001 || st.Sessions != 2 {
				t.Errorf("server %d: %+v", i, st)
			}
			for _, s := range g.srv.Sessions() {
				s.Discard()
			}
			if n := g.srv.Stats().QueuedBytes; n != 0 {
				t.Errorf("server %d: %d bytes left", i, n)
			}
		}
	})
}

// stuckPoll opens a session and sends a poll on a connection from which only the test reads.
func stuckPoll(t *testing.T, g *rig) (s *Session, sid string, conn net.Conn) {
	t.Helper()
	sid, target := g.openPoll()
	conn, err := g.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", target); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return g.recorder(sid).s, sid, conn
}

// What a poll takes counts as queued until the client has read it.
func TestSlowPoll(t *testing.T) {
	big, small := NewMessage(bytes.Repeat([]byte("x"), 100_000)), NewMessage([]byte("m"))
	opts := func() *Options {
		return &Options{OutboxLimit: 10_000, PingInterval: time.Hour, HTTPCompression: &HTTPCompression{Disabled: true}}
	}
	t.Run("stalled", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, opts())
			s, sid, conn := stuckPoll(t, g)
			_ = s.Send(big)
			time.Sleep(4 * time.Second)
			if n, total := s.Queued(), g.srv.Stats().QueuedBytes; n < 100_000 || total < 100_000 {
				t.Errorf("%d bytes are queued, %d in all", n, total)
			}
			if err := s.Send(small); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			if err := s.Send(small); err != ErrSlowConsumer {
				t.Fatalf("got %v", err)
			}
			g.expectEnd(sid, ReasonTransportError, ErrSlowConsumer)
			if _, err := io.CopyN(io.Discard, conn, 60_000); err == nil {
				t.Error("the rest of the answer is still written")
			}
			synctest.Wait()
			if n := g.srv.Stats().QueuedBytes; n != 0 {
				t.Errorf("%d bytes left", n)
			}
		})
	})
	t.Run("slow", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, opts())
			s, sid, conn := stuckPoll(t, g)
			_ = s.Send(big)
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 18_000)
			for range 5 {
				if _, err := io.ReadFull(res.Body, buf); err != nil {
					t.Fatal(err)
				}
				time.Sleep(4 * time.Second)
				if err := s.Send(small); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := io.Copy(io.Discard, res.Body); n != 10_001 || err != nil {
				t.Fatalf("%d bytes at the end, %v", n, err)
			}
			synctest.Wait()
			if n := s.Queued(); n > 1000 {
				t.Errorf("%d bytes are queued", n)
			}
			g.expectEnd(sid, "", nil)
		})
	})
	// The kernel has taken the whole body, which says nothing of the client: it needs 16 s for it on a slow link.
	t.Run("fetched over a slow link", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, opts())
			s, sid, conn := stuckPoll(t, g)
			_ = s.Send(NewMessage(make([]byte, 16*slowLink)))
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			for range 3 {
				if err := s.Send(big); err != nil {
					t.Fatal(err)
				}
				time.Sleep(stallTime)
			}
			if err := s.Send(small); err != nil { // 15 s after
				t.Fatal(err)
			}
			time.Sleep(stallTime) // the rest was taken in the first of them
			if err := s.Send(small); err != nil {
				t.Fatal(err)
			}
			time.Sleep(stallTime)
			if err := s.Send(small); err != ErrSlowConsumer {
				t.Fatalf("got %v", err)
			}
			g.expectEnd(sid, ReasonTransportError, ErrSlowConsumer)
		})
	})
	t.Run("long", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			opts := opts()
			opts.OutboxLimit = 10_000_000
			g := newRig(t, opts)
			s, _, conn := stuckPoll(t, g)
			_ = s.Send(NewMessage(make([]byte, 3_000_000)))
			buf := make([]byte, 30_000)
			for range 100 {
				if _, err := io.ReadFull(conn, buf); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
		})
	})
}
