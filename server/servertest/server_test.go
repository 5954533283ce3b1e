package servertest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// node is a chat with everything that the client's methods need on the other side.
type node struct {
	*servertest.Server
	srv     *server.Server
	reasons chan server.Reason // of disconnects, capacity 256
}

func start(t testing.TB, opts *server.Options, test *servertest.Options) *node {
	t.Helper()
	if opts == nil {
		opts = &server.Options{}
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	srv, err := server.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{srv: srv, reasons: make(chan server.Reason, 256)}
	chat := srv.Of("/")
	chat.OnDisconnect(func(_ context.Context, _ *server.Socket, reason server.Reason) { n.reasons <- reason })
	chat.Handle("login", server.FuncAck(func(ctx context.Context, s *server.Socket, name string) (string, error) {
		return "welcome " + name, s.Join(ctx, name)
	}))
	chat.Handle("send", server.Func(func(_ context.Context, s *server.Socket, m server.Args2[string, string]) error {
		return s.To(m.First).Emit("receive", m.Second)
	}))
	chat.Handle("echo", server.HandlerFunc(func(_ context.Context, s *server.Socket, e *server.Event) error {
		return errors.Join(s.Emit("echo", e.Args), e.Reply.Send(e.Args))
	}))
	chat.Handle("ask", server.Func(func(ctx context.Context, s *server.Socket, question string) error {
		answer, err := server.EmitWithAck[string](ctx, s, "question", question)
		return errors.Join(err, s.Emit("answered", answer))
	}))
	chat.Handle("leave", server.Func(func(_ context.Context, s *server.Socket, _ server.None) error {
		s.Disconnect()
		return nil
	}))
	srv.Of("/private").Use(func(_ context.Context, s *server.Socket) error {
		if string(s.Auth()) != `{"token":"secret"}` {
			return &server.ClientError{Message: "who are you?", Data: map[string]int{"code": 7}}
		}
		return s.Emit("before", 1)
	})
	n.Server = servertest.New(t, srv, test)
	return n
}

var transports = []string{engine.TransportWebSocket, engine.TransportPolling}

func TestEvents(t *testing.T) {
	for _, transport := range transports {
		t.Run(transport, func(t *testing.T) {
			n := start(t, nil, nil)
			s := n.Dial(t, &servertest.DialOptions{Transport: transport}).Connect("/", nil)
			if peer, ok := n.srv.Of("/").Socket(s.ID()); !ok || peer.Conn().ID() != s.Client().SID() || peer.Conn().Transport() != transport {
				t.Fatalf("the server has no socket %s on %s", s.ID(), transport)
			}
			args := []any{"ä€😀", 1.5, nil, map[string]any{"bin": []byte{1, 2}, "n": 3}, []byte{}}
			s.Emit("echo", args...)
			s.Expect("echo", args...)

			ack := s.EmitWithAck("echo", args...)
			if ack.Len() != len(args) || string(ack.At(0).JSON) != `"ä€😀"` || !bytes.Equal(ack.At(3).Attachments[0], []byte{1, 2}) {
				t.Errorf("acknowledged with %v", ack.Values())
			}
			if e := s.Expect("echo"); e.Args.Len() != len(args) {
				t.Errorf("the event before the acknowledgement has the arguments %v", e.Args.Values())
			}

			s.Emit("ask", "why?")
			s.Expect("question", "why?").Ack("because")
			s.Expect("answered", "because")

			s.Disconnect()
			if got := <-n.reasons; got != server.ReasonClientDisconnect {
				t.Errorf("reason %q", got)
			}
		})
	}
}

func TestRooms(t *testing.T) {
	n := start(t, nil, nil)
	alice, bob := n.Connect(t, "/", nil), n.Connect(t, "/", nil)
	bob.EmitWithAck("login", "bob")
	alice.Emit("send", "bob", "hi")
	bob.Expect("receive", "hi")
	bob.Emit("leave")
	bob.ExpectDisconnect()
	alice.Emit("echo")
	alice.Expect("echo") // nothing before it: the message was for bob alone
}

func TestNamespaces(t *testing.T) {
	n := start(t, nil, nil)
	c := n.Dial(t, nil)
	main := c.Connect("", nil)
	refusal := c.ConnectRefused("/private", nil)
	data, err := json.Marshal(refusal.Data)
	if err != nil || refusal.Message != "who are you?" || string(data) != `{"code":7}` {
		t.Errorf("refused with %v, data %s", refusal, data)
	}
	private := c.Connect("/private", map[string]string{"token": "secret"})
	main.Emit("echo", "main")
	private.Expect("before", 1) // was sent ahead of the namespace's CONNECT
	main.Expect("echo", "main")
	if err := n.srv.Of("/private").Emit("news"); err != nil {
		t.Fatal(err)
	}
	private.Expect("news")
	private.Disconnect()
	main.EmitWithAck("echo")
}

func TestUpgrade(t *testing.T) {
	n := start(t, nil, nil)
	c := n.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
	s := c.Connect("/", nil)
	s.Emit("echo", 1)
	c.Upgrade()
	s.Emit("echo", 2, []byte("binary"))
	s.Expect("echo", 1)
	s.Expect("echo", 2, []byte("binary"))
	if st := n.srv.Stats().Engine; st.Sessions != 1 || st.WebSocket != 1 || st.Upgrading != 0 {
		t.Errorf("stats %+v", st)
	}
	c.Close()
	if got := <-n.reasons; got != engine.ReasonTransportClose {
		t.Errorf("reason %q", got)
	}
}

// TestUpgradeByHand completes an upgrade packet by packet.
func TestUpgradeByHand(t *testing.T) {
	n := start(t, nil, nil)
	c := n.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling, Stalled: true})
	probe := c.Probe()
	probe.Send("5")
	probe.Connect("/", nil).EmitWithAck("echo")
	if probe.SID() != c.SID() {
		t.Errorf("session ids %s and %s", probe.SID(), c.SID())
	}
}

func TestEnds(t *testing.T) {
	tests := []struct {
		name   string
		end    func(c *servertest.Client)
		reason server.Reason
		ws     servertest.CloseError
		poll   servertest.CloseError
	}{
		{"close", (*servertest.Client).Close, engine.ReasonTransportClose,
			servertest.CloseError{Code: 1005}, servertest.CloseError{Status: 200, Reason: "closed by the client"}},
		{"parse error", func(c *servertest.Client) { c.Send("4x") }, engine.ReasonForcedClose,
			servertest.CloseError{Code: 1005}, servertest.CloseError{Status: 200, Reason: "close packet"}},
		{"not a packet", func(c *servertest.Client) { c.Send("x") }, engine.ReasonParseError,
			servertest.CloseError{Code: 1005}, servertest.CloseError{Status: 200, Reason: "close packet"}},
	}
	for _, tt := range tests {
		for _, transport := range transports {
			bubble(t, tt.name+"/"+transport, func(t *testing.T) {
				n := start(t, nil, nil)
				c := n.Dial(t, &servertest.DialOptions{Transport: transport})
				c.Connect("/", nil)
				synctest.Wait() // for the next poll
				tt.end(c)
				want := tt.ws
				if transport == engine.TransportPolling {
					want = tt.poll
				}
				if got := c.ExpectClosed(); *got != want {
					t.Errorf("ended with %+v, want %+v", *got, want)
				}
				if got := <-n.reasons; got != tt.reason {
					t.Errorf("reason %q, want %q", got, tt.reason)
				}
				c.Close() // does nothing
				c.Cut()
			})
		}
	}
}

// TestShutdown shuts the server down before the test ends, as a user's test may.
func TestShutdown(t *testing.T) {
	for transport, want := range map[string]servertest.CloseError{
		// nothing that says that the server does not want this client: it comes back
		engine.TransportWebSocket: {Code: 1006, Reason: "EOF"}, engine.TransportPolling: {Status: 503, Reason: "server shutting down\n"},
	} {
		bubble(t, transport, func(t *testing.T) {
			n := start(t, nil, nil)
			c := n.Dial(t, &servertest.DialOptions{Transport: transport})
			c.Connect("/", nil)
			synctest.Wait() // for the next poll
			if err := n.srv.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := <-n.reasons; got != server.ReasonShutdown {
				t.Errorf("reason %q", got)
			}
			if got := c.ExpectClosed(); *got != want {
				t.Errorf("ended with %+v", *got)
			}
		})
	}
}

func TestCut(t *testing.T) {
	for transport, reason := range map[string]server.Reason{
		engine.TransportWebSocket: engine.ReasonTransportClose, engine.TransportPolling: engine.ReasonTransportError,
	} {
		bubble(t, transport, func(t *testing.T) {
			n := start(t, nil, nil)
			c := n.Dial(t, &servertest.DialOptions{Transport: transport})
			c.Connect("/", nil)
			synctest.Wait() // for the next poll
			c.Cut()
			if got := <-n.reasons; got != reason {
				t.Errorf("reason %q, want %q", got, reason)
			}
			if got := c.ExpectClosed(); got.Code != 1006 || got.Status != 0 {
				t.Errorf("ended with %+v", *got)
			}
			if err := c.Write(t.Context(), servertest.Packet{Data: "41"}); err == nil {
				t.Error("a cut client can write")
			}
		})
	}
}

func TestWireLevel(t *testing.T) {
	n := start(t, nil, nil)
	c := n.Dial(t, nil)
	c.WriteRaw([]byte("\x81\x82\x00\x00\x00\x0040")) // 40 in a frame made by hand
	if p := c.Next(); !strings.HasPrefix(p.Data, `40{"sid":"`) {
		t.Fatalf("got %v", p)
	}
	c.Send(`42["echo",1]`, `451-["echo",{"_placeholder":true,"num":0}]`)
	c.SendBinary([]byte("bin"))
	c.Expect(`42["echo",1]`, `451-["echo",{"_placeholder":true,"num":0}]`)
	if p := c.Next(); p != (servertest.Packet{Data: "bin", Binary: true}) {
		t.Errorf("got %v", p)
	}
	c.WriteRaw([]byte("\x89\x80\x00\x00\x00\x00\xc1\x80\x00\x00\x00\x00")) // a ping, whose pong is no packet; a reserved bit
	if got := c.ExpectClosed(); got.Code != 1002 {
		t.Errorf("ended with %v", got)
	}

	c = n.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling})
	c.WriteRaw([]byte("40\x1e42[\"echo\",2]"))
	c.Next()
	c.Expect(`42["echo",2]`)
	err := c.Write(t.Context(), servertest.Packet{Data: "4" + strings.Repeat("x", 1_000_001)})
	var refused *servertest.CloseError
	if !errors.As(err, &refused) || refused.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("a long body: %v", err)
	}
}

func TestTryDial(t *testing.T) {
	n := start(t, &server.Options{Engine: engine.Options{
		AllowRequest: func(r *http.Request) error {
			if r.Header.Get("Token") == "" || r.URL.Query().Get("room") != "1" {
				return &engine.Refusal{Message: "no"}
			}
			return nil
		},
	}}, nil)
	for transport, want := range map[string]servertest.CloseError{
		engine.TransportWebSocket: {Status: 400, Reason: "no"},
		engine.TransportPolling:   {Status: 403, Reason: `{"code":4,"message":"no"}`},
	} {
		_, err := n.TryDial(t, &servertest.DialOptions{Transport: transport})
		var got *servertest.CloseError
		if !errors.As(err, &got) || *got != want {
			t.Errorf("%s: %v", transport, err)
		}
		n.Dial(t, &servertest.DialOptions{
			Transport: transport, Header: http.Header{"Token": {"t"}}, Query: map[string][]string{"room": {"1"}},
		}).Connect("/", nil)
	}
	if _, err := n.TryDial(t, &servertest.DialOptions{Transport: "pigeon"}); err == nil {
		t.Error("an unknown transport is accepted")
	}
	_, err := n.TryDial(t, &servertest.DialOptions{SessionID: "aaaaaaaaaaaaaaaaaaaa"})
	var got *servertest.CloseError
	if !errors.As(err, &got) || got.Status != 400 || got.Reason != "Session ID unknown" {
		t.Errorf("unknown session: %v", err)
	}
}

// TestRaw shows the packets that are otherwise taken care of.
func TestRaw(t *testing.T) {
	n := start(t, &server.Options{Engine: engine.Options{PingInterval: 20 * time.Millisecond}}, nil)
	c := n.Dial(t, &servertest.DialOptions{Raw: true})
	c.Expect("2")
	c.Send("3")
	c.Expect("2")
}

func TestHTTP(t *testing.T) {
	n := start(t, nil, nil)
	res, err := n.HTTPClient().Get("http://any.example/socket.io/?EIO=3&transport=polling")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != 400 || string(body) != `{"code":5,"message":"Unsupported protocol version"}` {
		t.Errorf("status %d, %s, %v", res.StatusCode, body, err)
	}
}

// TestSlowHeader sends half a request on a bare connection.
func TestSlowHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := start(t, nil, &servertest.Options{Configure: func(hs *http.Server) { hs.ReadHeaderTimeout = time.Minute }})
		conn, err := n.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		begin := time.Now()
		if _, err := conn.Write([]byte("GET / HT")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(conn); err != nil {
			t.Error(err)
		}
		within(t, begin, time.Minute)
	})
}

// TestOtherHandlers serves an engine without Socket.IO, and one within a mux, which nobody but the test closes.
func TestOtherHandlers(t *testing.T) {
	newEngine := func(t *testing.T) *engine.Server {
		eng, err := engine.New(&engine.Options{Path: "/e"}, func(s *engine.Session) engine.Handler { return echo{s} })
		if err != nil {
			t.Fatal(err)
		}
		return eng
	}
	opts := &servertest.Options{Path: "/e/"}
	t.Run("closed at the end", func(t *testing.T) {
		eng := newEngine(t)
		t.Run("", func(t *testing.T) {
			c := servertest.New(t, eng, opts).Dial(t, nil)
			c.Send("4hi")
			c.Expect("4hi")
		})
		_, err := servertest.New(t, eng, opts).TryDial(t, nil)
		var refused *servertest.CloseError
		if !errors.As(err, &refused) || refused.Status != http.StatusServiceUnavailable {
			t.Errorf("dial a closed engine: %v", err)
		}
	})
	t.Run("mux", func(t *testing.T) {
		eng := newEngine(t)
		mux := http.NewServeMux()
		mux.Handle("/e/", eng)
		t.Cleanup(func() {
			// All connections have been cut by now.
			if err := eng.Close(); err != nil {
				t.Error(err)
			}
		})
		c := servertest.New(t, mux, opts).Dial(t, nil)
		c.SendBinary([]byte("hi"))
		if p := c.Next(); p != (servertest.Packet{Data: "hi", Binary: true}) {
			t.Errorf("got %v", p)
		}
	})
}

type echo struct{ s *engine.Session }

func (e echo) OnText(data []byte)    { _ = e.s.Send(engine.NewMessage(data)) }
func (e echo) OnBinary(data []byte)  { _ = e.s.Send(engine.NewBinaryMessage(bytes.Clone(data))) }
func (e echo) OnClose(string, error) {}
