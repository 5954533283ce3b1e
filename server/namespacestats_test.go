package server_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"regexp"
	"slices"
	"testing"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestNamespaceStats: namespaces count by themselves, children for their parents, also those that are gone, and whoever wants to join
// what there is not for nobody.
func TestNamespaceStats(t *testing.T) {
	srv, err := server.New(&server.Options{CleanupEmptyChildNamespaces: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	srv.OfPattern(regexp.MustCompile(`^/team-\d+$`))
	srv.OfFunc(func(_ context.Context, name string, _ json.RawMessage) bool { return name == "/free" })
	srv.Of("/closed").Use(func(context.Context, *server.Socket) error { return &server.ClientError{Message: "no"} })
	c := servertest.New(t, srv, nil).Dial(t, nil)
	for _, name := range []string{"", "/team-1,", "/team-2,", "/free,", "/closed,", "/nowhere,"} {
		c.Send("40" + name)
		c.Next()
	}
	want := []server.NamespaceStats{
		{Refused: 1},
		{Name: "/", Namespaces: 1, Sockets: 1, Joined: 1},
		{Name: "/_1", Namespaces: 1, Sockets: 1, Joined: 1},
		{Name: "/closed", Namespaces: 1, Refused: 1},
		{Name: `^/team-\d+$`, Namespaces: 2, Sockets: 2, Joined: 2},
	}
	// A refusal, and an end, is counted after the client has its answer.
	eventually(t, "the counts of namespaces", func() bool { return slices.Equal(srv.NamespaceStats(), want) })
	c.Send("41/team-1,", "41/free,", "40")
	c.Next() // a namespace that is joined again is answered after what came before
	want[1].Joined++
	want[2].Namespaces, want[2].Sockets = 0, 0
	want[4].Namespaces, want[4].Sockets = 1, 1
	eventually(t, "the counts afterwards", func() bool { return slices.Equal(srv.NamespaceStats(), want) })
	eventually(t, "three sockets that have left by themselves", func() bool {
		return srv.Stats().Disconnections[server.ReasonClientDisconnect] == 3
	})
	c.Close()
}
