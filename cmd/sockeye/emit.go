package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// emitCommand holds the flags of `sockeye emit`, which sends one event to clients of a cluster.
type emitCommand struct {
	clusterFlags

	Namespace string        `default:"/" help:"Namespace of the clients."`
	To        []string      `sep:"none" placeholder:"ROOM" help:"Only to the sockets in this room; may be given several times."`
	Except    []string      `sep:"none" placeholder:"ROOM" help:"Not to the sockets in this room; may be given several times."`
	Volatile  bool          `help:"Let clients that are not ready for more miss it."`
	Timeout   time.Duration `default:"5s" help:"How long the broker may take."`

	Event string   `arg:"" help:"Name of the event."`
	Args  []string `arg:"" optional:"" sep:"none" help:"Arguments of the event, each a JSON value, such as '\"text\"', 42 or '{\"a\":1}'."`
}

// Validate refuses what cannot be sent. It is called by the flag parser.
func (c *emitCommand) Validate() error {
	kind := c.kind()
	if kind == "" {
		return fmt.Errorf("emit needs %s", kind.chosenBy())
	}
	if c.Timeout <= 0 {
		return fmt.Errorf("--timeout must be positive, got %v", c.Timeout)
	}
	for i, arg := range c.Args {
		if !json.Valid([]byte(arg)) {
			return fmt.Errorf("argument %d of the event is no JSON: %s (a text needs its quotes: '\"text\"')", i+1, arg)
		}
	}
	if c.Key != "" && c.flavour(kind) == streamsAdapter {
		return errors.New("--key has no effect on what is sent through streams")
	}
	return c.check(kind, c.flags())
}

// Run sends the event and ends when the broker has taken it.
func (c *emitCommand) Run(ctx context.Context, out *streams) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	way, err := c.access(ctx, slog.New(slog.NewTextHandler(out.stderr, nil)))
	if err != nil {
		return err
	}
	defer way.close()
	target := way.Of(c.Namespace).Except(c.Except...)
	if len(c.To) > 0 { // without a room everybody is meant
		target = target.To(c.To...)
	}
	if c.Volatile {
		target = target.Volatile()
	}
	args := make([]any, len(c.Args))
	for i, arg := range c.Args {
		args[i] = json.RawMessage(arg)
	}
	sent := make(chan error, 1)
	go func() { sent <- target.Emit(ctx, c.Event, args...) }() // ends at the latest when the way is closed
	select {
	case err := <-sent:
		return err
	case <-ctx.Done():
		return fmt.Errorf("emit: %w, and whether %s has taken the event is not known", ctx.Err(), c.kind())
	}
}
