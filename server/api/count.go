package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

type countAnswer struct {
	partial
	Sockets int  `json:"sockets"`
	Users   *int `json:"users,omitempty"` // if they were asked for
}

// number notes a count of sockets.
func (c *countAnswer) number(n server.Count, err error, name func(adapter.NodeID) string) error {
	c.Sockets = n.Sockets
	if n.Unanswered > 0 {
		c.Partial, c.Unanswered = true, n.Unanswered
		c.Missing = named(n.Missing, name)
	}
	return c.lacks(err)
}

func named(ids []adapter.NodeID, name func(adapter.NodeID) string) (names []string) {
	for _, id := range ids {
		names = append(names, name(id))
	}
	return names
}

// count counts sockets: of a namespace, of rooms, of a user; and users on demand.
func (a *API) count(ctx context.Context, r *http.Request) (any, error) {
	q := r.URL.Query()
	local, err := flag(q, "local")
	if err != nil {
		return nil, err
	}
	if q.Has("user") {
		if len(q) > 1 {
			return nil, invalid("user goes without other parameters")
		}
		return a.countUser(ctx, q.Get("user"))
	}
	s := selection{Namespace: q.Get("namespace"), All: !q.Has("room"), Rooms: q["room"], Except: q["except"], Local: local}
	if err := s.check(); err != nil {
		return nil, err
	}
	withUsers, err := flag(q, "users")
	if err != nil {
		return nil, err
	}
	var out countAnswer
	if withUsers {
		if err := a.countUsers(ctx, &s, &out); err != nil {
			return nil, err
		}
	}
	n, err := a.namespace(ctx, s.Namespace)
	if err != nil {
		return nil, err
	}
	number, err := s.operator(n).Count(ctx)
	return out, out.number(number, err, a.agent.names(ctx))
}

func (a *API) countUser(ctx context.Context, id string) (any, error) {
	if a.dir == nil {
		return nil, errNoDirectory
	}
	var out countAnswer
	number, err := a.dir.User(id).Count(ctx)
	err = out.number(number, userFault(err), a.agent.names(ctx))
	return out, err
}

// countUsers adds how many users are in a room, or are at all.
func (a *API) countUsers(ctx context.Context, s *selection, out *countAnswer) error {
	if err := a.checkUsers(s); err != nil {
		return err
	}
	if len(s.Rooms) > 1 || len(s.Except) > 0 || s.Local {
		return invalid("users goes with one room, or none, and without except and local")
	}
	group := a.dir.Everyone()
	if len(s.Rooms) == 1 {
		group = a.dir.Room(s.Rooms[0])
	}
	c, err := group.Count(ctx)
	if err != nil {
		return err
	}
	out.Users = &c.Users
	out.Partial = c.Incomplete || len(c.Missing) > 0
	return nil
}

// flag reads a parameter that is true or false; alone it is true.
func flag(q url.Values, name string) (bool, error) {
	if !q.Has(name) || q.Get(name) == "" {
		return q.Has(name), nil
	}
	on, err := strconv.ParseBool(q.Get(name))
	if err != nil {
		return false, invalid("%s is true or false", name)
	}
	return on, nil
}

// userFault turns an illegal id into the caller's fault.
func userFault(err error) error {
	if isUserID(err) {
		return invalid("%v", users.ErrUserID)
	}
	return err
}
