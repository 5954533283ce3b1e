package server_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gobwas/ws"
	"github.com/sockeye-io/sockeye/internal/logtest"
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
		want server.Reason
	}{
		{"idle", false, engine.ReasonForcedClose},
		{"busy", true, server.ReasonForcedServerClose},
	} {
		t.Run(tc.name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { violate(t, tc.busy, tc.want) }) })
	}
}

func violate(t *testing.T, busy bool, want server.Reason) {
	srv, err := server.New(&server.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	reasons := make(chan server.Reason, 1)
	srv.Of("/").OnDisconnect(func(_ context.Context, _ *server.Socket, reason server.Reason) { reasons <- reason })
	srv.Of("/").Handle("fill", server.Func(func(_ context.Context, s *server.Socket, _ server.None) error {
		return s.Emit("large", strings.Repeat("x", 1<<20))
	}))
	client := servertest.New(t, srv, nil).Connect(t, "/", nil).Client()
	if busy {
		client.Stall()
		client.Send(`42["fill"]`)
	}
	synctest.Wait()   // the server has let go of the answer to CONNECT, or is stuck with the large event
	client.Send(`40`) // a second CONNECT
	if got := <-reasons; got != want {
		t.Errorf("reason %q, want %q", got, want)
	}
	client.Cut()
}

// TestForeignEncoding connects with the msgpack encoding. The log must say so, once.
func TestForeignEncoding(t *testing.T) {
	var log logtest.Log
	n := start(t, &server.Options{Logger: log.Logger()})
	connect := "\x83\xa4type\x00\xa3nsp\xa1/\xa4data\xc0"
	for range 3 {
		p := n.websocket(t)
		p.write(ws.OpBinary, connect)
		p.expectClosed()
	}
	if got := log.Count("socket.io.msgpack.min.js"); got != 1 {
		t.Errorf("%d warnings:\n%s", got, log.String())
	}
	if _, sid, _ := strings.Cut(log.String(), " sid="); strings.IndexByte(sid, ' ') != 12 {
		t.Errorf("the log shows more of a session's id than 12 characters:\n%s", log.String())
	}
	// Binary messages of a client that has joined are another mistake.
	log.Reset()
	again := start(t, &server.Options{Logger: log.Logger()})
	p, _ := again.connect(t)
	p.write(ws.OpBinary, connect)
	p.expectClosed()
	if strings.Contains(log.String(), "msgpack") {
		t.Errorf("logged %s", log.String())
	}
}
