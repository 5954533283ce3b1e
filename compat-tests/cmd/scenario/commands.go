package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/parser"
)

// command is one line on stdin.
type command struct {
	ID int    `json:"id"`
	Do string `json:"do"`
	setup

	// What it addresses.
	NSP       string `json:"nsp"`
	Emitter   bool   `json:"emitter"` // from outside the cluster
	Socket    string `json:"socket"`
	Broadcast bool   `json:"broadcast"`
	To        names  `json:"to"`
	Except    names  `json:"except"`
	Volatile  bool   `json:"volatile"`
	Local     bool   `json:"local"`
	Compress  *bool  `json:"compress"`
	Timeout   int    `json:"timeout"` // milliseconds

	// What it does there.
	Event   string `json:"event"`
	Args    []any  `json:"args"`
	Rooms   names  `json:"rooms"`
	Close   bool   `json:"close"`
	Key     string `json:"key"`
	Value   any    `json:"value"`
	Kind    string `json:"kind"`
	Pattern string `json:"pattern"`

	Reply   json.RawMessage `json:"reply"`  // of a server-side event; absent is none
	Action  string          `json:"action"` // on a fetched socket
	Details bool            `json:"details"`
	Count   int             `json:"count"`
	Series  []command       `json:"series"` // selections and arguments, in turn
}

// name is the name of a room, which may be a number in the scripts, as in the reference, or hold half a character, which encoding/json
// would replace.
type name string

func (n *name) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return parser.Payload{JSON: text}.Unmarshal((*string)(n))
	}
	*n = name(text)
	return nil
}

type names []string

func (n *names) UnmarshalJSON(text []byte) error {
	var list []name
	err := json.Unmarshal(text, &list)
	for _, one := range list {
		*n = append(*n, string(one))
	}
	return err
}

type commandFunc func(ctx context.Context, s *scenario, c *command) (result any, err error)

// waiting are the commands that wait for clients or other nodes.
var waiting = map[string]bool{
	"emitAck": true, "broadcastAck": true, "serverSideEmitAck": true, "fetchSockets": true, "onRemote": true,
	"count": true, "ids": true, "clusterRooms": true, "serverCount": true, "close": true,
}

var commands = map[string]commandFunc{
	"sync":         func(context.Context, *scenario, *command) (any, error) { return true, nil },
	"create":       create,
	"use":          use,
	"createParent": createParent,
	"namespaces":   namespaces,

	"emit":              emit,
	"emitAck":           emitAck,
	"emitSeries":        emitSeries,
	"broadcastAck":      broadcastAck,
	"serverSideEmit":    serverSideEmit,
	"serverSideEmitAck": serverSideEmitAck,
	"watchServerSide":   watchServerSide,
	"fetchSockets":      fetchSockets,
	"count":             count,
	"ids":               ids,
	"roomSize":          roomSize,
	"onRemote":          onRemote,
	"socketsJoin":       onTarget(func(op target, c *command) error { return op.SocketsJoin(c.Rooms...) }),
	"socketsLeave":      onTarget(func(op target, c *command) error { return op.SocketsLeave(c.Rooms...) }),
	"disconnectSockets": onTarget(func(op target, c *command) error {
		if c.Close {
			return op.DisconnectClients()
		}
		return op.DisconnectSockets()
	}),

	"join": onSocket(func(ctx context.Context, socket *server.Socket, c *command) (any, error) {
		return nil, socket.Join(ctx, c.Rooms...)
	}),
	"leave": onSocket(func(_ context.Context, socket *server.Socket, c *command) (any, error) {
		socket.Leave(c.Rooms...)
		return nil, nil
	}),
	"rooms": onSocket(func(_ context.Context, socket *server.Socket, _ *command) (any, error) { return rooms(socket), nil }),
	"disconnect": onSocket(func(_ context.Context, socket *server.Socket, c *command) (any, error) {
		disconnect(socket, c.Close)
		return nil, nil
	}),
	"closeTransport": onSocket(func(_ context.Context, socket *server.Socket, _ *command) (any, error) {
		socket.Conn().Close()
		return nil, nil
	}),
	"handshake": onSocket(func(_ context.Context, socket *server.Socket, _ *command) (any, error) {
		return socket.Handshake(), nil
	}),
	"setData": onSocket(func(_ context.Context, socket *server.Socket, c *command) (any, error) {
		return nil, socket.Data().Set(c.Key, c.Value)
	}),

	"allRooms":     localRooms,
	"clusterRooms": clusterRooms,
	"serverCount": func(ctx context.Context, s *scenario, c *command) (any, error) {
		return s.srv.Of(c.NSP).ServerCount(ctx)
	},
	"sockets":     sockets,
	"connections": func(_ context.Context, s *scenario, _ *command) (any, error) { return s.srv.Engine().Len(), nil },
	"close":       shutDown,
}

// selection is what namespaces, sockets and operators made from them can be asked alike.
type selection = server.BroadcastOperator

// target is what a command acts on: a selection of the cluster's sockets, by this node or by an emitter.
type target interface {
	Emit(event string, args ...any) error
	SocketsJoin(rooms ...string) error
	SocketsLeave(rooms ...string) error
	DisconnectSockets() error
	DisconnectClients() error
}

func (s *scenario) target(c *command) (target, error) {
	if c.Emitter {
		return s.outside(c), nil
	}
	return s.operator(c)
}

func onTarget(do func(op target, c *command) error) commandFunc {
	return func(_ context.Context, s *scenario, c *command) (any, error) {
		op, err := s.target(c)
		if err != nil {
			return nil, err
		}
		return nil, do(op, c)
	}
}

func onSocket(do func(ctx context.Context, socket *server.Socket, c *command) (any, error)) commandFunc {
	return func(ctx context.Context, s *scenario, c *command) (any, error) {
		socket, err := s.socket(c)
		if err != nil {
			return nil, err
		}
		return do(ctx, socket, c)
	}
}

func (s *scenario) socket(c *command) (*server.Socket, error) {
	socket, ok := s.srv.Of(c.NSP).Socket(c.Socket)
	if !ok {
		return nil, errors.New("no such socket")
	}
	return socket, nil
}

// operator makes the selection of a command: of the namespace, or of everybody but a socket.
func (s *scenario) operator(c *command) (selection, error) {
	op := s.srv.Of(c.NSP).Except()
	if c.Socket != "" {
		socket, err := s.socket(c)
		if err != nil {
			return op, err
		}
		op = socket.Broadcast()
	}
	op = op.Except(c.Except...)
	if len(c.To) > 0 { // Node reads an empty list as everybody
		op = op.To(c.To...)
	}
	if c.Volatile {
		op = op.Volatile()
	}
	if c.Local {
		op = op.Local()
	}
	if c.Compress != nil {
		op = op.Compress(*c.Compress)
	}
	return op, nil
}

// unicast reports whether a command addresses one socket alone.
func (c *command) unicast() bool {
	return c.Socket != "" && !c.Broadcast && !c.Local && len(c.To)+len(c.Except) == 0
}

func (s *scenario) emission(c *command) (server.Emission, error) {
	socket, err := s.socket(c)
	if err != nil {
		return server.Emission{}, err
	}
	e := socket.Compress(c.Compress == nil || *c.Compress)
	if c.Volatile {
		e = e.Volatile()
	}
	return e, nil
}

func (c *command) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.Timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(c.Timeout)*time.Millisecond)
}

func create(_ context.Context, s *scenario, c *command) (any, error) {
	s.serve(s.srv.Of(c.NSP), c.setup)
	return nil, nil
}

func use(_ context.Context, s *scenario, c *command) (any, error) {
	s.useMiddlewares(s.srv.Of(c.NSP), c.Use)
	return nil, nil
}

func createParent(_ context.Context, s *scenario, c *command) (any, error) {
	parent, err := s.parent(c.Kind, c.Pattern)
	if err != nil {
		return nil, err
	}
	s.parents = append(s.parents, parent)
	s.serve(parent, c.setup)
	return nil, nil
}

// namespaces lists the dynamic namespaces.
func namespaces(_ context.Context, s *scenario, _ *command) (any, error) {
	names := []string{}
	for _, parent := range s.parents {
		for _, nsp := range parent.Children() {
			names = append(names, nsp.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func emit(_ context.Context, s *scenario, c *command) (any, error) {
	args := unwrapArgs(c.Args)
	if c.unicast() {
		e, err := s.emission(c)
		if err != nil {
			return nil, err
		}
		return nil, e.Emit(c.Event, args...)
	}
	op, err := s.target(c)
	if err != nil {
		return nil, err
	}
	return nil, op.Emit(c.Event, args...)
}

// emitSeries emits Count events, numbered, whose selections and arguments take turns.
func emitSeries(_ context.Context, s *scenario, c *command) (any, error) {
	for i := range c.Series {
		unwrapArgs(c.Series[i].Args)
	}
	for i := range c.Count {
		turn := c.Series[i%len(c.Series)]
		turn.NSP, turn.Emitter = c.NSP, c.Emitter
		op, err := s.target(&turn)
		if err != nil {
			return nil, err
		}
		if err := op.Emit(c.Event, append([]any{i}, turn.Args...)...); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func emitAck(ctx context.Context, s *scenario, c *command) (any, error) {
	e, err := s.emission(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	value, err := server.EmitWithAck[any](ctx, e, c.Event, unwrapArgs(c.Args)...)
	return wrapValue(value), err
}

func broadcastAck(ctx context.Context, s *scenario, c *command) (any, error) {
	op, err := s.operator(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := c.deadline(ctx)
	defer cancel()
	replies, err := server.BroadcastWithAck[any](ctx, op, c.Event, unwrapArgs(c.Args)...)
	return outcome(replies.Values, err)
}

func sockets(_ context.Context, s *scenario, c *command) (any, error) {
	ids := []string{}
	for _, socket := range s.srv.Of(c.NSP).Sockets() {
		ids = append(ids, socket.ID())
	}
	slices.Sort(ids)
	return ids, nil
}

func shutDown(ctx context.Context, s *scenario, _ *command) (any, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return nil, errors.Join(s.srv.Shutdown(ctx), s.web.Shutdown(ctx))
}
