package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// setup is how a command wants a namespace: names of middlewares, and whether outgoing events are logged.
type setup struct {
	Use       []string `json:"use"`
	PacketUse []string `json:"packetUse"`
	Outgoing  bool     `json:"outgoing"`
}

// registrar is what namespaces and parents of dynamic ones have in common.
type registrar interface {
	Use(server.Middleware) (remove func())
	UseEvent(server.EventMiddleware) (remove func())
	Handle(event string, handler server.Handler) (remove func())
	HandleAny(func(context.Context, *server.Socket, *server.Event)) (remove func())
	HandleAnyOutgoing(func(context.Context, *server.Socket, *server.Event)) (remove func())
	OnConnection(func(context.Context, *server.Socket)) (remove func())
	OnDisconnecting(func(context.Context, *server.Socket, server.Reason)) (remove func())
	OnDisconnect(func(context.Context, *server.Socket, server.Reason)) (remove func())
	OnError(func(context.Context, *server.Socket, string, error)) (remove func())
}

func (s *scenario) serve(nsp registrar, want setup) {
	s.useMiddlewares(nsp, want.Use)
	for _, name := range want.PacketUse {
		nsp.UseEvent(packetMiddleware(name))
	}
	nsp.OnConnection(func(_ context.Context, socket *server.Socket) {
		s.logSocket(socket, "connection", fields{"rooms": rooms(socket)})
	})
	nsp.HandleAny(func(_ context.Context, socket *server.Socket, e *server.Event) {
		if e.Name == "barrier" {
			return
		}
		args := wrapArgs(e.Args)
		if e.Reply.Wanted() {
			args = append(args, "(ack)")
		}
		s.logSocket(socket, "packet", fields{"name": e.Name, "args": args})
	})
	if want.Outgoing {
		nsp.HandleAnyOutgoing(func(_ context.Context, socket *server.Socket, e *server.Event) {
			s.logSocket(socket, "outgoing", fields{"name": e.Name, "args": wrapArgs(e.Args)})
		})
	}
	nsp.OnDisconnecting(func(_ context.Context, socket *server.Socket, reason server.Reason) {
		s.logSocket(socket, "disconnecting", fields{"reason": reason, "rooms": rooms(socket)})
	})
	nsp.OnDisconnect(func(_ context.Context, socket *server.Socket, reason server.Reason) {
		s.logSocket(socket, "disconnect", fields{"reason": reason})
	})
	nsp.OnError(func(context.Context, *server.Socket, string, error) {})
	answerClients(nsp)
}

func (s *scenario) useMiddlewares(nsp registrar, names []string) {
	for _, name := range names {
		nsp.Use(s.middleware(name))
	}
}

func (s *scenario) logSocket(socket *server.Socket, event string, more fields) {
	s.log(socket.Namespace().Name(), socket.ID(), event, more)
}

func rooms(socket *server.Socket) []string {
	list := slices.Clone(socket.Rooms())
	if list == nil {
		list = []string{}
	}
	slices.Sort(list)
	return list
}

// answerClients registers what clients may ask of every namespace.
func answerClients(nsp registrar) {
	nsp.Handle("barrier", server.FuncAck(func(context.Context, *server.Socket, server.None) (server.None, error) {
		return server.None{}, nil
	}))
	nsp.Handle("echo", server.Func(func(_ context.Context, s *server.Socket, args server.Args) error {
		return s.Emit("echo", args)
	}))
	nsp.Handle("ack", server.FuncAck(func(_ context.Context, _ *server.Socket, args server.Args) (server.Args, error) {
		return args, nil
	}))
	nsp.Handle("late-ack", server.FuncReply(func(_ context.Context, _ *server.Socket, value json.RawMessage, reply *server.Reply) error {
		time.AfterFunc(30*time.Millisecond, func() { reply.Send(value) })
		return nil
	}))
	nsp.Handle("ack-twice", server.FuncReply(func(_ context.Context, _ *server.Socket, _ server.None, reply *server.Reply) error {
		if err := reply.Send("first"); err != nil {
			return err
		}
		if err := reply.Send("second"); !errors.Is(err, server.ErrReplied) {
			return fmt.Errorf("second answer: %v", err)
		}
		return nil
	}))
	nsp.Handle("ask", server.FuncAck(func(ctx context.Context, s *server.Socket, question string) (string, error) {
		return server.EmitWithAck[string](ctx, s, "question", question)
	}))
	nsp.Handle("to-room", server.Func(func(_ context.Context, s *server.Socket, a server.Args2[string, string]) error {
		return s.To(a.First).Emit("room", a.First, a.Second)
	}))
	nsp.Handle("relay", server.Func(func(_ context.Context, s *server.Socket, args server.Args) error {
		return s.Broadcast().Emit("relayed", args)
	}))
	nsp.Handle("join", server.FuncAck(join))
	nsp.Handle("burst", server.Func(burst))
	nsp.Handle("flood", server.Func(flood))
	nsp.Handle("volatile-behind", server.Func(func(_ context.Context, s *server.Socket, _ server.None) error {
		return errors.Join(s.Emit("item", 1), s.Volatile().Emit("item", 2))
	}))
	nsp.Handle("leave-me", server.Func(func(_ context.Context, s *server.Socket, closeConn bool) error {
		disconnect(s, closeConn)
		return nil
	}))
}

// flood emits events of some size, as many at once as a client asks for.
func flood(_ context.Context, s *server.Socket, args server.Args2[int, int]) error {
	for i := range args.First {
		if err := s.Emit("mark", i, strings.Repeat("x", args.Second)); err != nil {
			return err
		}
	}
	return nil
}

// join joins a room, whose name may be a number, as in the reference, or hold half a character, which encoding/json would replace.
func join(ctx context.Context, s *server.Socket, args server.Args) (server.None, error) {
	var room string
	if err := args.Unmarshal(0, &room); err != nil {
		var number json.Number
		if err := args.Unmarshal(0, &number); err != nil {
			return server.None{}, err
		}
		room = number.String()
	}
	return server.None{}, s.Join(ctx, room)
}

func burst(_ context.Context, s *server.Socket, n int) error {
	for i := range n {
		var item any = "text"
		if i%3 == 0 {
			item = []byte{byte(i)}
		}
		if err := s.Emit("item", i, item); err != nil {
			return err
		}
	}
	return nil
}

func disconnect(s *server.Socket, closeConn bool) {
	if closeConn {
		s.DisconnectClient()
	} else {
		s.Disconnect()
	}
}

func (s *scenario) middleware(name string) server.Middleware {
	kind, label, _ := strings.Cut(name, ":")
	return func(ctx context.Context, socket *server.Socket) error {
		switch kind {
		case "log":
			s.log(socket.Namespace().Name(), "", "middleware", fields{"label": label})
		case "deny":
			return &server.ClientError{Message: "denied", Data: map[string]any{"code": 1, "list": []any{1, "2"}}}
		case "deny-plain":
			return &server.ClientError{Message: "no data"}
		case "async":
			time.Sleep(20 * time.Millisecond)
		case "auth":
			return authorized(socket)
		case "emit-early":
			return socket.Emit("early", 1, []byte{1})
		case "join-early":
			return socket.Join(ctx, "early-room")
		case "user":
			return setUser(socket)
		}
		return nil
	}
}

func authorized(socket *server.Socket) error {
	var auth struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(socket.Auth(), &auth); err != nil || auth.Token != "secret" {
		return &server.ClientError{Message: "not authorized", Data: map[string]string{"content": "retry"}}
	}
	return nil
}

func setUser(socket *server.Socket) error {
	var auth struct {
		User json.RawMessage `json:"user"`
	}
	if err := json.Unmarshal(socket.Auth(), &auth); err != nil || auth.User == nil {
		return nil
	}
	return socket.Data().Set("user", auth.User)
}

func packetMiddleware(name string) server.EventMiddleware {
	kind, label, _ := strings.Cut(name, ":")
	return func(_ context.Context, _ *server.Socket, e *server.Event) error {
		if kind == "async" {
			time.Sleep(10 * time.Millisecond)
		}
		if kind == "block" && e.Name == label {
			return errors.New("blocked")
		}
		return nil
	}
}

// parent makes a parent of dynamic namespaces; kind is regex or function.
func (s *scenario) parent(kind, pattern string) (*server.ParentNamespace, error) {
	if kind == "function" {
		return s.srv.OfFunc(func(_ context.Context, name string, auth json.RawMessage) bool {
			time.Sleep(10 * time.Millisecond)
			return strings.HasPrefix(name, pattern) && !denied(auth)
		}), nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	return s.srv.OfPattern(re), nil
}

func denied(auth json.RawMessage) bool {
	var a struct {
		Deny bool `json:"deny"`
	}
	return json.Unmarshal(auth, &a) == nil && a.Deny
}
