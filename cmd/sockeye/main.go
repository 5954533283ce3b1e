// Command sockeye is a deployable Socket.IO node.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

// Exit statuses.
const (
	exitFailure = 1   // the command ran and failed
	exitUsage   = 2   // wrong flags or options
	exitPartial = 3   // the answer lacks a part of the cluster
	exitStopped = 130 // a benchmark was interrupted, as shells report it
)

type commands struct {
	Serve       serveCommand       `cmd:"" help:"Run a node."`
	CheckConfig checkConfigCommand `cmd:"" help:"Check the configuration of a node, without starting it."`
	Config      configCommand      `cmd:"" help:"Print the configuration that a node would have, as a file."`
	Bench       benchCommand       `cmd:"" help:"Put load on a Socket.IO server and measure it."`
	Worker      workerCommand      `cmd:"" name:"bench-worker" hidden:"" help:"Be a process of bench."`
	Emit        emitCommand        `cmd:"" help:"Send an event to clients of a cluster, through its broker."`
	Ingest      ingestCommand      `cmd:"" help:"Make events for clients of a cluster of the records of Kafka topics."`
	Ctl         ctlCommand         `cmd:"" help:"Ask the control API of a node, and have things done."`
	ClientFiles clientFilesCommand `cmd:"" help:"Write the client bundles that this program carries, for a Go program to embed."`
	Token       tokenCommand       `cmd:"" help:"Make a JSON Web Token for --auth jwt, for tests and demonstrations."`
	Revoke      revokeCommand      `cmd:"" help:"Make the tokens of a user void, on all nodes of a cluster."`
	Tag         tagCommand         `cmd:"" help:"Print what the session ids of nodes begin with."`
	Health      healthCommand      `cmd:"" help:"Ask a node whether it is well."`
	Hash        hashCommand        `cmd:"" name:"hash-password" help:"Print the hash of a password, for the admin UI."`
	Version     versionCommand     `cmd:"" help:"Print version, commit and Go release."`

	ShowVersion kong.VersionFlag `name:"version" env:"-" help:"Print version, commit and Go release."`
}

// usageError marks what the caller of the program got wrong.
type usageError struct{ error }

func main() {
	os.Exit(run(untilSignal(), os.Args[1:], os.Stdout, os.Stderr))
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
		case errors.As(err, new(partialError)):
			return exitPartial
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
