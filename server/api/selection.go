package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

const (
	// maxNames bounds the rooms, sockets and users that one command names.
	maxNames = 1000
	// maxName bounds each of them, in bytes.
	maxName = 4096
	// maxNamed bounds the names of nodes in the text of an error.
	maxNamed = 10
	// atOnce is how many users are looked for at a time.
	atOnce = 16
)

// selection says whom a command is for: the sockets that are in one of Rooms, or are one of Sockets, or one of Users'. Everybody has
// to be said by All. A list that is empty selects nobody.
type selection struct {
	Namespace string   `json:"namespace,omitempty"` // default "/"; that of the directory with users
	All       bool     `json:"all,omitempty"`
	Rooms     []string `json:"rooms,omitempty"`
	Sockets   []string `json:"sockets,omitempty"`
	Users     []string `json:"users,omitempty"`
	Except    []string `json:"except,omitempty"` // rooms, or sockets, whose sockets are left out
	Local     bool     `json:"local,omitempty"`  // of the node that is asked alone
}

func (s *selection) check() error {
	named := s.Rooms != nil || s.Sockets != nil || s.Users != nil
	switch {
	case s.All && named:
		return invalid("all goes without rooms, sockets and users")
	case !s.All && !named:
		return invalid("rooms, sockets, users or all is needed")
	case s.Local && s.Users != nil:
		return invalid("local goes with rooms and sockets, not with users")
	case len(s.Rooms)+len(s.Sockets)+len(s.Users)+len(s.Except) > maxNames:
		return invalid("at most %d names fit into one selection", maxNames)
	}
	for _, list := range [][]string{s.Rooms, s.Sockets, s.Users, s.Except, {"/" + s.Namespace}} {
		if err := checkNames(list); err != nil {
			return err
		}
	}
	return nil
}

func checkNames(list []string) error {
	for _, name := range list {
		if name == "" || len(name) > maxName {
			return invalid("a name has 1 to %d bytes", maxName)
		}
	}
	return nil
}

// partial says what an answer, or what was done, lacks. The zero value lacks nothing.
type partial struct {
	Partial    bool     `json:"partial"`
	Missing    []string `json:"missing,omitempty"`    // names of nodes that did not answer or could not be reached
	Unanswered int      `json:"unanswered,omitempty"` // how many nodes that are, with those that have no name here
	Reason     string   `json:"reason,omitempty"`
}

// lacks notes an error that says that part of the cluster could not be reached; it returns others.
func (p *partial) lacks(err error) error {
	if err == nil {
		return nil
	}
	switch {
	case errors.Is(err, server.ErrQueueFull):
		p.Reason = "queue_full"
	case errors.Is(err, server.ErrClusterUnavailable):
		p.Reason = "cluster_unavailable"
	case errors.Is(err, server.ErrNodeUnreachable), errors.Is(err, server.ErrAckMissing):
		p.Reason = "node_unreachable"
	case errors.Is(err, context.DeadlineExceeded):
		p.Reason = "timeout"
	default:
		return err
	}
	p.Partial = true
	return nil
}

// done is the answer to a command.
type done struct {
	partial
	Offline []string `json:"offline,omitempty"` // users that no node has
	Away    []string `json:"away,omitempty"`    // users that lost their last socket just now, or whose nodes are not heard
	Failed  []string `json:"failed,omitempty"`  // users that could not be served for another reason, such as an illegal id
}

// run does something for everybody that is selected.
func (a *API) run(ctx context.Context, s *selection, each func(op server.BroadcastOperator) error, user func(ctx context.Context, u users.User) error) (done, error) {
	var d done
	if err := s.check(); err != nil {
		return d, err
	}
	if s.Users != nil {
		if err := a.checkUsers(s); err != nil {
			return d, err
		}
	}
	if s.All || s.Rooms != nil || s.Sockets != nil {
		n, err := a.namespace(ctx, s.Namespace)
		if err != nil {
			return d, err
		}
		if err := d.lacks(each(s.operator(n))); err != nil {
			return d, err
		}
	}
	err := a.runUsers(ctx, s, &d, user)
	return d, err
}

// operator selects the sockets, but for those of users.
func (s *selection) operator(n *server.Namespace) server.BroadcastOperator {
	op := n.Except(s.Except...)
	if !s.All {
		op = op.To(s.Rooms...).To(s.Sockets...)
	}
	if s.Local {
		op = op.Local()
	}
	return op
}

// checkUsers refuses users where there can be none.
func (a *API) checkUsers(s *selection) error {
	if a.dir == nil {
		return errNoDirectory
	}
	name := a.dir.Namespace().Name()
	if s.Namespace != "" && slashed(s.Namespace) != name {
		return invalid("the users are in namespace %s", name)
	}
	if s.Namespace == "" {
		s.Namespace = name
	}
	return nil
}

var errNoDirectory = refuse(http.StatusNotFound, "no_directory", "this node has no directory of users")

// runUsers does something for each user, for some at the same time.
func (a *API) runUsers(ctx context.Context, s *selection, d *done, f func(ctx context.Context, u users.User) error) error {
	if len(s.Users) == 0 {
		return nil
	}
	errs := make([]error, len(s.Users))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, id := range s.Users {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = f(ctx, a.dir.User(id).Except(s.Except...))
			<-slots
		})
	}
	wg.Wait()
	for i, err := range errs {
		switch id := s.Users[i]; {
		case errors.Is(err, users.ErrOffline):
			d.Offline = append(d.Offline, id)
		case errors.Is(err, users.ErrAway):
			d.Away = append(d.Away, id)
		case errors.Is(err, users.ErrUserID):
			d.Failed = append(d.Failed, id)
		case err != nil:
			d.Failed = append(d.Failed, id)
			if err := d.lacks(err); err != nil {
				return err
			}
		}
	}
	return nil
}

func slashed(namespace string) string {
	if namespace == "" || namespace[0] != '/' {
		return "/" + namespace
	}
	return namespace
}

// namespace finds a namespace of this node. One that other nodes have is not made here: it would lack their middlewares and hooks, and
// clients could connect to it.
func (a *API) namespace(ctx context.Context, name string) (*server.Namespace, error) {
	name = slashed(name)
	if n, ok := a.srv.Namespace(name); ok {
		return n, nil
	}
	answers, _ := a.agent.askAll(ctx, question{Op: opHas, Namespace: name})
	var having []string
	for _, answer := range answers {
		if answer.Has {
			having = append(having, answer.node.Name)
		}
	}
	if len(having) > 0 {
		slices.Sort(having)
		shown := having[:min(len(having), maxNamed)]
		return nil, refuse(http.StatusConflict, "elsewhere", "this node has no namespace %s; ask one that has it: %s", name, strings.Join(shown, ", "))
	}
	return nil, refuse(http.StatusNotFound, "unknown_namespace", "no node that was heard has a namespace %s", name)
}
