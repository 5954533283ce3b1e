package main

import (
	"log/slog"
	"math"
	"runtime/debug"

	"github.com/sockeye-io/sockeye/internal/memlimit"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

// boundFlags are what clients may take; 0 stands for the library's default. docs/operations.md lists all bounds.
type boundFlags struct {
	MaxSessions          int   `placeholder:"N" help:"Most sessions."`
	MaxHandshakeSize     int   `placeholder:"BYTES" help:"Most bytes of URL and headers of the request that opens a session."`
	MaxHalfOpen          int   `placeholder:"N" help:"Most connections on which no request has come yet."`
	MaxIdle              int   `placeholder:"N" help:"Most connections between two requests."`
	StateTotal           int64 `placeholder:"BYTES" help:"Budget for what sessions keep as long as they live; a quarter of the process's memory by default."`
	InputTotal           int64 `placeholder:"BYTES" help:"Budget for unfinished messages and events that wait for their handlers; 256 MiB or a quarter of the process's memory by default."`
	MaxAuth              int   `placeholder:"BYTES" help:"Most bytes of the auth objects of one client."`
	MaxNamespaces        int   `placeholder:"N" help:"Most namespaces that one client is in."`
	MaxDynamicNamespaces int   `placeholder:"N" help:"Most namespaces that clients have caused."`
	MaxName              int   `placeholder:"BYTES" help:"Longest name of a room or of a namespace that a client asks for."`
	MaxRooms             int   `placeholder:"N" help:"Most rooms that one socket is in."`
	MaxData              int   `placeholder:"BYTES" help:"Most data that is attached to one socket."`
	MaxPendingAcks       int   `placeholder:"N" help:"Most acknowledgements of one socket that are waited for."`
	MaxConnecting        int   `placeholder:"N" help:"Most CONNECT packets of all clients whose middlewares run; further ones wait."`
	MaxAttachments       int   `placeholder:"N" help:"Most binary attachments of one packet."`
	InboxLimit           int64 `placeholder:"BYTES" help:"Most bytes of events of one client that wait for their handlers; then reading from it pauses."`
	OutboxLimit          int64 `placeholder:"BYTES" help:"Most bytes that a client which takes nothing for 5 s may owe; 1 MiB by default."`
	OutboxMax            int64 `placeholder:"BYTES" help:"Most bytes that a client may owe, however fast it takes; 64 MiB by default."`
	OutboxTotal          int64 `placeholder:"BYTES" help:"Budget for what waits for clients to read; 256 MiB or a quarter of the process's memory by default."`
}

func (b *boundFlags) server(opts *server.Options) {
	opts.MaxAuth = b.MaxAuth
	opts.MaxNamespaces = b.MaxNamespaces
	opts.MaxDynamicNamespaces = b.MaxDynamicNamespaces
	opts.MaxName = b.MaxName
	opts.MaxRooms = b.MaxRooms
	opts.MaxData = b.MaxData
	opts.MaxPendingAcks = b.MaxPendingAcks
	opts.MaxConnecting = b.MaxConnecting
	opts.MaxAttachments = b.MaxAttachments
	opts.InboxLimit = b.InboxLimit
}

func (b *boundFlags) engine(opts *engine.Options) {
	opts.MaxSessions = b.MaxSessions
	opts.MaxHandshakeSize = b.MaxHandshakeSize
	opts.MaxHalfOpen = b.MaxHalfOpen
	opts.MaxIdle = b.MaxIdle
	opts.StateTotal = b.StateTotal
	opts.InputTotal = b.InputTotal
	opts.OutboxLimit = b.OutboxLimit
	opts.OutboxMax = b.OutboxMax
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
