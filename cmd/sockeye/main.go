// Command sockeye is a deployable Socket.IO node.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit statuses.
const (
	exitFailure = 1   // the command ran and failed
	exitUsage   = 2   // wrong flags or options
	exitStopped = 130 // a benchmark was interrupted, as shells report it
)

type commands struct {
	Serve       serveCommand       `cmd:"" help:"Run a node."`
	Bench       benchCommand       `cmd:"" help:"Put load on a Socket.IO server and measure it."`
	Worker      workerCommand      `cmd:"" name:"bench-worker" hidden:"" help:"Be a process of bench."`
	Emit        emitCommand        `cmd:"" help:"Send an event to clients of a cluster, through Redis."`
	ClientFiles clientFilesCommand `cmd:"" help:"Write the client bundles that this program carries, for a Go program to embed."`
	Version     versionCommand     `cmd:"" help:"Print version, commit and Go release."`

	ShowVersion kong.VersionFlag `name:"version" env:"-" help:"Print version, commit and Go release."`
}

// usageError marks what the caller of the program got wrong.
type usageError struct{ error }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from then on a signal ends the process
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(status)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	var cli commands
	defer func() {
		if code, ok := recover().(exitCode); ok {
			status = int(code)
		}
	}()
	parser, err := kong.New(&cli,
		kong.Name("sockeye"),
		kong.Description("A Socket.IO server: unchanged JavaScript clients, one binary."),
		kong.UsageOnError(),
		kong.DefaultEnvars("SOCKEYE"),
		kong.Vars{"version": versionText()},
		durations,
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { panic(exitCode(code)) }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&streams{stdout: stdout, stderr: stderr}),
	)
	if err != nil {
		panic(err) // the flag declarations of this program are wrong
	}
	command, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(stderr, "sockeye: %v; see sockeye --help\n", err)
		return exitUsage
	}
	if err := command.Run(); err != nil {
		fmt.Fprintf(stderr, "sockeye: %v\n", err)
		switch {
		case errors.As(err, new(usageError)):
			return exitUsage
		case errors.Is(err, errInterrupted):
			return exitStopped
		}
		return exitFailure
	}
	return 0
}

// exitCode carries a status through kong's exit hook, which --help calls, to the end of run.
type exitCode int

type streams struct{ stdout, stderr io.Writer }
