package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// drainFlags say how a node sends its clients away before it ends.
type drainFlags struct {
	DrainGrace   time.Duration `default:"1s" help:"How long new clients are still served after SIGTERM, while the load balancer learns that this node is not ready any more."`
	DrainRate    int           `default:"1000" placeholder:"N" help:"How many connections are closed in a second after that, so that their clients do not come to the other nodes all at once."`
	DrainTimeout time.Duration `default:"15s" help:"How long closing them may take, counted from the end of the grace; the rate is raised if need be."`
}

func (f *drainFlags) validateDrain() error {
	switch {
	case f.DrainGrace < 0:
		return fmt.Errorf("--drain-grace must not be negative, got %v", f.DrainGrace)
	case f.DrainRate <= 0:
		return fmt.Errorf("--drain-rate must be positive, got %d", f.DrainRate)
	case f.DrainTimeout <= 0:
		return fmt.Errorf("--drain-timeout must be positive, got %v", f.DrainTimeout)
	}
	return nil
}

// drainer returns what empties the node before its listener closes; nil for an app without a Socket.IO server.
func (c *serveCommand) drainer(node *app, log *slog.Logger) func(cause error) {
	srv := node.server
	if srv == nil {
		return nil
	}
	return func(cause error) {
		opts := server.DrainOptions{Grace: c.grace(srv, cause), Rate: c.DrainRate, Timeout: c.DrainTimeout}
		err := srv.Drain(context.Background(), &opts)
		for errors.Is(err, server.ErrUndrained) { // by an operator, whom the signal overrules
			opts.Grace = 0
			err = srv.Drain(context.Background(), &opts)
		}
		if err != nil {
			log.Error("not drained", "error", err)
		}
	}
}

// grace is what --drain-grace says where somebody may still send clients: after SIGTERM, which is what supervisors send, unless the
// node has been drained already, or nobody is there to lose and no load balancer can ask whether the node is ready. Ctrl-C comes
// from somebody who waits at a terminal.
func (c *serveCommand) grace(srv *server.Server, cause error) time.Duration {
	var s signalled
	switch {
	case !errors.As(cause, &s) || s.Signal != syscall.SIGTERM:
		return 0
	case srv.Draining():
		return 0
	case c.AdminAddr == "" && srv.Stats().Engine.Sessions == 0:
		return 0
	}
	return c.DrainGrace
}
