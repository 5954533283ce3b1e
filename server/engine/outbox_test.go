package engine

import (
	"bytes"
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
	t.Run("far beyond the limit", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, &Options{OutboxLimit: 10_000})
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
	t.Run("process budget", func(t *testing.T) {
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
