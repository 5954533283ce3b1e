package server_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/sockeye-io/sockeye/server"
)

// Event names that mean something to JavaScript or to Node are names like others, or end the connection of who sends them alone.
func TestHostileEventNames(t *testing.T) {
	n := start(t, nil)
	n.Of("/").HandleAny(func(_ context.Context, s *server.Socket, e *server.Event) { _ = s.Emit("got", e.Name) })
	good, _ := n.connect(t)
	for _, name := range []string{"error", "__proto__", "constructor", "toString", "hasOwnProperty", "then", "message", "connection", ""} {
		p, _ := n.connect(t)
		p.send(fmt.Sprintf("2[%q]", name))
		p.expect(fmt.Sprintf(`2["got",%q]`, name))
	}
	for _, name := range []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"} {
		p, _ := n.connect(t)
		p.send(fmt.Sprintf("2[%q]", name))
		p.expectClosed()
	}
	good.send(`2["fine"]`)
	good.expect(`2["got","fine"]`)
	if st := n.Stats(); st.Panics != 0 || st.ParseErrors != 6 {
		t.Errorf("%d panics, %d parse errors", st.Panics, st.ParseErrors)
	}
}
