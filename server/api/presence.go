package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

const (
	defaultPresent = 1000
	maxPresent     = 10_000
)

// presentView is a user who is there.
type presentView struct {
	User    string          `json:"user"`
	Sockets int             `json:"sockets"`
	Nodes   []string        `json:"nodes"`
	Info    json.RawMessage `json:"info,omitempty"` // what the application has bound the user with
}

type presenceAnswer struct {
	partial
	Users   []presentView `json:"users"`   // by id, at most as many as the limit
	Total   int           `json:"total"`   // users that there are
	Sockets int           `json:"sockets"` // of all of them
}

// presence lists the users, of a room or of all.
func (a *API) presence(ctx context.Context, r *http.Request) (any, error) {
	if a.dir == nil {
		return nil, errNoDirectory
	}
	q := r.URL.Query()
	limit := defaultPresent
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 || n > maxPresent {
			return nil, invalid("limit is a number up to %d", maxPresent)
		}
		limit = n
	}
	group := a.dir.Everyone()
	if q.Has("room") {
		if err := checkNames(q["room"]); err != nil || len(q["room"]) > 1 {
			return nil, invalid("room is the name of one room")
		}
		group = a.dir.Room(q.Get("room"))
	}
	p, err := group.Users(ctx)
	if err != nil {
		return nil, err
	}
	name := a.agent.names(ctx)
	out := presenceAnswer{Users: []presentView{}, Total: len(p.Users), Sockets: p.Sockets}
	out.Partial = p.Incomplete || len(p.Missing) > 0
	out.Missing, out.Unanswered = named(p.Missing, name), len(p.Missing)
	for _, u := range p.Users[:min(limit, len(p.Users))] {
		out.Users = append(out.Users, presentView{User: u.User, Sockets: u.Sockets, Nodes: named(u.Nodes, name), Info: u.Info})
	}
	return out, nil
}

type userAnswer struct {
	partial
	User    string   `json:"user"`
	State   string   `json:"state"` // online, away or offline
	Sockets int      `json:"sockets"`
	Nodes   []string `json:"nodes"`
}

// user tells whether a user is there, and where.
func (a *API) user(ctx context.Context, r *http.Request) (any, error) {
	result, out, err := a.findUser(ctx, r.PathValue("user"))
	if err != nil {
		return nil, err
	}
	answer := userAnswer{partial: out, User: r.PathValue("user"), State: result.state, Sockets: len(result.sockets), Nodes: []string{}}
	seen := make(map[string]bool)
	for _, s := range result.sockets {
		if !seen[s.Node] {
			seen[s.Node] = true
			answer.Nodes = append(answer.Nodes, s.Node)
		}
	}
	return answer, nil
}

// socketView is a socket somewhere in the cluster.
type socketView struct {
	ID      string          `json:"id"`
	Node    string          `json:"node"` // "" for one of Node.js that does not tell
	Rooms   []string        `json:"rooms"`
	Address string          `json:"address"` // of the client
	Since   time.Time       `json:"since"`
	Data    json.RawMessage `json:"data"`
}

func (a *API) view(s *server.RemoteSocket, name func(adapter.NodeID) string) socketView {
	h := s.Handshake()
	node := s.Node()
	if _, ok := s.Socket(); ok {
		node = a.srv.Node().ID
	}
	v := socketView{ID: s.ID(), Rooms: s.Rooms(), Address: h.Address, Since: time.UnixMilli(h.Issued).UTC(), Data: s.Data()}
	if node != "" {
		v.Node = name(node)
	}
	if len(v.Data) == 0 {
		v.Data = json.RawMessage("{}")
	}
	return v
}

type socketsAnswer struct {
	partial
	Sockets []socketView `json:"sockets"`
}

type socketAnswer struct {
	partial
	socketView
}

// userSockets describes the sockets of a user.
func (a *API) userSockets(ctx context.Context, r *http.Request) (any, error) {
	result, out, err := a.findUser(ctx, r.PathValue("user"))
	return socketsAnswer{partial: out, Sockets: result.sockets}, err
}

// found is where a user was found.
type found struct {
	state   string
	sockets []socketView
}

func (a *API) findUser(ctx context.Context, id string) (f found, lacks partial, err error) {
	if a.dir == nil {
		return f, lacks, errNoDirectory
	}
	f.sockets = []socketView{}
	result, err := a.dir.User(id).Sockets(ctx)
	switch {
	case errors.Is(err, users.ErrOffline):
		f.state, err = "offline", nil
	case errors.Is(err, users.ErrAway):
		f.state, err = "away", nil
	case len(result.Values) > 0:
		f.state = "online"
	default:
		f.state = "offline"
	}
	lacks = a.views(ctx, result, &f.sockets)
	return f, lacks, lacks.lacks(userFault(err))
}

// views describes sockets, and says who is missing.
func (a *API) views(ctx context.Context, result server.Result[*server.RemoteSocket], list *[]socketView) (lacks partial) {
	name := a.agent.names(ctx)
	for _, s := range result.Values {
		*list = append(*list, a.view(s, name))
	}
	lacks.Partial = result.Unanswered > 0
	lacks.Missing, lacks.Unanswered = named(result.Missing, name), result.Unanswered
	return lacks
}

func isUserID(err error) bool { return errors.Is(err, users.ErrUserID) }

// socket describes one socket.
func (a *API) socket(ctx context.Context, r *http.Request) (any, error) {
	id := r.PathValue("socket")
	if err := checkNames([]string{id}); err != nil {
		return nil, err
	}
	n, err := a.namespace(ctx, r.URL.Query().Get("namespace"))
	if err != nil {
		return nil, err
	}
	result, err := n.To(id).FetchSockets(ctx)
	var list []socketView
	out := socketAnswer{partial: a.views(ctx, result, &list)}
	if err := out.lacks(err); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(s socketView) bool { return s.ID == id })
	if i < 0 {
		return nil, refuse(http.StatusNotFound, "unknown_socket", "no node that was heard has the socket in %s", n.Name())
	}
	out.socketView = list[i]
	return out, nil
}
