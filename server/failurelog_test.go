package server_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/server"
)

// TestFailuresInLog: whatever a client does again and again has a line in the log, not one each time.
func TestFailuresInLog(t *testing.T) {
	for name, fail := range map[string]func() error{
		"error": func() error { return errors.New("no") },
		"panic": func() error { panic("no") },
	} {
		t.Run(name, func(t *testing.T) {
			var log logtest.Log
			n := start(t, &server.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
			nsp := n.Of("/")
			for _, event := range []string{"a", "b"} {
				nsp.Handle(event, server.FuncAck(func(context.Context, *server.Socket, int) (string, error) { return "", fail() }))
			}
			n.Of("/closed").Use(func(context.Context, *server.Socket) error { return fail() })
			p, _ := n.connect(t)
			const times = 300
			for i := range times {
				p.send(fmt.Sprintf(`2%d["a",1]`, i))
				p.next()
				p.send(fmt.Sprintf(`2%d["b",1]`, i))
				p.next()
				p.send("0/closed,")
				p.next()
			}
			lines := log.Count("\n")
			if !strings.Contains(log.String(), "no") || lines > 20 {
				t.Errorf("%d lines after %d failures:\n%.2000s", lines, 3*times, log.String())
			}
		})
	}
}
