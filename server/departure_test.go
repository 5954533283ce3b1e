package server_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// onEachTransport runs a test with a client that is connected to the main namespace, where echo answers.
func onEachTransport(t *testing.T, run func(t *testing.T, srv *server.Server, c *servertest.Client)) {
	for _, name := range []string{"websocket", "polling", "upgraded"} {
		t.Run(name, func(t *testing.T) {
			srv, err := server.New(&server.Options{Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			srv.Of("/").Handle("echo", echo)
			opts := &servertest.DialOptions{Transport: engine.TransportPolling}
			if name == "websocket" {
				opts = nil
			}
			c := servertest.New(t, srv, nil).Dial(t, opts)
			if name == "upgraded" {
				c.Upgrade()
			}
			c.Connect("/", nil)
			run(t, srv, c)
			c.Send(`427["echo","main"]`)
			c.Expect(`437["main"]`)
		})
	}
}

var echo = server.FuncAck(func(_ context.Context, _ *server.Socket, args server.Args) (server.Args, error) { return args, nil })

// joined reads the answer to a CONNECT packet and returns the socket's id.
func joined(t *testing.T, c *servertest.Client, namespace string) string {
	t.Helper()
	got := c.Next().Data
	id, ok := strings.CutPrefix(got, "40"+namespace+`,{"sid":"`)
	if !ok || len(id) < 20 {
		t.Fatalf("answer to CONNECT %s: %s", namespace, got)
	}
	return id[:20]
}

// gate is a middleware that lets nobody through before the test says so.
type gate struct {
	entered chan *visitor
}

type visitor struct {
	auth   string
	ctx    context.Context
	decide chan error
}

func newGate(n *server.Namespace) *gate {
	g := &gate{entered: make(chan *visitor, 100)}
	n.Use(func(ctx context.Context, s *server.Socket) error {
		v := &visitor{string(s.Auth()), ctx, make(chan error, 1)}
		g.entered <- v
		return <-v.decide
	})
	return g
}

// expectGivenUp checks that the attempt has ended because the client wants it no more.
func (v *visitor) expectGivenUp(t *testing.T) {
	t.Helper()
	await(t, v.ctx.Done())
	var gone *server.DisconnectError
	if cause := context.Cause(v.ctx); !errors.As(cause, &gone) || gone.Reason != server.ReasonClientDisconnect {
		t.Errorf("the context ended because of %v", cause)
	}
}

// TestNewestConnectWins sends CONNECT again and again while middlewares run. The newest counts, whichever is decided
// first, and however the others are decided.
func TestNewestConnectWins(t *testing.T) {
	onEachTransport(t, func(t *testing.T, srv *server.Server, c *servertest.Client) {
		mw := srv.Of("/mw")
		mw.Handle("echo", echo)
		mw.OnConnection(func(_ context.Context, s *server.Socket) {
			if string(s.Auth()) != `{"n":3}` {
				t.Errorf("socket %s has connected", s.Auth())
			}
		})
		g := newGate(mw)
		c.Send(`40/mw,{"n":1}`, `40/mw,{"n":2}`)
		c.Send(`40/mw,{"n":3}`)
		visitors := []*visitor{await(t, g.entered), await(t, g.entered), await(t, g.entered)}
		slices.SortFunc(visitors, func(a, b *visitor) int { return strings.Compare(a.auth, b.auth) })
		visitors[0].expectGivenUp(t)
		visitors[0].decide <- nil
		visitors[2].decide <- nil
		id := joined(t, c, "/mw")
		visitors[1].expectGivenUp(t)
		visitors[1].decide <- errors.New("late")
		eventually(t, "all attempts end", func() bool { return srv.Stats().Connecting == 0 })
		if s, ok := mw.Socket(id); !ok || string(s.Auth()) != `{"n":3}` || len(mw.Sockets()) != 1 {
			t.Errorf("sockets %v, want %s alone", mw.Sockets(), id)
		}
		c.Send(`42/mw,1["echo"]`)
		c.Expect(`43/mw,1[]`)
	})
}

// TestNewestConnectRefused lets the older attempt be accepted after the newest was refused.
func TestNewestConnectRefused(t *testing.T) {
	onEachTransport(t, func(t *testing.T, srv *server.Server, c *servertest.Client) {
		g := newGate(srv.Of("/mw"))
		c.Send(`40/mw,`)
		older := await(t, g.entered)
		c.Send(`40/mw,`)
		newest := await(t, g.entered)
		newest.decide <- &server.ClientError{Message: "no"}
		c.Expect(`44/mw,{"message":"no"}`)
		older.decide <- nil
		eventually(t, "all attempts end", func() bool { return srv.Stats().Connecting == 0 })
		if got := len(srv.Of("/mw").Sockets()); got != 0 {
			t.Errorf("%d sockets", got)
		}
	})
}

// TestLeaveWhileUndecided takes a CONNECT back, as some clients do, and sends another.
func TestLeaveWhileUndecided(t *testing.T) {
	onEachTransport(t, func(t *testing.T, srv *server.Server, c *servertest.Client) {
		g := newGate(srv.Of("/mw"))
		c.Send(`40/mw,`)
		first := await(t, g.entered)
		c.Send(`41/mw,`, `41/mw,`, `42/mw,["late"]`)
		first.expectGivenUp(t)
		first.decide <- nil
		eventually(t, "the attempt ends", func() bool { return srv.Stats().Connecting == 0 })
		c.Send(`40/mw,`)
		await(t, g.entered).decide <- nil
		joined(t, c, "/mw")
	})
}

// TestTooManyAttempts has more middlewares running than a client may have. It is refused one more, and no more.
func TestTooManyAttempts(t *testing.T) {
	onEachTransport(t, func(t *testing.T, srv *server.Server, c *servertest.Client) {
		g := newGate(srv.Of("/mw"))
		var visitors []*visitor
		for range 64 {
			c.Send(`40/mw,`)
			visitors = append(visitors, await(t, g.entered))
		}
		c.Send(`40/mw,`)
		c.Expect(`44/mw,{"message":"Too many attempts to connect"}`)
		for _, v := range visitors {
			v.expectGivenUp(t)
			v.decide <- nil
		}
		eventually(t, "all attempts end", func() bool { return srv.Stats().Connecting == 0 })
		c.Send(`40/mw,`)
		await(t, g.entered).decide <- nil
		joined(t, c, "/mw")
	})
}

// TestConnectCrossesAnswer leaves and comes back before the client can know that it was in. The answer to the first
// CONNECT is on its way then; the socket serves until its successor has been decided about.
func TestConnectCrossesAnswer(t *testing.T) {
	for _, verdict := range []error{nil, &server.ClientError{Message: "no"}} {
		t.Run(fmt.Sprint(verdict), func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, srv *server.Server, c *servertest.Client) {
				mw := srv.Of("/mw")
				mw.Handle("who", server.FuncAck(func(_ context.Context, s *server.Socket, _ server.None) (string, error) { return s.ID(), nil }))
				reasons := make(chan server.Reason, 1)
				mw.OnDisconnect(func(_ context.Context, _ *server.Socket, reason server.Reason) { reasons <- reason })
				g := newGate(mw)
				c.Send(`40/mw,`)
				await(t, g.entered).decide <- nil
				former := joined(t, c, "/mw")
				c.Send(`40/mw,`)
				second := await(t, g.entered)
				c.Send(`42/mw,1["who"]`)
				c.Expect(fmt.Sprintf(`43/mw,1[%q]`, former))
				second.decide <- verdict
				if verdict != nil {
					c.Expect(`44/mw,{"message":"no"}`)
				} else {
					id := joined(t, c, "/mw")
					c.Send(`42/mw,2["who"]`)
					c.Expect(fmt.Sprintf(`43/mw,2[%q]`, id))
				}
				if got := await(t, reasons); got != server.ReasonClientDisconnect {
					t.Errorf("reason %q", got)
				}
				want := 1
				if verdict != nil {
					want = 0
				}
				if got := len(mw.Sockets()); got != want {
					t.Errorf("%d sockets, want %d", got, want)
				}
			})
		})
	}
}

// TestConnectAgainAtOnce is the same where nothing has to be decided.
func TestConnectAgainAtOnce(t *testing.T) {
	onEachTransport(t, func(t *testing.T, srv *server.Server, c *servertest.Client) {
		plain := srv.Of("/plain")
		c.Send(`40/plain,`, `40/plain,`)
		c.Send(`40/plain,`)
		var last string
		for range 3 {
			last = joined(t, c, "/plain")
		}
		if s := plain.Sockets(); len(s) != 1 || s[0].ID() != last {
			t.Errorf("sockets %v, want %s", s, last)
		}
	})
}

// TestSecondConnectOfOneWhoKnows is a violation still: whoever has sent something knows that it is connected.
func TestSecondConnectOfOneWhoKnows(t *testing.T) {
	srv, err := server.New(&server.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	srv.Of("/plain").Handle("echo", echo)
	c := servertest.New(t, srv, nil).Dial(t, nil)
	c.Connect("/", nil)
	c.Send(`40/plain,`)
	joined(t, c, "/plain")
	c.Send(`42/plain,1["echo"]`)
	c.Expect(`43/plain,1[]`)
	c.Send(`40/plain,`)
	c.ExpectClosed()
}

// TestTakesAnswerForAnother: a client whose CONNECT crossed the answer to the one before takes that answer for its own. What it sends
// then is dropped if it has no place, and costs it nothing else.
func TestTakesAnswerForAnother(t *testing.T) {
	strays := []string{`42/ns,["stray"]`, `42/ns,5["stray"]`, `43/ns,0[]`, `451-/ns,["stray",{"_placeholder":true,"num":0}]`, `41/ns,`}
	for name, prepare := range map[string]func(t *testing.T, c *servertest.Client, g *gate){
		"undecided after a crossing": func(t *testing.T, c *servertest.Client, g *gate) {
			c.Send(`40/ns,{"n":2}`)
			await(t, g.entered).decide <- nil
			joined(t, c, "/ns")
			c.Send(`41/ns,`, `40/ns,{"n":3}`)
			v := await(t, g.entered)
			t.Cleanup(func() { v.decide <- nil })
		},
		"left before the answer was known": func(t *testing.T, c *servertest.Client, g *gate) {
			c.Send(`41/ns,`, `40/ns,{"n":2}`)
			v := await(t, g.entered)
			t.Cleanup(func() { v.decide <- nil })
		},
		"refused": func(t *testing.T, c *servertest.Client, g *gate) {
			c.Send(`40/ns,{"n":2}`)
			await(t, g.entered).decide <- &server.ClientError{Message: "no"}
			c.Expect(`44/ns,{"message":"no"}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, srv *server.Server, c *servertest.Client) {
				ns := srv.Of("/ns")
				ns.Handle("stray", server.Func(func(context.Context, *server.Socket, server.None) error {
					t.Error("handled")
					return nil
				}))
				g := newGate(ns)
				c.Send(`40/ns,{"n":1}`)
				await(t, g.entered).decide <- nil
				joined(t, c, "/ns")
				prepare(t, c, g)
				for _, stray := range strays {
					c.Send(stray)
					if strings.HasPrefix(stray, "45") {
						if err := c.Write(t.Context(), servertest.Packet{Data: "\x01", Binary: true}); err != nil {
							t.Fatal(err)
						}
					}
					c.Send(`428["echo",1]`)
					c.Expect(`438[1]`)
				}
			})
		})
	}
}

// TestBehindDisconnect sends packets to a namespace in one go with the DISCONNECT in front of them. They are dropped.
func TestBehindDisconnect(t *testing.T) {
	for _, behind := range [][]servertest.Packet{
		{{Data: `42/ns,["late"]`}},
		{{Data: `42/ns,5["late"]`}, {Data: `43/ns,0["late"]`}},
		{{Data: `41/ns,`}},
		{{Data: `41/ns,`}, {Data: `42/ns,["late"]`}, {Data: `41/ns,`}},
		{{Data: `451-/ns,["late",{"_placeholder":true,"num":0}]`}, {Data: "\x01\x02", Binary: true}, {Data: `461-/ns,0[{"_placeholder":true,"num":0}]`}, {Data: "x", Binary: true}},
	} {
		t.Run(behind[0].Data, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, srv *server.Server, c *servertest.Client) {
				ns := srv.Of("/ns")
				ns.Handle("late", server.Func(func(context.Context, *server.Socket, server.None) error {
					t.Error("handled")
					return nil
				}))
				c.Connect("/ns", nil)
				packets := append([]servertest.Packet{{Data: `41/ns,`}}, behind...)
				packets = append(packets, servertest.Packet{Data: `427["echo","behind"]`})
				if err := c.Write(t.Context(), packets...); err != nil {
					t.Fatal(err)
				}
				c.Expect(`437["behind"]`)
				if got := len(ns.Sockets()); got != 0 {
					t.Errorf("%d sockets", got)
				}
			})
		})
	}
}

// TestLongAfterDisconnect sends such packets by themselves, which closes the connection, as in the reference.
func TestLongAfterDisconnect(t *testing.T) {
	for _, late := range []string{`42/ns,["late"]`, `43/ns,0["late"]`, `41/ns,`, `451-/ns,["late",{"_placeholder":true,"num":0}]`} {
		t.Run(late, func(t *testing.T) {
			srv, err := server.New(&server.Options{Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			srv.Of("/").Handle("echo", echo)
			srv.Of("/ns")
			c := servertest.New(t, srv, nil).Dial(t, nil)
			c.Connect("/", nil)
			c.Connect("/ns", nil)
			c.Send(`41/ns,`, `421["echo"]`)
			c.Expect(`431[]`)
			c.Send(late)
			c.ExpectClosed()
		})
	}
}
