package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// signalled is the cause of the end of a context that a signal has ended.
type signalled struct{ os.Signal }

// Error names the signal.
func (s signalled) Error() string { return s.String() + " signal" }

// untilSignal returns a context that SIGINT or SIGTERM ends. The next of them ends the process.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		s := <-got
		signal.Stop(got)
		cancel(signalled{s})
	}()
	return ctx
}
