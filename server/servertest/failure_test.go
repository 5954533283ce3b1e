package servertest_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// verdict is a test whose failures are kept instead of failing.
type verdict struct {
	testing.TB
	messages []string
	cleanups []func()
}

// judge runs f as a test of its own and returns its failures.
func judge(t *testing.T, f func(t testing.TB)) string {
	v := &verdict{TB: t}
	run := func(f func()) {
		var done sync.WaitGroup
		done.Go(f) // Fatal ends the goroutine
		done.Wait()
	}
	run(func() { f(v) })
	for i := len(v.cleanups) - 1; i >= 0; i-- {
		run(v.cleanups[i])
	}
	return strings.Join(v.messages, "\n")
}

func (v *verdict) Helper()          {}
func (v *verdict) Cleanup(f func()) { v.cleanups = append(v.cleanups, f) }

func (v *verdict) Errorf(format string, args ...any) {
	v.messages = append(v.messages, fmt.Sprintf(format, args...))
}

func (v *verdict) Fatalf(format string, args ...any) {
	v.Errorf(format, args...)
	runtime.Goexit()
}

const silence = "no packet came: gave up after 10s"

// onSocket is a test with a socket that has received two packets.
func onSocket(f func(s *servertest.Socket)) func(t testing.TB, n *node) {
	return func(t testing.TB, n *node) {
		s := n.Connect(t, "/", nil)
		s.EmitWithAck("echo", "earlier")
		s.Expect("echo")
		f(s)
	}
}

// onClient is a test with a client that has received nothing.
func onClient(f func(c *servertest.Client)) func(t testing.TB, n *node) {
	return func(t testing.TB, n *node) { f(n.Dial(t, nil)) }
}

var failures = []struct {
	name string
	fail func(t testing.TB, n *node)
	want []string
}{
	{"no packet", onClient(func(c *servertest.Client) { c.Next() }),
		[]string{"waiting for a packet: " + silence + "; nothing has come before"}},
	{"no packet again", onSocket(func(s *servertest.Socket) { s.Client().Next() }),
		[]string{silence + "; the latest before: ", `"42[\"echo\",\"earlier\"]", "430[\"earlier\"]"`}},
	{"not this packet", onSocket(func(s *servertest.Socket) {
		s.Emit("echo")
		s.Client().Expect("42[]")
	}), []string{`got "42[\"echo\"]", want "42[]"`}},
	{"not the end", onClient(func(c *servertest.Client) { c.Expect("2") }), []string{`waiting for "2": ` + silence}},
	{"stays open", onClient(func(c *servertest.Client) { c.ExpectClosed() }), []string{"the connection stays open: gave up after 10s"}},
	{"ended", onClient(func(c *servertest.Client) {
		c.Send("4x")
		c.Next()
	}), []string{"waiting for a packet: connection ended with code 1005"}},
	{"send after the end", onClient(func(c *servertest.Client) {
		c.Cut()
		c.Send("40")
	}), []string{`send ["40"]: write memory`, "use of closed network connection"}},
	{"raw after the end", onClient(func(c *servertest.Client) {
		c.Cut()
		c.WriteRaw([]byte{1})
	}), []string{"send raw bytes: "}},
	{"upgrade of a websocket", onClient((*servertest.Client).Upgrade), []string{"upgrade: the client is not on polling"}},
	{"dial", func(t testing.TB, n *node) { n.Dial(t, &servertest.DialOptions{SessionID: "?"}) },
		[]string{"dial: HTTP status 400: Session ID unknown"}},
	{"connect", onClient(func(c *servertest.Client) { c.Connect("/private", nil) }),
		[]string{`connect to /private: refused with {"message":"who are you?","data":{"code":7}}`}},
	{"not refused", onClient(func(c *servertest.Client) { c.ConnectRefused("/", nil) }), []string{"connect to /: was not refused"}},
	{"other event", onSocket(func(s *servertest.Socket) {
		s.Emit("echo", 1)
		s.Expect("other")
	}), []string{`got event ["echo",1], want "other"`}},
	{"other arguments", onSocket(func(s *servertest.Socket) {
		s.Emit("echo", []byte{1})
		s.Expect("echo", []byte{2})
	}), []string{`event "echo": got ["echo",{"_placeholder":true,"num":0}], attachment 0 binary 01, want`, "binary 02"}},
	{"no event", onSocket(func(s *servertest.Socket) { s.Expect("any") }), []string{`waiting for event "any": ` + silence}},
	{"disconnected", onSocket(func(s *servertest.Socket) {
		s.Emit("leave")
		s.Expect("any")
	}), []string{"the server has disconnected the socket from /"}},
	{"not disconnected", onSocket((*servertest.Socket).ExpectDisconnect), []string{"waiting to be disconnected from /: " + silence}},
	{"no acknowledgement", onSocket(func(s *servertest.Socket) { s.EmitWithAck("unknown") }), []string{`acknowledgement of "unknown": ` + silence}},
	{"not asked for one", onSocket(func(s *servertest.Socket) {
		s.Emit("echo")
		s.Expect("echo").Ack()
	}), []string{`event "echo" asks for no acknowledgement`}},
	{"not encodable", onSocket(func(s *servertest.Socket) { s.Emit("echo", func() (any, error) { return nil, nil }, selfish()) }),
		[]string{`emit "echo": `}},
}

// TestFailures checks that a test that expects the wrong thing fails, and says what came instead.
func TestFailures(t *testing.T) {
	for _, tt := range failures {
		bubble(t, tt.name, func(t *testing.T) {
			got := judge(t, func(v testing.TB) {
				tt.fail(v, start(v, nil, nil))
				t.Error("the test went on")
			})
			for _, want := range tt.want {
				if !strings.HasPrefix(got, "servertest: ") || !strings.Contains(got, want) {
					t.Errorf("failed with %s\nwant %s", got, want)
				}
			}
		})
	}
}

// selfish is a value that contains itself.
func selfish() any {
	v := make([]any, 1)
	v[0] = v
	return v
}

func TestSendFailsWhenTheServerDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		got := judge(t, func(v testing.TB) {
			n := start(v, &server.Options{InboxLimit: 100}, nil)
			n.srv.Of("/").Handle("wait", server.Func(func(_ context.Context, _ *server.Socket, _ server.None) error {
				<-release
				return nil
			}))
			v.Cleanup(func() { close(release) })
			s := n.Connect(v, "/", nil)
			s.Emit("wait")
			for range 1000 {
				s.Emit("filler", strings.Repeat("x", 1000))
			}
		})
		if !strings.HasPrefix(got, `servertest: emit "filler": gave up after 10s: write memory`) {
			t.Errorf("failed with %s", got)
		}
	})
}

func TestHandlerLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		got := judge(t, func(v testing.TB) {
			n := start(v, nil, nil)
			n.srv.Of("/").Handle("wait", server.Func(func(_ context.Context, _ *server.Socket, _ server.None) error {
				<-release
				return nil
			}))
			n.Connect(v, "/", nil).Emit("wait")
			synctest.Wait()
		})
		close(release)
		if !strings.HasPrefix(got, "servertest: shutdown: context deadline exceeded; stats ") {
			t.Errorf("failed with %s", got)
		}
	})
}

// TestConcurrentUse reads and writes on one client from several goroutines.
func TestConcurrentUse(t *testing.T) {
	const writers, each = 8, 50
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			n := start(t, nil, nil)
			s := n.Dial(t, &servertest.DialOptions{Transport: transport}).Connect("/", nil)
			c := s.Client()
			var writing sync.WaitGroup
			for i := range writers {
				writing.Go(func() {
					for j := range each {
						p := servertest.Packet{Data: fmt.Sprintf(`42["echo",%d,%d]`, i, j)}
						if err := c.Write(t.Context(), p); err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			var next [writers]int
			for range writers * each {
				p, err := c.Read(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				var i, j int
				if _, err := fmt.Sscanf(p.Data, `42["echo",%d,%d]`, &i, &j); err != nil || next[i] != j {
					t.Fatalf("got %v, %v; want number %d of writer %d", p, err, next[i], i)
				}
				next[i]++
			}
			writing.Wait()
		})
	}
}

// TestManyClients has clients of every kind come and go at the same time; Server's cleanup looks for what they leave.
func TestManyClients(t *testing.T) {
	n := start(t, nil, nil)
	ends := []func(c *servertest.Client){(*servertest.Client).Cut, (*servertest.Client).Stall, func(*servertest.Client) {}}
	var clients sync.WaitGroup
	for i := range 60 {
		clients.Go(func() {
			c, err := n.TryDial(t, &servertest.DialOptions{Transport: transports[i%2], Stalled: i%5 == 0})
			if err != nil {
				t.Error(err)
				return
			}
			if err := c.Write(t.Context(), servertest.Packet{Data: "40"}, servertest.Packet{Data: "40/private,"}); err != nil {
				t.Error(err)
			}
			if i%5 != 0 {
				if _, err := c.Read(t.Context()); err != nil {
					t.Error(err)
				}
			}
			if i%7 == 0 && i%2 == 1 {
				if _, err := n.TryDial(t, &servertest.DialOptions{SessionID: c.SID()}); err != nil {
					t.Error(err)
				}
			}
			ends[i%3](c)
		})
	}
	clients.Wait()
	if st := n.srv.Stats().Engine; st.Opened != 60 {
		t.Errorf("stats %+v", st)
	}
}
