package limits_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/limits"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// seen is an observer that counts.
type seen struct {
	mu                     sync.Mutex
	received, sent, closed int
	held                   bool
}

func (o *seen) Received(string, int) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.received++
	return nil
}

func (o *seen) Sent(_ string, packets, _ int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent += packets
}

func (o *seen) Hold(int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = true
	return nil
}

func (o *seen) Release(int64) {}

func (o *seen) Closed(string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed++
}

func (o *seen) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Sprintf("received %d, sent %d, held %v, closed %d", o.received, o.sent, o.held, o.closed)
}

// paced sends events one after the other as a client that behaves, and expects each to be answered at once.
func paced(t testing.TB, s *servertest.Socket, count int, every time.Duration) {
	t.Helper()
	for range count {
		before := time.Now()
		echo(t, s)
		if took := time.Since(before); took > 0 { // virtual time
			t.Errorf("an answer took %v", took)
		}
		time.Sleep(every)
	}
}

// Events beyond the limit are dropped with an error for those who wait; a client beside the abuser does not notice.
func TestEventsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &limits.Options{Events: limits.Rate{PerSecond: 2, Burst: 4, Action: limits.Drop}}, nil)
		abuser, good := n.connect(t, "192.0.2.1:1"), n.connect(t, "192.0.2.1:2")
		for range 4 {
			echo(t, abuser)
		}
		expectReply(t, abuser.EmitWithAck("echo", "x"), `{"error":{"message":"Too many events","data":{"code":"events","retryAfter":0.5}}}`)
		for range 100 {
			abuser.Emit("echo", "x")
		}
		paced(t, good, 20, 500*time.Millisecond)
		echo(t, abuser)
		n.expectHits(t, map[string]uint64{"events": 101})
	})
}

// A client that is slowed down loses nothing, and gets through what the rate allows.
func TestEventsSlowedDown(t *testing.T) {
	for _, transport := range []string{engine.TransportPolling, engine.TransportWebSocket} {
		t.Run(transport, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := start(t, &limits.Options{Events: limits.Rate{PerSecond: 10, Burst: 20}}, nil)
				o := from("192.0.2.1:1")
				o.Transport = transport
				abuser, good := n.web.Dial(t, o).Connect("/", nil), n.connect(t, "192.0.2.2:1")
				begun := time.Now()
				done := make(chan struct{})
				go func() {
					defer close(done)
					for range 200 {
						_ = abuser.Client().Write(t.Context(), servertest.Packet{Data: `42["echo","x"]`})
					}
				}()
				paced(t, good, 10, time.Second)
				<-done
				expectReply(t, abuser.EmitWithAck("echo", "last"), `"last"`)
				// 201 events: two bursts at most are free.
				if took := time.Since(begun); took < 15*time.Second || took > 25*time.Second {
					t.Errorf("it took %v", took)
				}
				if hits := n.limits.Stats()["events"]; hits < 10 || hits > 200 {
					t.Errorf("%d pauses", hits)
				}
			})
		})
	}
}

// A client that is to be disconnected is, from all its namespaces, and is not to come back by itself.
func TestEventsDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &limits.Options{Events: limits.Rate{PerSecond: 1, Burst: 2, Action: limits.Disconnect}}, nil)
		abuser, good := n.connect(t, "192.0.2.1:1"), n.connect(t, "192.0.2.2:1")
		for range 3 {
			abuser.Emit("echo", "x")
		}
		abuser.ExpectDisconnect()
		abuser.Client().ExpectClosed()
		echo(t, good)
		n.expectHits(t, map[string]uint64{"events": 1})
	})
}

// Many events can have rates of their own.
func TestManyEventOverrides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := map[string]limits.Rate{"typing": {PerSecond: 1, Burst: 1, Action: limits.Drop}}
		for i := range 50 {
			own[fmt.Sprint("event ", i)] = limits.Rate{PerSecond: 1}
		}
		n := start(t, &limits.Options{EventOverrides: own}, nil)
		s := n.connect(t, "192.0.2.1:1")
		expectReply(t, s.EmitWithAck("typing", 1), "1")
		if reply := string(s.EmitWithAck("typing", 2).At(0).JSON); !strings.Contains(reply, `"code":"events"`) {
			t.Errorf("got %s", reply)
		}
		for range 20 {
			echo(t, s)
		}
	})
}

// An event with a rate of its own does not count with the others, and all namespaces of a client share its limits.
func TestEventOverrides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &limits.Options{
			Events: limits.Rate{PerSecond: 1, Burst: 3, Action: limits.Drop},
			EventOverrides: map[string]limits.Rate{
				"typing": {PerSecond: 1, Burst: 1, Action: limits.Drop},
				"join":   {},
			},
		}, nil)
		s := n.connect(t, "192.0.2.1:1")
		expectReply(t, s.EmitWithAck("typing", 1), "1")
		for range 5 {
			if reply := string(s.EmitWithAck("typing", 2).At(0).JSON); !strings.Contains(reply, `"code":"events"`) {
				t.Errorf("got %s", reply)
			}
			expectReply(t, s.EmitWithAck("join", []string{"a"}), "true")
		}
		other := s.Client().Connect("/a", nil)
		for range 2 {
			echo(t, s)
		}
		echo(t, other)
		if reply := string(other.EmitWithAck("echo", 2).At(0).JSON); !strings.Contains(reply, `"code":"events"`) {
			t.Errorf("got %s", reply)
		}
	})
}

// Bytes and packets are bounded for what is no event, too: here acknowledgements that nobody waits for, and large messages.
func TestPacketsAndBytes(t *testing.T) {
	flood := func(t *testing.T, o *limits.Options, packet string, count int, atLeast time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			n := start(t, o, nil)
			abuser, good := n.connect(t, "192.0.2.1:1"), n.connect(t, "192.0.2.2:1")
			done := make(chan time.Duration)
			begun := time.Now()
			go func() {
				for range count {
					_ = abuser.Client().Write(t.Context(), servertest.Packet{Data: packet})
				}
				done <- time.Since(begun)
			}()
			paced(t, good, 5, time.Second)
			<-done
			echo(t, abuser)
			if took := time.Since(begun); took < atLeast || took > 4*atLeast {
				t.Errorf("it took %v, want %v", took, atLeast)
			}
		})
	}
	t.Run("packets", func(t *testing.T) {
		flood(t, &limits.Options{Packets: limits.Rate{PerSecond: 100, Burst: 100}}, `4399[]`, 2000, 17*time.Second)
	})
	t.Run("bytes", func(t *testing.T) {
		flood(t, &limits.Options{Bytes: limits.Rate{PerSecond: 100_000, Burst: 100_000}},
			`42["nobody","`+strings.Repeat("x", 50_000)+`"]`, 30, 12*time.Second)
	})
	t.Run("disconnect", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := start(t, &limits.Options{Packets: limits.Rate{PerSecond: 1, Burst: 3, Action: limits.Disconnect}}, nil)
			abuser := n.connect(t, "192.0.2.1:1")
			for range 3 {
				abuser.Client().Send("3")
			}
			if end := abuser.Client().ExpectClosed(); end.Code != 1008 {
				t.Errorf("closed with %v", end)
			}
			n.expectHits(t, map[string]uint64{"packets": 1})
		})
	})
}

func TestJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &limits.Options{Joins: limits.Rate{PerSecond: 1, Burst: 5}}, nil)
		abuser, good := n.connect(t, "192.0.2.1:1"), n.connect(t, "192.0.2.2:1")
		expectReply(t, abuser.EmitWithAck("join", []string{"a", "b", "c"}), "true")
		expectReply(t, abuser.EmitWithAck("join", []string{"d", "e", "f"}),
			`{"error":{"message":"Too many rooms joined","data":{"code":"joins","retryAfter":1}}}`)
		expectReply(t, abuser.EmitWithAck("join", []string{"d", "e"}), "true")
		expectReply(t, good.EmitWithAck("join", []string{"a"}), "true")
		time.Sleep(5 * time.Second)
		many := make([]string, 100)
		for i := range many {
			many[i] = fmt.Sprint("room ", i)
		}
		expectReply(t, abuser.EmitWithAck("join", many), "true") // an empty bucket is what it costs
		if reply := string(abuser.EmitWithAck("join", []string{"z"}).At(0).JSON); !strings.Contains(reply, "joins") {
			t.Errorf("got %s", reply)
		}
		n.expectHits(t, map[string]uint64{"joins": 2})
	})
}

func TestConnectsAndNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &limits.Options{Connects: limits.Rate{PerSecond: 1, Burst: 5}, Namespaces: 2}, nil)
		good := n.connect(t, "192.0.2.2:1")
		c := n.web.Dial(t, from("192.0.2.1:1"))
		c.Connect("/", nil)
		a := c.Connect("/a", nil)
		c.Send("40/b,")
		c.Expect(`44/b,{"message":"Too many namespaces","data":{"code":"namespaces"}}`)
		a.Disconnect()
		c.Connect("/b", nil)
		c.Send("40/none,")
		c.Expect(`44/none,{"message":"Too many namespaces","data":{"code":"namespaces"}}`)
		c.Send("40/none,")
		c.Expect(`44/none,{"message":"Too many connection attempts","data":{"code":"connects","retryAfter":1}}`)
		echo(t, good)
		n.expectHits(t, map[string]uint64{"namespaces": 2, "connects": 1})
	})
	t.Run("disconnect", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := start(t, &limits.Options{Connects: limits.Rate{PerSecond: 1, Burst: 2, Action: limits.Disconnect}}, nil)
			c := n.web.Dial(t, from("192.0.2.1:1"))
			c.Send("40/x,", "40/y,", "40/z,")
			c.ExpectClosed()
			n.expectHits(t, map[string]uint64{"connects": 1})
		})
	})
}

// A user has one budget on all its connections, also after it has gone and come back.
func TestUserEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var login server.State[string]
		n := start(t, &limits.Options{
			UserEvents: limits.Rate{PerSecond: 1, Burst: 10},
			UserOf: func(s *server.Socket) string {
				user, _ := login.Load(s)
				return user
			},
		}, nil)
		connect := func(user string) *servertest.Socket {
			s := n.connect(t, "192.0.2.1:1")
			local, _ := n.Of("/").Socket(s.ID())
			login.Set(local, user)
			return s
		}
		one, two, good := connect("eve"), connect("eve"), connect("ann")
		for range 5 {
			echo(t, one)
			echo(t, two)
		}
		refusal := `{"error":{"message":"Too many messages","data":{"code":"user_events","retryAfter":1}}}`
		expectReply(t, one.EmitWithAck("echo", 1), refusal)
		expectReply(t, two.EmitWithAck("echo", 1), refusal)
		echo(t, good)
		one.Client().Close()
		two.Client().Close()
		synctest.Wait()
		again := connect("eve")
		expectReply(t, again.EmitWithAck("echo", 1), refusal)
		time.Sleep(20 * time.Second)
		for range 10 {
			echo(t, again)
		}
		expectReply(t, again.EmitWithAck("echo", 1), refusal)
		nobody := n.connect(t, "192.0.2.1:1")
		for range 20 {
			echo(t, nobody)
		}
		if known := n.limits.Users(); known != 2 {
			t.Errorf("%d users are known while two are there", known)
		}
		for _, c := range []*servertest.Socket{again, good, nobody} {
			c.Client().Close()
		}
		synctest.Wait()
		if known := n.limits.Users(); known != 0 {
			t.Errorf("%d users are known when all have gone", known)
		}
	})
}

// An event that is too long is refused with an error that tells how long it may be, attachments included, and no other one is; a
// namespace and a client may have limits of their own.
func TestEventBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &limits.Options{EventBytesOf: func(s *server.Socket) int {
			switch {
			case s.Namespace().Name() == "/a":
				return 0
			case len(s.Auth()) > 2: // who has shown something
				return 2000
			}
			return 1000
		}}, nil)
		abuser, good := n.connect(t, "192.0.2.1:1"), n.web.Dial(t, from("192.0.2.2:1")).Connect("/", map[string]any{"token": "x"})
		const refusal = `{"error":{"message":"Event too long","data":{"code":"event_bytes","maxBytes":1000}}}`
		long := strings.Repeat("x", 1000)
		expectReply(t, abuser.EmitWithAck("echo", long), refusal)
		expectReply(t, abuser.EmitWithAck("echo", []byte(long)), refusal)
		echo(t, abuser)
		expectReply(t, abuser.Client().Connect("/a", nil).EmitWithAck("echo", long), `"`+long+`"`)
		expectReply(t, good.EmitWithAck("echo", long), `"`+long+`"`)
		n.expectHits(t, map[string]uint64{"event_bytes": 2})
	})
}

// Who sends what is too long is disconnected where that is wanted.
func TestEventBytesDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, &limits.Options{EventBytes: 100, EventBytesAction: limits.Disconnect}, nil)
		abuser, good := n.connect(t, "192.0.2.1:1"), n.connect(t, "192.0.2.2:1")
		abuser.Emit("echo", strings.Repeat("x", 100))
		abuser.Client().ExpectClosed()
		echo(t, good)
		n.expectHits(t, map[string]uint64{"event_bytes": 1})
	})
}
