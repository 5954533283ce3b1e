package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/sockeye-io/sockeye/server"
)

// maxName bounds names of namespaces and rooms that an operator gives.
const maxName = 4 << 10

// handleCommands registers what operators can do. Each command names a namespace and, as filter, a room or a socket; without a filter
// it is for all sockets of the namespace, in the whole cluster.
func (a *Admin) handleCommands() {
	// emit(namespace, filter, event, ...args)
	a.keep(a.pages.Handle("emit", server.Func(func(_ context.Context, s *server.Socket, args server.Args) error {
		event, err := stringAt(args, 2, "event")
		if err != nil {
			return err
		}
		rest := args.Slice(3, args.Len())
		return a.command(s, "emit", args, 1, []any{"event", event}, func(b server.BroadcastOperator) error { return b.Emit(event, rest) })
	})))
	// join(namespace, room, filter) and leave(namespace, room, filter)
	for name, act := range map[string]func(server.BroadcastOperator, ...string) error{
		"join": server.BroadcastOperator.SocketsJoin, "leave": server.BroadcastOperator.SocketsLeave,
	} {
		a.keep(a.pages.Handle(name, server.Func(func(_ context.Context, s *server.Socket, args server.Args) error {
			room, err := stringAt(args, 1, "room")
			if err != nil {
				return err
			}
			return a.command(s, name, args, 2, []any{"room", room}, func(b server.BroadcastOperator) error { return act(b, room) })
		})))
	}
	// _disconnect(namespace, close, filter)
	a.keep(a.pages.Handle("_disconnect", server.Func(func(_ context.Context, s *server.Socket, args server.Args) error {
		var all bool
		if err := args.Unmarshal(1, &all); err != nil {
			return &server.ClientError{Message: "close: a boolean is expected"}
		}
		return a.command(s, "disconnect", args, 2, []any{"close", all}, func(b server.BroadcastOperator) error {
			if all {
				return b.DisconnectClients()
			}
			return b.DisconnectSockets()
		})
	})))
}

// command does something with the sockets that are meant: the namespace is argument 0, the filter argument number filterAt.
func (a *Admin) command(page *server.Socket, name string, args server.Args, filterAt int, details []any, act func(server.BroadcastOperator) error) error {
	namespace, err := stringAt(args, 0, "namespace")
	if err != nil {
		return err
	}
	filter, err := optionalStringAt(args, filterAt, "filter")
	if err != nil {
		return err
	}
	// A namespace that only other nodes have is not opened here: it would lack their middlewares, and clients could connect to it.
	n, ok := a.srv.Namespace(slashed(namespace))
	if !ok {
		a.log.Warn("admin UI: a command for a namespace that this node does not have is ignored", "command", name, "namespace", namespace)
		return &server.ClientError{Message: "namespace: this node does not have it"}
	}
	operator := n.Except() // nobody
	if filter != "" {
		operator = n.To(filter)
	}
	a.commands.Add(1)
	a.log.Info("admin UI: an operator has given a command", append([]any{
		"command", name, "namespace", namespace, "filter", filter, "address", page.Handshake().Address, "socket", page.ID(),
	}, details...)...)
	err = act(operator)
	if errors.Is(err, server.ErrReservedEvent) {
		return &server.ClientError{Message: err.Error()}
	}
	return err
}

func slashed(namespace string) string {
	if namespace[0] != '/' {
		return "/" + namespace
	}
	return namespace
}

// stringAt reads an argument that must be there.
func stringAt(args server.Args, i int, what string) (string, error) {
	s, err := optionalStringAt(args, i, what)
	if err == nil && s == "" {
		err = &server.ClientError{Message: what + ": a name is expected"}
	}
	return s, err
}

// optionalStringAt reads an argument that may be undefined or null, which are "".
func optionalStringAt(args server.Args, i int, what string) (string, error) {
	var s *string
	if err := args.Unmarshal(i, &s); err != nil {
		return "", &server.ClientError{Message: what + ": a string is expected"}
	}
	if s == nil {
		return "", nil
	}
	if len(*s) > maxName {
		return "", &server.ClientError{Message: fmt.Sprintf("%s: %d bytes at most", what, maxName)}
	}
	return *s, nil
}
