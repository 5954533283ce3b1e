package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/internal/seldom"
)

// natsEvery is how often the server in a node may say the same.
const natsEvery = time.Minute

// natsLog takes what a NATS server in this process says. What the adapter tells of the cluster as well is for debugging.
type natsLog struct {
	// Static after construction.
	log   *slog.Logger
	fatal chan error // capacity 1: why the server cannot go on

	told seldom.Keyed
}

// Noticef logs for debugging, since the server tells every start and every route, but for connections that are cut because the other
// end takes nothing: what waited for it is lost.
func (l *natsLog) Noticef(format string, args ...any) {
	if strings.Contains(format, "Slow Consumer") {
		l.seldom(slog.LevelWarn, format, args)
		return
	}
	l.Debugf(format, args...)
}

// Warnf logs each kind of warning once in a while.
func (l *natsLog) Warnf(format string, args ...any) { l.seldom(slog.LevelWarn, format, args) }

// Errorf logs each kind of error once in a while: what is tried again each second fails each second. None of them is more than
// a warning: the node goes on.
func (l *natsLog) Errorf(format string, args ...any) { l.seldom(slog.LevelWarn, format, args) }

// Fatalf keeps the reason for who has started the server. The server expects that the process ends, which is not the server's to say.
func (l *natsLog) Fatalf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	select {
	case l.fatal <- errors.New(text):
	default:
	}
	l.log.Error("nats server", "message", text)
}

// Debugf logs for debugging.
func (l *natsLog) Debugf(format string, args ...any) {
	l.log.Debug("nats server", "message", fmt.Sprintf(format, args...))
}

// Tracef is not called: the server traces nothing.
func (l *natsLog) Tracef(string, ...any) {}

// seldom logs the first of a kind, and after a while one that tells how many there were. Connections have their addresses and numbers
// at the beginning of the format, up to the last hyphen.
func (l *natsLog) seldom(level slog.Level, format string, args []any) {
	kind := format
	if i := strings.LastIndex(format, " - "); i >= 0 {
		kind = format[i:]
	}
	held, ok := l.told.Pass(kind, natsEvery)
	if !ok {
		return
	}
	attrs := []any{"message", fmt.Sprintf(format, args...)}
	if held > 0 {
		attrs = append(attrs, "more_since", held)
	}
	l.log.Log(context.Background(), level, "nats server", attrs...)
}
