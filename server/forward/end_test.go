package forward_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestShutdownEndsPolls: a poll that waits for the answer of another node ends when its node shuts down, and the session goes on.
func TestShutdownEndsPolls(t *testing.T) {
	c := newCluster(t, 2, nil)
	c.byTurn(0)
	client := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling, Stalled: true})
	ended := make(chan *httptest.ResponseRecorder, 1)
	poll := httptest.NewRequest(http.MethodGet, "/socket.io/?EIO=4&transport=polling&sid="+client.SID(), nil)
	poll.RemoteAddr = "127.0.0.1:1"
	go func() {
		w := httptest.NewRecorder()
		c.nodes[1].ServeHTTP(w, poll)
		ended <- w
	}()
	session := c.nodes[0].Engine().Sessions()[0]
	eventually(t, "the poll waits", func() bool { return !session.Absent() })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	began := time.Now()
	if err := c.nodes[1].Shutdown(ctx); err != nil {
		t.Error(err)
	}
	select {
	case w := <-ended:
		if w.Code != http.StatusOK || w.Body.String() != "6" {
			t.Errorf("the poll was answered %d %q", w.Code, w.Body)
		}
	case <-time.After(5 * time.Second):
		t.Fatalf("the poll waits still, %v after the shutdown began", time.Since(began))
	}
	client.Resume()
	c.echo(client.Connect("/", nil), 0, 10)
}
