package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

func TestConnectOrder(t *testing.T) {
	n := start(t, nil)
	main := n.Of("/")
	main.Use(func(ctx context.Context, s *server.Socket) error {
		if s.Connected() || len(s.Rooms()) != 0 {
			t.Errorf("connected %v, rooms %v before the middlewares", s.Connected(), s.Rooms())
		}
		if err := s.Join(ctx, "early"); err != nil {
			t.Error(err)
		}
		if err := main.To("early").Emit("too early"); err != nil {
			t.Error(err)
		}
		return s.Emit("first")
	})
	main.Use(func(ctx context.Context, s *server.Socket) error { return s.Emit("second") })
	main.OnConnection(func(ctx context.Context, s *server.Socket) {
		if !s.Connected() {
			t.Error("not connected in OnConnection")
		}
		_ = s.Emit("third")
	})
	main.Handle("hello", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error {
		return main.To("early").Emit("fourth", s.Rooms())
	}))
	p := n.websocket(t)
	p.send(`0{"token":"x"}`)
	p.expect(`2["first"]`, `2["second"]`)
	sid := p.next()[len(`0{"sid":"`):][:20]
	p.expect(`2["third"]`)
	p.send(`2["hello"]`)
	p.expect(fmt.Sprintf(`2["fourth",["%s","early"]]`, sid))
	s, _ := main.Socket(sid)
	if got := string(s.Auth()); got != `{"token":"x"}` {
		t.Errorf("auth %s", got)
	}
}

func TestRefusal(t *testing.T) {
	n := start(t, nil)
	var fault atomic.Value
	n.Of("/guarded").Use(func(ctx context.Context, s *server.Socket) error {
		if err := s.Join(ctx, "room"); err != nil {
			t.Error(err)
		}
		if f, ok := fault.Load().(func() error); ok {
			return f()
		}
		return nil
	})
	tests := []struct {
		name  string
		fault func() error
		want  string
	}{
		{"with data", func() error {
			return &server.ClientError{Message: "no <entry>", Data: map[string]int{"code": 7}}
		}, `{"message":"no <entry>","data":{"code":7}}`},
		{"without data", func() error { return &server.ClientError{Message: "no"} }, `{"message":"no"}`},
		{"wrapped", func() error { return fmt.Errorf("secret: %w", &server.ClientError{Message: "no"}) }, `{"message":"no"}`},
		{"hidden", func() error { return errors.New("password of the database") }, `{"message":"internal error"}`},
		{"panic", func() error { panic("oops") }, `{"message":"internal error"}`},
		{"bad data", func() error { return &server.ClientError{Message: "no", Data: func() {}} }, `{"message":"no"}`},
	}
	p := n.websocket(t)
	for _, tt := range tests {
		fault.Store(tt.fault)
		p.send("0/guarded,")
		if got, want := p.next(), "4/guarded,"+tt.want; got != want {
			t.Errorf("%s: got %s, want %s", tt.name, got, want)
		}
	}
	if s := n.Stats(); s.Rooms != 0 || s.Panics != 1 {
		t.Errorf("after refusals: %+v", s)
	}
	p.send("0/unknown,")
	p.expect(`4/unknown,{"message":"Invalid namespace"}`)
	fault.Store(func() error { return nil })
	p.join("/guarded", "")
}

func TestDynamicNamespaces(t *testing.T) {
	n := start(t, &server.Options{CleanupEmptyChildNamespaces: true})
	var created []string
	n.OnNewNamespace(func(ns *server.Namespace) { created = append(created, ns.Name()) })
	byPattern := n.OfPattern(regexp.MustCompile(`^/room-\d+$`))
	byPattern.OnConnection(func(ctx context.Context, s *server.Socket) { _ = s.Emit("welcome", s.Namespace().Name()) })
	n.OfFunc(func(ctx context.Context, name string, auth json.RawMessage) bool {
		if name == "/panic" {
			panic(name)
		}
		return strings.Contains(string(auth), "sesame")
	})
	a, b := n.websocket(t), n.websocket(t)
	a.join("/room-1", "")
	a.expect(`2/room-1,["welcome","/room-1"]`)
	b.join("/room-2", "")
	b.expect(`2/room-2,["welcome","/room-2"]`)
	if err := byPattern.Emit("news", 1); err != nil {
		t.Fatal(err)
	}
	a.expect(`2/room-1,["news",1]`)
	b.expect(`2/room-2,["news",1]`)
	if _, err := byPattern.To("x").FetchSockets(t.Context()); !errors.Is(err, server.ErrParentNamespace) {
		t.Errorf("FetchSockets on a parent: %v", err)
	}
	a.send(`0/cave,{"word":"abracadabra"}`)
	a.expect(`4/cave,{"message":"Invalid namespace"}`)
	a.send(`0/panic,`)
	a.expect(`4/panic,{"message":"Invalid namespace"}`)
	a.join("/cave", `{"word":"sesame"}`)
	if got := n.Stats().Namespaces; got != 4 {
		t.Errorf("%d namespaces", got)
	}
	a.send("1/room-1,")
	b.close()
	a.close()
	eventually(t, "only the main namespace is left", func() bool { return n.Stats().Namespaces == 1 })
	if len(byPattern.Children()) != 0 {
		t.Error("the parent keeps children")
	}
	if !slices.Equal(created, []string{"/room-1", "/room-2", "/cave"}) {
		t.Errorf("created %v", created)
	}
	if child := n.Of("room-9"); child.Name() != "/room-9" || len(byPattern.Children()) != 1 {
		t.Error("Of did not make a child of the pattern")
	}
}

func TestConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, stop := startInMemory(t, &server.Options{ConnectTimeout: 7 * time.Second})
		defer stop()
		n.Of("/slow").Use(func(ctx context.Context, s *server.Socket) error {
			<-ctx.Done()
			if !errors.Is(context.Cause(ctx), server.ErrDisconnected) {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			return ctx.Err()
		})
		began := time.Now()
		p := n.websocket(t)
		p.send("0/slow,")
		p.send("0/none,")
		p.expect(`4/none,{"message":"Invalid namespace"}`)
		if rest := p.expectClosed(); len(rest) != 0 {
			t.Errorf("got %v", rest)
		}
		if d := time.Since(began); d < 7*time.Second || d > 9*time.Second {
			t.Errorf("closed after %v", d)
		}
		p.close()
	})
}

func TestViolations(t *testing.T) {
	tests := []struct {
		name   string
		joined bool
		packet string
		reason server.Reason
	}{
		{"event before CONNECT", false, `2["x"]`, ""},
		{"event for another namespace", true, `2/other,["x"]`, "forced close"},
		{"second CONNECT", true, `0`, "forced close"},
		{"CONNECT_ERROR", true, `4{"message":"x"}`, "forced close"},
		{"unknown type", true, `9`, "forced close"},
		{"bad JSON", true, `2["x"`, "forced close"},
		{"no array", true, `2{}`, "forced close"},
		{"reserved event", true, `2["connect"]`, "forced close"},
		{"too many attachments", true, `511-["x"]`, "forced close"},
		{"disconnect with data", true, `1{}`, "forced close"},
		{"empty, which reads as CONNECT", true, ``, "forced close"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := start(t, nil)
			reasons := make(chan server.Reason, 4)
			n.Of("/").OnDisconnect(func(_ context.Context, s *server.Socket, reason server.Reason) { reasons <- reason })
			var p *peer
			if tt.joined {
				p, _ = n.connect(t)
			} else {
				p = n.websocket(t)
			}
			// The answer to CONNECT may not have left the session's hands yet, although the client has it: then the connection
			// could not be closed at once, which has another reason.
			eventually(t, "the writer is done", func() bool {
				return !slices.ContainsFunc(n.Engine().Sessions(), func(s *server.Conn) bool { return s.Queued() > 0 })
			})
			p.send(tt.packet)
			if rest := p.expectClosed(); len(rest) != 0 {
				t.Errorf("got %v before the end", rest)
			}
			if tt.joined {
				if got := await(t, reasons); got != tt.reason {
					t.Errorf("reason %q, want %q", got, tt.reason)
				}
			}
		})
	}
}

func TestHandshake(t *testing.T) {
	n := start(t, nil)
	p := n.websocket(t)
	sid := p.join("/", `{"token":1}`)
	s, _ := n.Of("/").Socket(sid)
	h := s.Handshake()
	if h.Address != "127.0.0.1" || h.Secure || h.XDomain || h.Query["transport"] != "websocket" ||
		h.URL != "/socket.io/?EIO=4&transport=websocket" || h.Headers["upgrade"] != "websocket" || string(h.Auth) != `{"token":1}` {
		t.Errorf("handshake %+v", h)
	}
	issued, err := time.Parse("Mon Jan 02 2006 15:04:05 GMT+0000 (Coordinated Universal Time)", h.Time)
	if err != nil || issued.Unix() != h.Issued/1000 {
		t.Errorf("time %q, issued %d: %v", h.Time, h.Issued, err)
	}
	if err := s.Data().Set("name", "<bob>"); err != nil {
		t.Fatal(err)
	}
	r, err := n.Of("/").FetchSockets(t.Context())
	if err != nil || len(r.Values) != 1 {
		t.Fatal(r, err)
	}
	remote := r.Values[0]
	if remote.ID() != sid || string(remote.Data()) != `{"name":"<bob>"}` || remote.Handshake().Time != h.Time {
		t.Errorf("remote socket %+v", remote)
	}
	if local, ok := remote.Socket(); !ok || local != s {
		t.Error("the remote socket is not local")
	}
}
