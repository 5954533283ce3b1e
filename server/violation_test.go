package server_test

import (
	"context"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestViolationReason drives a client that sends a packet out of place. As in the reference the socket's reason says
// whether the connection could be closed at once or had still something to send.
func TestViolationReason(t *testing.T) {
	for _, tc := range []struct {
		name string
		busy bool // something is queued that the client does not take
		want string
	}{
		{"idle", false, engine.ReasonForcedClose},
		{"busy", true, server.ReasonForcedServerClose},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv, err := server.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			reasons := make(chan string, 1)
			srv.Of("/").OnDisconnect(func(_ *server.Socket, reason string) { reasons <- reason })
			sent := make(chan struct{})
			srv.Of("/").Handle("fill", server.Func(func(_ context.Context, s *server.Socket, _ server.None) error {
				defer close(sent)
				return s.Emit("large", strings.Repeat("x", 1<<20))
			}))
			client := servertest.New(t, srv, nil).Connect(t, "/", nil).Client()
			if tc.busy {
				client.Stall()
				client.Send(`42["fill"]`)
				<-sent
			}
			client.Send(`40`) // a second CONNECT
			if got := <-reasons; got != tc.want {
				t.Errorf("reason %q, want %q", got, tc.want)
			}
			client.Cut()
		})
	}
}
