package users

import (
	"context"
	"errors"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// operator selects the sockets of a user where they are now. nodes is nil if all nodes are meant.
func (d *Directory) operator(ctx context.Context, id string) (op server.BroadcastOperator, nodes []adapter.NodeID, err error) {
	if err := d.checkID(id); err != nil {
		return op, nil, err
	}
	to := d.nsp.To(d.room(id))
	if d.mixed.on() {
		return to, nil, nil
	}
	here, nodes, all := d.holdersHere(id)
	if !here && !all {
		p, err := d.lookUp(ctx, id)
		switch all = p.all; {
		case err != nil:
			return op, nil, err
		case !all && len(p.nodes) == 0:
			return op, nil, p.err()
		}
		nodes = p.nodes
	}
	if all {
		return to, nil, nil
	}
	return to.Nodes(nodes...), nodes, nil
}

// Online reports whether the user has a socket that can be reached.
func (u User) Online(ctx context.Context) (bool, error) {
	op, nodes, err := u.dir.operator(ctx, u.id)
	switch {
	case errors.Is(err, ErrOffline) || errors.Is(err, ErrAway):
		return false, nil
	case err != nil:
		return false, failed("look for user", err)
	case nodes != nil:
		return true, nil
	}
	n, err := op.Count(ctx)
	return n.Sockets > 0, failed("look for user", err)
}

// Nodes returns the nodes of the directory that hold the user and are heard.
func (u User) Nodes(ctx context.Context) ([]server.Node, error) {
	d := u.dir
	if err := d.checkID(u.id); err != nil {
		return nil, failed("look for user", err)
	}
	here, ids, _ := d.holdersHere(u.id)
	if !here {
		p, err := d.lookUp(ctx, u.id)
		switch {
		case err != nil:
			return nil, failed("look for user", err)
		case p.all:
			return nil, failed("look for user", server.ErrClusterUnavailable)
		}
		ids = p.nodes
	}
	nodes := make([]server.Node, 0, len(ids))
	for _, id := range ids {
		if id == d.members.self {
			nodes = append(nodes, d.srv.Node())
		} else if m, ok := d.members.known()[id]; ok {
			nodes = append(nodes, m.node)
		}
	}
	return nodes, nil
}

// Holders returns on how many nodes a user is that has sockets here, this one included, as far as this node knows; 0 if it has none
// here. It asks nobody and never blocks: it is for what can be approximate, such as dividing a limit among the nodes.
func (d *Directory) Holders(user string) int {
	here, nodes, _ := d.holdersHere(user)
	if !here {
		return 0
	}
	return len(nodes)
}

// Sockets describes the sockets of the user. The result says which nodes did not answer.
func (u User) Sockets(ctx context.Context) (server.Result[*server.RemoteSocket], error) {
	var result server.Result[*server.RemoteSocket]
	err := u.twice(ctx, func(op server.BroadcastOperator) (bool, error) {
		var err error
		result, err = op.FetchSockets(ctx)
		return len(result.Values) > 0, err
	})
	return result, failed("fetch sockets of user", err)
}

// Count counts the sockets of the user. The nodes that hold it are asked, and answer with a number each. A user who is offline or
// away has none; that is no error.
func (u User) Count(ctx context.Context) (server.Count, error) {
	var count server.Count
	err := u.twice(ctx, func(op server.BroadcastOperator) (bool, error) {
		var err error
		count, err = op.Count(ctx)
		return count.Sockets > 0, err
	})
	if errors.Is(err, ErrOffline) || errors.Is(err, ErrAway) {
		err = nil
	}
	return count, failed("count sockets of user", err)
}

// EmitWithAck sends an event to all sockets of a user and waits for their acknowledgements, see server.BroadcastWithAck.
func EmitWithAck[R any](ctx context.Context, u User, event string, args ...any) (server.Replies[R], error) {
	var replies server.Replies[R]
	err := u.twice(ctx, func(op server.BroadcastOperator) (bool, error) {
		var err error
		replies, err = server.BroadcastWithAck[R](ctx, op, event, args...)
		return replies.Expected > 0, err
	})
	return replies, failed("emit to user", err)
}

// twice asks the nodes that hold the user. If they have none of its sockets it looks once more where it is.
func (u User) twice(ctx context.Context, ask func(op server.BroadcastOperator) (found bool, err error)) error {
	for try := 0; ; try++ {
		op, nodes, err := u.dir.operator(ctx, u.id)
		if err != nil {
			return err
		}
		found, err := ask(op)
		switch {
		case found || nodes == nil:
			return err
		case try > 0:
			return errors.Join(ErrAway, err)
		}
	}
}

// Join makes all sockets of the user join rooms.
func (u User) Join(ctx context.Context, rooms ...string) error {
	op, _, err := u.dir.operator(ctx, u.id)
	if err == nil {
		err = op.Except(u.except...).SocketsJoin(rooms...)
	}
	return failed("join sockets of user", err)
}

// Leave makes all sockets of the user leave rooms.
func (u User) Leave(ctx context.Context, rooms ...string) error {
	op, _, err := u.dir.operator(ctx, u.id)
	if err == nil {
		err = op.Except(u.except...).SocketsLeave(rooms...)
	}
	return failed("take sockets of user out of rooms", err)
}

// Disconnect disconnects all sockets of the user from the namespace; their connections stay open.
func (u User) Disconnect(ctx context.Context) error {
	op, _, err := u.dir.operator(ctx, u.id)
	if err == nil {
		err = op.Except(u.except...).DisconnectSockets()
	}
	return failed("disconnect user", err)
}

// DisconnectClients disconnects the clients of the user's sockets from all namespaces and closes their connections.
func (u User) DisconnectClients(ctx context.Context) error {
	op, _, err := u.dir.operator(ctx, u.id)
	if err == nil {
		err = op.Except(u.except...).DisconnectClients()
	}
	return failed("disconnect user", err)
}
