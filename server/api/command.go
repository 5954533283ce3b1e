package api

import (
	"context"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

// disconnection takes sockets out of their namespace.
type disconnection struct {
	selection
	Close bool `json:"close,omitempty"` // the whole connection
}

func (a *API) disconnect(ctx context.Context, c disconnection) (any, error) {
	return a.run(ctx, &c.selection, func(op server.BroadcastOperator) error {
		if c.Close {
			return op.DisconnectClients()
		}
		return op.DisconnectSockets()
	}, func(ctx context.Context, u users.User) error {
		if c.Close {
			return u.DisconnectClients(ctx)
		}
		return u.Disconnect(ctx)
	})
}

// membership is rooms that sockets are to join.
type membership struct {
	selection
	Into []string `json:"into"`
}

func (a *API) join(ctx context.Context, m membership) (any, error) {
	if err := checkRooms("into", m.Into); err != nil {
		return nil, err
	}
	return a.run(ctx, &m.selection,
		func(op server.BroadcastOperator) error { return op.SocketsJoin(m.Into...) },
		func(ctx context.Context, u users.User) error { return u.Join(ctx, m.Into...) })
}

// departure is rooms that sockets are to leave.
type departure struct {
	selection
	From []string `json:"from"`
}

func (a *API) leave(ctx context.Context, m departure) (any, error) {
	if err := checkRooms("from", m.From); err != nil {
		return nil, err
	}
	return a.run(ctx, &m.selection,
		func(op server.BroadcastOperator) error { return op.SocketsLeave(m.From...) },
		func(ctx context.Context, u users.User) error { return u.Leave(ctx, m.From...) })
}

func checkRooms(field string, list []string) error {
	if len(list) == 0 || len(list) > maxNames {
		return invalid("%s has 1 to %d rooms", field, maxNames)
	}
	return checkNames(list)
}
