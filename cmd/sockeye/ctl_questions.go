package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
)

type ctlNodes struct{}

// ctlNode is what the API tells of a node.
type ctlNode struct {
	Name, State, Version string
	Self                 bool
	Started              time.Time
	Status               *struct {
		Sockets, Connections, Users, Relays int
		Draining, Emptying                  bool
	}
}

const nodeHeader = "NODE\tSTATE\tCONNECTIONS\tSOCKETS\tUSERS\tUP\tVERSION"

func (n *ctlNode) row() string {
	state, connections, sockets, users := n.State, "-", "-", "-"
	if s := n.Status; s != nil {
		connections, sockets, users = strconv.Itoa(s.Connections), strconv.Itoa(s.Sockets), strconv.Itoa(s.Users)
		if s.Draining {
			state += ", draining"
		}
	}
	name := n.Name
	if n.Self {
		name += " *"
	}
	return strings.Join([]string{name, state, connections, sockets, users, time.Since(n.Started).Round(time.Second).String(), n.Version}, "\t")
}

// Run lists the nodes; * marks the one that was asked.
func (*ctlNodes) Run(ctx context.Context, out *streams, c *ctlCommand) error {
	return c.ask(ctx, out, "GET", "nodes", nil, nil, table(func(w io.Writer, a struct {
		Nodes   []ctlNode
		Foreign int
	}) {
		fmt.Fprintln(w, nodeHeader)
		for _, n := range a.Nodes {
			fmt.Fprintln(w, n.row())
		}
		if a.Foreign > 0 {
			fmt.Fprintf(w, "and %d Node.js nodes\n", a.Foreign)
		}
	}))
}

// table shows an answer that is decoded before.
func table[T any](show func(w io.Writer, answer T)) func(io.Writer, []byte) error {
	return func(w io.Writer, text []byte) error {
		var answer T
		if err := json.Unmarshal(text, &answer); err != nil {
			return fmt.Errorf("the answer does not fit: %w", err)
		}
		show(w, answer)
		return nil
	}
}

type ctlNamespaces struct{}

// Run lists the namespaces.
func (*ctlNamespaces) Run(ctx context.Context, out *streams, c *ctlCommand) error {
	return c.ask(ctx, out, "GET", "namespaces", nil, nil, table(func(w io.Writer, a struct {
		Namespaces []struct {
			Name    string
			Sockets int
		}
		More bool
	}) {
		fmt.Fprintln(w, "NAMESPACE\tSOCKETS")
		for _, n := range a.Namespaces {
			fmt.Fprintf(w, "%s\t%d\n", n.Name, n.Sockets)
		}
		if a.More {
			fmt.Fprintln(w, "and more")
		}
	}))
}

type ctlCount struct {
	Namespace string   `env:"-" help:"Of this namespace; / by default."`
	Room      []string `env:"-" sep:"none" placeholder:"ROOM" help:"Sockets in this room; may be given several times."`
	Except    []string `env:"-" sep:"none" placeholder:"ROOM" help:"Not those in this room; may be given several times."`
	User      string   `env:"-" help:"The sockets of this user."`
	Users     bool     `env:"-" help:"Count users too."`
	Local     bool     `env:"-" help:"On the node that is asked alone."`
}

// Run prints the numbers.
func (q *ctlCount) Run(ctx context.Context, out *streams, c *ctlCommand) error {
	query := make(url.Values)
	for name, value := range map[string]string{"namespace": q.Namespace, "user": q.User} {
		if value != "" {
			query.Set(name, value)
		}
	}
	for name, on := range map[string]bool{"users": q.Users, "local": q.Local} {
		if on {
			query.Set(name, "true")
		}
	}
	if len(q.Room) > 0 {
		query["room"] = q.Room
	}
	if len(q.Except) > 0 {
		query["except"] = q.Except
	}
	return c.ask(ctx, out, "GET", "count", query, nil, table(func(w io.Writer, a struct {
		Sockets int
		Users   *int
	}) {
		fmt.Fprintf(w, "sockets\t%d\n", a.Sockets)
		if a.Users != nil {
			fmt.Fprintf(w, "users\t%d\n", *a.Users)
		}
	}))
}

type ctlPresence struct {
	Room  string `env:"-" help:"In this room."`
	Limit int    `env:"-" default:"1000" help:"How many are listed, 10000 at most."`
}

// Run lists users.
func (q *ctlPresence) Run(ctx context.Context, out *streams, c *ctlCommand) error {
	query := url.Values{"limit": {strconv.Itoa(q.Limit)}}
	if q.Room != "" {
		query.Set("room", q.Room)
	}
	return c.ask(ctx, out, "GET", "presence", query, nil, table(func(w io.Writer, a struct {
		Users []struct {
			User    string
			Sockets int
			Nodes   []string
		}
		Total, Sockets int
	}) {
		fmt.Fprintln(w, "USER\tSOCKETS\tNODES")
		for _, u := range a.Users {
			fmt.Fprintf(w, "%q\t%d\t%s\n", u.User, u.Sockets, strings.Join(u.Nodes, ", "))
		}
		fmt.Fprintf(w, "%d users with %d sockets\n", a.Total, a.Sockets)
	}))
}

type ctlUser struct {
	User string `arg:"" help:"The user's id."`
}

// Run lists a user's sockets.
func (q *ctlUser) Run(ctx context.Context, out *streams, c *ctlCommand) error {
	return c.ask(ctx, out, "GET", "users/"+url.PathEscape(q.User)+"/sockets", nil, nil, table(func(w io.Writer, a struct {
		Sockets []struct {
			ID, Node, Address string
			Since             time.Time
			Rooms             []string
		}
	}) {
		if len(a.Sockets) == 0 {
			fmt.Fprintln(w, "offline")
			return
		}
		fmt.Fprintln(w, "SOCKET\tNODE\tADDRESS\tSINCE\tROOMS")
		for _, s := range a.Sockets {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%q\n", s.ID, s.Node, s.Address, s.Since.Format(time.RFC3339), s.Rooms)
		}
	}))
}
