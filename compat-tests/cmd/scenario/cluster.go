package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/sockeye-io/sockeye/server"
)

func serverSideEmit(_ context.Context, s *scenario, c *command) (any, error) {
	args := unwrapArgs(c.Args)
	if c.Emitter {
		return nil, s.outside(c).serverSideEmit(c.Event, args...)
	}
	return nil, s.srv.Of(c.NSP).ServerSideEmit(c.Event, args...)
}

func serverSideEmitAck(ctx context.Context, s *scenario, c *command) (any, error) {
	found, err := server.ServerSideEmitWithAck[any](ctx, s.srv.Of(c.NSP), c.Event, unwrapArgs(c.Args)...)
	return outcome(found.Values, err)
}

// outcome is the answer about a question to many: whether somebody failed to answer, and the values that came.
func outcome(values []any, err error) (any, error) {
	if err != nil && !errors.Is(err, server.ErrAckMissing) && !errors.Is(err, server.ErrAckTimeout) {
		return nil, err
	}
	wrapped := make([]any, len(values))
	for i, v := range values {
		wrapped[i] = wrapValue(v)
	}
	return map[string]any{"failed": err != nil, "values": wrapped}, nil
}

// watcher logs server-side events and answers with reply, if there is one.
type watcher struct {
	s     *scenario
	nsp   string
	reply json.RawMessage
}

func (w *watcher) HandleServerSide(_ context.Context, e *server.Event) error {
	w.s.log(w.nsp, "", "server side", fields{"args": wrapArgs(e.Args)})
	if w.reply == nil {
		return nil
	}
	var value any
	if err := json.Unmarshal(w.reply, &value); err != nil {
		return err
	}
	return e.Reply.Send(unwrap(value))
}

func watchServerSide(_ context.Context, s *scenario, c *command) (any, error) {
	s.srv.Of(c.NSP).HandleServerSide(c.Event, &watcher{s: s, nsp: c.NSP, reply: c.Reply})
	return nil, nil
}

// onRemote acts on the first socket of a selection, by way of what describes it.
func onRemote(ctx context.Context, s *scenario, c *command) (any, error) {
	op, err := s.operator(c)
	if err != nil {
		return nil, err
	}
	found, err := op.FetchSockets(ctx)
	if err != nil {
		return nil, err
	}
	if len(found.Values) == 0 {
		return nil, errors.New("no socket")
	}
	remote := found.Values[0]
	switch c.Action {
	case "emit":
		return nil, remote.Emit(c.Event, unwrapArgs(c.Args)...)
	case "join":
		return nil, remote.Join(c.Rooms...)
	case "leave":
		return nil, remote.Leave(c.Rooms...)
	case "disconnect":
		if c.Close {
			return nil, remote.DisconnectClient()
		}
		return nil, remote.Disconnect()
	default:
		return nil, errors.New("unknown action " + c.Action)
	}
}

func fetchSockets(ctx context.Context, s *scenario, c *command) (any, error) {
	op, err := s.operator(c)
	if err != nil {
		return nil, err
	}
	found, err := op.FetchSockets(ctx)
	if err != nil {
		return nil, err
	}
	list := []any{}
	for _, remote := range found.Values {
		entry, err := describe(remote, c.Details)
		if err != nil {
			return nil, err
		}
		list = append(list, entry)
	}
	return list, nil
}

func count(ctx context.Context, s *scenario, c *command) (any, error) {
	op, err := s.operator(c)
	if err != nil {
		return nil, err
	}
	n, err := op.Count(ctx)
	if err == nil && !n.Complete() {
		err = errors.New("a node did not answer")
	}
	return n.Sockets, err
}

func ids(ctx context.Context, s *scenario, c *command) (any, error) {
	op, err := s.operator(c)
	if err != nil {
		return nil, err
	}
	found, err := op.IDs(ctx)
	if err == nil && !found.Complete() {
		err = errors.New("a node did not answer")
	}
	slices.Sort(found.Values)
	return append([]string{}, found.Values...), err
}

// roomSize is that on this node.
func roomSize(_ context.Context, s *scenario, c *command) (any, error) {
	return s.srv.Of(c.NSP).To(c.To[0]).LocalCount(), nil
}

func localRooms(_ context.Context, s *scenario, c *command) (any, error) {
	rooms := append([]string{}, s.srv.Of(c.NSP).LocalRooms()...)
	slices.Sort(rooms)
	return rooms, nil
}

func clusterRooms(ctx context.Context, s *scenario, c *command) (any, error) {
	found, err := s.srv.Of(c.NSP).Rooms(ctx)
	if err != nil {
		return nil, err
	}
	slices.Sort(found.Values)
	return append([]string{}, found.Values...), nil
}
