package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server/auth"
)

// leeway is how much longer nodes take a token than it says, the default of auth.Options.Leeway.
const leeway = 30 * time.Second

// revokeCommand holds the flags of `sockeye revoke`, which makes the tokens of a user void.
type revokeCommand struct {
	clusterFlags

	Ago         time.Duration `placeholder:"DURATION" help:"Only tokens that were issued longer ago than that; by default all until now."`
	Ahead       time.Duration `placeholder:"DURATION" help:"Also tokens that seem to be issued up to that later: how far the issuer's clock may be ahead. Not at all by default."`
	MaxLifetime time.Duration `name:"jwt-max-lifetime" default:"8760h" help:"Longest life of a token, as of the nodes: how long the revocation is kept."`
	Timeout     time.Duration `default:"5s" help:"How long the broker may take."`

	User string `arg:"" help:"Subject of the tokens."`
}

// Validate refuses what cannot be done. It is called by the flag parser.
func (c *revokeCommand) Validate() error {
	kind := c.kind()
	switch {
	case kind == "":
		return fmt.Errorf("revoke needs %s", kind.chosenBy())
	case c.Ago < 0:
		return fmt.Errorf("--ago must not be negative, got %v", c.Ago)
	case c.Ahead < 0:
		return fmt.Errorf("--ahead must not be negative, got %v", c.Ahead)
	case c.MaxLifetime <= 0:
		return fmt.Errorf("--jwt-max-lifetime must be positive, got %v", c.MaxLifetime)
	case c.Timeout <= 0:
		return fmt.Errorf("--timeout must be positive, got %v", c.Timeout)
	case c.User == "":
		return errors.New("the user must not be empty")
	}
	return c.check(kind, c.flags())
}

// Run writes the revocation, and tells the nodes, which would else read it within some seconds.
func (c *revokeCommand) Run(ctx context.Context, out *streams) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	way, err := c.access(ctx, slog.New(slog.NewTextHandler(out.stderr, nil)))
	if err != nil {
		return err
	}
	defer way.close()
	r := adapter.Revocation{User: c.User, Before: time.Now().Add(c.Ahead - c.Ago)}
	if err := way.revoke(ctx, r, c.MaxLifetime+c.Ahead+leeway); err != nil {
		return err
	}
	event, notice := auth.Notice(r)
	if err := way.ServerSideEmit(ctx, event, notice); err != nil {
		return fmt.Errorf("the revocation is kept, and the nodes will read it, but they could not be told: %w", err)
	}
	return nil
}
