package auth

import (
	"context"
	"errors"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

// guarded is a namespace that Protect was called for.
type guarded struct {
	nsp *server.Namespace
	dir *users.Directory // nil without
}

// protected returns the namespaces with a name of their own, and the parents of others.
func (a *Auth) protected() ([]guarded, []*server.ParentNamespace) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.guarded, a.parents
}

func (a *Auth) directoryOf(n *server.Namespace) *users.Directory {
	all, _ := a.protected()
	for _, g := range all {
		if g.nsp == n {
			return g.dir
		}
	}
	return nil
}

// errUntold says that nobody knows whether all nodes were told.
var errUntold = errors.New("only dynamic namespaces are protected: nodes that have none of those of this node are not told")

// tell tells the other nodes, through a namespace that all of them have, or else through what there is.
func (a *Auth) tell(ctx context.Context, n notice) error {
	all, parents := a.protected()
	if len(all) == 0 {
		return tellChildren(ctx, parents, n)
	}
	errs := []error{all[0].nsp.ServerSideEmit(noticeEvent, n)}
	for _, g := range all {
		if g.dir != nil && g.dir.Stats().Mixed {
			errs = append(errs, disconnectForeign(ctx, g, n.User))
		}
	}
	return errors.Join(errs...)
}

// tellChildren tells through dynamic namespaces, of which other nodes may have others.
func tellChildren(ctx context.Context, parents []*server.ParentNamespace, n notice) error {
	var errs []error
	for _, p := range parents {
		for _, child := range p.Children() {
			errs = append(errs, child.ServerSideEmit(noticeEvent, n))
		}
	}
	if len(parents) > 0 {
		if nodes, err := parents[0].Server().Nodes(ctx); err != nil || len(nodes) > 1 {
			errs = append(errs, errUntold)
		}
	}
	return errors.Join(errs...)
}

// foreignPatience is how long nodes of Node.js may take to say which sockets they have.
const foreignPatience = 500 * time.Millisecond

// disconnectForeign disconnects the sockets of a user on nodes that do not keep the directory, which cannot be told of tokens. If
// those cannot be asked all sockets of the user go.
func disconnectForeign(ctx context.Context, g guarded, user string) error {
	ctx, cancel := context.WithTimeout(ctx, foreignPatience)
	defer cancel()
	room := g.nsp.In(g.dir.RoomOf(user))
	found, err := room.FetchSockets(ctx)
	if err != nil || len(found.Missing) > 0 || found.Unanswered > 0 {
		return room.DisconnectSockets()
	}
	var errs []error
	for _, s := range found.Values {
		if all, err := members(s.Data()); err != nil || all[users.DataKey] == nil {
			errs = append(errs, s.Disconnect())
		}
	}
	return errors.Join(errs...)
}
