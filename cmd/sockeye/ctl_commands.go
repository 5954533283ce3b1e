package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"
)

// ctlSelection says for whom a command is.
type ctlSelection struct {
	Namespace string   `env:"-" json:"namespace,omitempty" help:"Of this namespace; / by default."`
	All       bool     `env:"-" json:"all,omitempty" help:"Every socket."`
	Rooms     []string `name:"room" env:"-" sep:"none" placeholder:"ROOM" json:"rooms,omitempty" help:"The sockets in this room; may be given several times."`
	Sockets   []string `name:"socket" env:"-" sep:"none" placeholder:"ID" json:"sockets,omitempty" help:"This socket; may be given several times."`
	Users     []string `name:"user" env:"-" sep:"none" placeholder:"USER" json:"users,omitempty" help:"The sockets of this user; may be given several times."`
	Except    []string `env:"-" sep:"none" placeholder:"ROOM" json:"except,omitempty" help:"Not the sockets in this room, or this socket; may be given several times."`
	Local     bool     `env:"-" json:"local,omitempty" help:"On the node that is asked alone."`
}

func (s *ctlSelection) check() error {
	if named := len(s.Rooms)+len(s.Sockets)+len(s.Users) > 0; named == s.All {
		return errors.New("one of --room, --socket, --user is needed, or else --all")
	}
	return nil
}

// do has something done for a selection.
func (c *ctlCommand) do(ctx context.Context, out *streams, path string, body any) error {
	return c.ask(ctx, out, "POST", path, nil, body, table(func(w io.Writer, a struct{ Offline, Away, Failed []string }) {
		for what, list := range map[string][]string{"offline": a.Offline, "away": a.Away, "failed": a.Failed} {
			for _, user := range list {
				fmt.Fprintf(w, "%q is %s\n", user, what)
			}
		}
	}))
}

type ctlPublish struct {
	ctlSelection
	Volatile   bool     `env:"-" help:"Let clients that are not ready for more miss it."`
	NoCompress bool     `env:"-" help:"Do not compress it."`
	Event      string   `arg:"" help:"Name of the event."`
	Args       []string `arg:"" optional:"" sep:"none" help:"Arguments of the event, each a JSON value, such as '\"text\"', 42 or '{\"a\":1}'."`
}

// Validate refuses what cannot be sent. It is called by the flag parser.
func (p *ctlPublish) Validate() error {
	for i, arg := range p.Args {
		if !json.Valid([]byte(arg)) {
			return fmt.Errorf("argument %d of the event is no JSON: %s (a text needs its quotes: '\"text\"')", i+1, arg)
		}
	}
	return p.check()
}

// Run sends the event.
func (p *ctlPublish) Run(ctx context.Context, out *streams, c *ctlCommand) error {
	args := make([]json.RawMessage, len(p.Args))
	for i, arg := range p.Args {
		args[i] = json.RawMessage(arg)
	}
	return c.do(ctx, out, "publish", struct {
		ctlSelection
		Event    string            `json:"event"`
		Args     []json.RawMessage `json:"args,omitempty"`
		Volatile bool              `json:"volatile,omitempty"`
		Compress bool              `json:"compress"`
	}{p.ctlSelection, p.Event, args, p.Volatile, !p.NoCompress})
}

type ctlDisconnect struct {
	ctlSelection
	Close bool `env:"-" help:"Close the connections, and so leave all namespaces."`
}

// Validate is called by the flag parser.
func (d *ctlDisconnect) Validate() error { return d.check() }

// Run disconnects sockets.
func (d *ctlDisconnect) Run(ctx context.Context, out *streams, c *ctlCommand) error {
	return c.do(ctx, out, "disconnect", struct {
		ctlSelection
		Close bool `json:"close,omitempty"`
	}{d.ctlSelection, d.Close})
}

type ctlJoin struct {
	ctlSelection
	Into []string `arg:"" name:"into" sep:"none" help:"Rooms to join."`
}

// Validate is called by the flag parser.
func (j *ctlJoin) Validate() error { return j.check() }

// Run makes sockets join rooms.
func (j *ctlJoin) Run(ctx context.Context, out *streams, c *ctlCommand) error {
	return c.do(ctx, out, "join", struct {
		ctlSelection
		Into []string `json:"into"`
	}{j.ctlSelection, j.Into})
}

type ctlLeave struct {
	ctlSelection
	From []string `arg:"" name:"from" sep:"none" help:"Rooms to leave."`
}

// Validate is called by the flag parser.
func (l *ctlLeave) Validate() error { return l.check() }

// Run makes sockets leave rooms.
func (l *ctlLeave) Run(ctx context.Context, out *streams, c *ctlCommand) error {
	return c.do(ctx, out, "leave", struct {
		ctlSelection
		From []string `json:"from"`
	}{l.ctlSelection, l.From})
}

type ctlRevoke struct {
	Ago   time.Duration `env:"-" placeholder:"DURATION" help:"Only tokens that were issued longer ago than that; by default all until now."`
	Ahead time.Duration `env:"-" placeholder:"DURATION" help:"Also tokens that seem to be issued up to that later: how far the issuer's clock may be ahead. Not at all by default."`
	User  string        `arg:"" help:"Subject of the tokens."`
}

// Validate refuses what no node would do. It is called by the flag parser.
func (r *ctlRevoke) Validate() error {
	switch {
	case r.Ago < 0:
		return fmt.Errorf("--ago must not be negative, got %v", r.Ago)
	case r.Ahead < 0:
		return fmt.Errorf("--ahead must not be negative, got %v", r.Ahead)
	case r.User == "":
		return errors.New("the user must not be empty")
	}
	return nil
}

// Run makes tokens void.
func (r *ctlRevoke) Run(ctx context.Context, out *streams, c *ctlCommand) error {
	body := map[string]string{"ago": r.Ago.String(), "ahead": r.Ahead.String()}
	return c.ask(ctx, out, "POST", "users/"+url.PathEscape(r.User)+"/revoke", nil, body, table(func(w io.Writer, a struct {
		User   string
		Before time.Time
	}) {
		fmt.Fprintf(w, "tokens of %q that were issued before %s are void\n", a.User, a.Before.Format(time.RFC3339))
	}))
}

type ctlDrain struct {
	Node   string        `arg:"" help:"Name of the node, or self for the one that is asked."`
	Grace  time.Duration `env:"-" help:"How long new clients are still served, so that load balancers learn of it."`
	Rate   int           `env:"-" help:"Connections closed in a second; 1000 by default."`
	Within time.Duration `env:"-" help:"When the last one is closed, after --grace; no limit by default."`
	Wait   bool          `env:"-" help:"Wait until no connection is left."`
}

// Run has a node drain.
func (d *ctlDrain) Run(ctx context.Context, out *streams, c *ctlCommand) error {
	body := make(map[string]any)
	if d.Grace != 0 {
		body["grace"] = d.Grace.String()
	}
	if d.Rate != 0 {
		body["rate"] = d.Rate
	}
	if d.Within != 0 {
		body["timeout"] = d.Within.String()
	}
	path := "nodes/" + url.PathEscape(d.Node)
	if err := c.ask(ctx, out, "POST", path+"/drain", nil, body, showNode); err != nil || !d.Wait {
		return err
	}
	return c.awaitEmpty(ctx, out, path)
}

// waitPace is how often a node is asked whether it is empty.
const waitPace = 500 * time.Millisecond

// awaitEmpty waits until a node has no connection, relays nothing, and gets nothing new in the grace of a drain.
func (c *ctlCommand) awaitEmpty(ctx context.Context, out *streams, path string) error {
	ticker := time.NewTicker(waitPace)
	defer ticker.Stop()
	for {
		answer, err := c.fetch(ctx, "GET", path, nil, nil)
		if err != nil {
			return err
		}
		var n ctlNode
		if err := json.Unmarshal(answer, &n); err != nil || n.Status == nil {
			return fmt.Errorf("the node does not tell how it is: %s", answer)
		}
		switch {
		case !n.Status.Draining:
			return errors.New("the node does not drain any more")
		case n.Status.Connections == 0 && n.Status.Relays == 0 && !n.Status.Emptying:
			_, err := fmt.Fprintf(out.stderr, "%s is empty\n", n.Name)
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

var showNode = table(func(w io.Writer, n ctlNode) {
	fmt.Fprintln(w, nodeHeader)
	fmt.Fprintln(w, n.row())
})

type ctlUndrain struct {
	Node string `arg:"" help:"Name of the node, or self for the one that is asked."`
}

// Run calls a drain off.
func (u *ctlUndrain) Run(ctx context.Context, out *streams, c *ctlCommand) error {
	return c.ask(ctx, out, "POST", "nodes/"+url.PathEscape(u.Node)+"/undrain", nil, struct{}{}, showNode)
}

type ctlRebalance struct {
	Tolerance float64 `env:"-" help:"By which fraction of its share a node may have more; 0.1 by default."`
	Rate      int     `env:"-" help:"Connections that each node closes in a second; 100 by default."`
	DryRun    bool    `env:"-" help:"Show what would be done."`
}

// Run makes nodes even.
func (r *ctlRebalance) Run(ctx context.Context, out *streams, c *ctlCommand) error {
	body := map[string]any{"tolerance": r.Tolerance, "rate": r.Rate, "dryRun": r.DryRun}
	return c.ask(ctx, out, "POST", "rebalance", nil, body, table(func(w io.Writer, a struct {
		Nodes []struct {
			Name                   string
			Sessions, Share, Close int
		}
		Total int
	}) {
		fmt.Fprintln(w, "NODE\tCONNECTIONS\tSHARE\tCLOSES")
		for _, n := range a.Nodes {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", n.Name, n.Sessions, n.Share, n.Close)
		}
		fmt.Fprintf(w, "%d in all\n", a.Total)
	}))
}
