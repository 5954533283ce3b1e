package main

import (
	"fmt"

	"github.com/sockeye-io/sockeye/adapter"
)

// tagCommand is for those who set up a load balancer that looks at session ids.
type tagCommand struct {
	Names []string `arg:"" name:"node-name" help:"Names of nodes, as in --node-name."`
}

// Help is what --help says besides the flags.
func (*tagCommand) Help() string {
	return "The session ids of a node begin with four characters drawn from its name. deploy/nginx/tag.conf and deploy/haproxy/tag.cfg say what a load balancer can do with them."
}

// Run prints a line for each node.
func (c *tagCommand) Run(out *streams) error {
	for _, name := range c.Names {
		if _, err := fmt.Fprintf(out.stdout, "%s %s\n", adapter.TagOf(name), name); err != nil {
			return err
		}
	}
	return nil
}
