package main

import (
	"log/slog"
	"math"
	"runtime/debug"

	"github.com/sockeye-io/sockeye/internal/memlimit"
	"github.com/sockeye-io/sockeye/server/engine"
)

// boundFlags are what clients may take; 0 stands for the library's default. docs/operations.md lists all bounds.
type boundFlags struct {
	MaxSessions      int   `name:"max-sessions" placeholder:"N" help:"Most sessions, 1,000,000 by default."`
	MaxHandshakeSize int   `name:"max-handshake-size" placeholder:"BYTES" help:"Most bytes of URL and headers of the request that opens a session, 16384 by default."`
	StateTotal       int64 `name:"state-total" placeholder:"BYTES" help:"Budget for what sessions keep as long as they live; a quarter of the process's memory by default."`
	InputTotal       int64 `name:"input-total" placeholder:"BYTES" help:"Budget for unfinished messages and events that wait for their handlers; 256 MiB or a quarter of the process's memory by default."`
	OutboxTotal      int64 `name:"outbox-total" placeholder:"BYTES" help:"Budget for what waits for clients to read; 256 MiB or a quarter of the process's memory by default."`
}

func (b *boundFlags) engine(opts *engine.Options) {
	opts.MaxSessions = b.MaxSessions
	opts.MaxHandshakeSize = b.MaxHandshakeSize
	opts.StateTotal = b.StateTotal
	opts.InputTotal = b.InputTotal
	opts.OutboxTotal = b.OutboxTotal
}

// limitMemory lets the garbage collector know the container's limit, less a tenth for what it does not see, unless
// GOMEMLIMIT says otherwise. The budgets follow the same limit.
func limitMemory(log *slog.Logger) {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	if n, ok := memlimit.Container(); ok {
		debug.SetMemoryLimit(n - n/10)
		log.Debug("memory is limited by the container", "bytes", n, "GOMEMLIMIT", n-n/10)
	}
}
