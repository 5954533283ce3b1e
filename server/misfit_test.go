package server_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/internal/logtest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestMisfits sends events that do not fit their handlers. The log says so once a minute for each event, with what came
// and what is wanted.
func TestMisfits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logtest.Log
		srv, err := server.New(&server.Options{Logger: log.Logger()})
		if err != nil {
			t.Fatal(err)
		}
		main := srv.Of("/")
		main.Handle("login", server.Func(func(context.Context, *server.Socket, string) error { return nil }))
		main.Handle("move", server.Func(func(context.Context, *server.Socket, server.Args2[int, struct{ X uint8 }]) error { return nil }))
		main.Handle("when", server.Func(func(context.Context, *server.Socket, time.Time) error { return nil }))
		c := servertest.New(t, srv, nil).Dial(t, nil)
		c.Connect("/", nil)
		warnings := func(packets ...string) []string {
			t.Helper()
			log.Reset()
			c.Send(packets...)
			synctest.Wait()
			var lines []string
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, "do not fit") {
					lines = append(lines, line)
				}
			}
			return lines
		}
		for _, tt := range []struct{ packet, want string }{
			{`42["login",42]`, "level=WARN event=login got=number want=string omitted=0"},
			{`42["move",1]`, "event=move got=undefined"},
			{`42["when",1]`, "event=when omitted=0"},
		} {
			lines := warnings(tt.packet, tt.packet, tt.packet)
			if len(lines) != 1 {
				t.Fatalf("%s: logged %q", tt.packet, lines)
			}
			for part := range strings.FieldsSeq(tt.want) {
				if !strings.Contains(lines[0], part) {
					t.Errorf("%s: no %s in %s", tt.packet, part, lines[0])
				}
			}
		}
		time.Sleep(time.Minute)
		if lines := warnings(`42["login"]`, `42["login",{}]`, `42["move",1,{"X":256}]`); len(lines) != 2 ||
			!strings.Contains(lines[0], "got=undefined want=string omitted=2") || !strings.Contains(lines[1], `got="number 256" want=uint8 omitted=2`) {
			t.Errorf("logged %q", lines)
		}
		if s := srv.Stats(); s.Misfits != 12 || s.Failures != 12 {
			t.Errorf("%d misfits, %d failures", s.Misfits, s.Failures)
		}
	})
}

// TestManyMisfits reports more events than have a warning of their own, as a middleware can.
func TestManyMisfits(t *testing.T) {
	var log logtest.Log
	srv, err := server.New(&server.Options{Logger: log.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	main := srv.Of("/")
	main.UseEvent(func(context.Context, *server.Socket, *server.Event) error { return server.ErrInvalidArguments })
	c := servertest.New(t, srv, nil).Dial(t, nil)
	c.Connect("/", nil)
	const n = 300
	for i := range n {
		c.Send(`42["` + strings.Repeat("x", i+1) + `"]`)
	}
	eventually(t, "all are counted", func() bool { return srv.Stats().Misfits == n })
	c.Send(`421["last"]`)
	c.Expect(`431[{"error":{"message":"invalid arguments"}}]`)
	if got := log.Count("do not fit"); got != 256+1 {
		t.Errorf("%d warnings", got)
	}
	if strings.Contains(log.String(), strings.Repeat("x", 257)) {
		t.Error("a long name is logged")
	}
}
