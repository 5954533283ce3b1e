package main

import (
	"cmp"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/sockeye-io/sockeye/internal/httpserve"
	"github.com/sockeye-io/sockeye/internal/memlimit"
)

// shortestIdle is the shortest idle timeout of the proxies that docs/operations.md lists: HAProxy's, as Debian sets it up.
const shortestIdle = 50 * time.Second

// logStart says in one line what an operator asks first about a node that is in trouble. Limits are those in force.
func (c *serveCommand) logStart(log *slog.Logger) {
	attrs := []any{"version", buildText()}
	if c.App != "engine" {
		attrs = append(attrs, "node", c.nodeName())
	}
	attrs = append(attrs, "go", runtime.Version(), "pid", os.Getpid(), "gomaxprocs", runtime.GOMAXPROCS(0),
		"descriptors", httpserve.DescriptorLimit(), "memory", memlimit.Bytes())
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		attrs = append(attrs, "gomemlimit", limit)
	}
	attrs = append(attrs, "app", c.App, "adapter", c.adapterName(), "ping_interval", c.PingInterval, "ping_timeout", c.PingTimeout,
		"limits", c.Limits, "tls", c.TLSCert != "")
	log.Info("starting", attrs...)
	if c.PingInterval >= shortestIdle {
		log.Warn("--ping-interval is as long as proxies wait for traffic: those that do by default cut idle clients off; "+
			"docs/operations.md lists them", "ping_interval", c.PingInterval, "shortest_idle_timeout", shortestIdle)
	}
}

func (c *serveCommand) nodeName() string { return cmp.Or(c.NodeName, defaultNodeName(c.Addr)) }

// brokerUser is what the way to the broker has to know of this node.
func (c *serveCommand) brokerUser(files *tlsFiles) brokerUser {
	return brokerUser{c.nodeName(), c.Recovery > 0, files}
}

// adapterName is what --adapter means, "memory" for a node alone.
func (c *serveCommand) adapterName() string {
	return cmp.Or(c.flavour(c.kind()), "memory")
}
