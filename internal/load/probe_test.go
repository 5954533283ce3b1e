package load

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// TestNotTheBenchApp runs each scenario against a server that knows the event join at most.
func TestNotTheBenchApp(t *testing.T) {
	for scenario, want := range map[string]string{
		Echo: "message(...)", Churn: "message(...)", Burst: "bcast(n, payload, ack)", Single: "bcast(n, payload, ack)",
		Targeted: "direct(room, payload)", Joins: "leave(room, ack)", Connects: "", Idle: "",
	} {
		for _, knowsJoin := range []bool{true, false} {
			srv, err := server.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			want := want
			if knowsJoin {
				srv.Of("/").Handle("join", server.FuncAck(func(context.Context, *server.Socket, string) (server.None, error) {
					return server.None{}, nil
				}))
			} else {
				want = "join(room, ack)"
			}
			web := httptest.NewServer(srv)
			target, err := ParseTarget(web.URL)
			if err != nil {
				t.Fatal(err)
			}
			patience := 200 * time.Millisecond
			if want == "" {
				patience = time.Minute
			}
			_, err = Run(t.Context(), Config{Target: target, Scenario: scenario, Clients: 1, Timeout: patience, Hold: time.Millisecond})
			var missing *NotBenchError
			if errors.As(err, &missing); want == "" && err != nil || want != "" && (missing == nil || missing.Event != want) {
				t.Errorf("%s, join %v: %v, want %q", scenario, knowsJoin, err, want)
			}
			_ = srv.Close()
			web.Close()
		}
	}
}
