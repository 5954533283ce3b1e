package main

import (
	"io"
	"net/http"
	"reflect"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/sockeye-io/sockeye/server/limits"
)

func parseServe(t *testing.T, args ...string) *serveCommand {
	t.Helper()
	var command serveCommand
	parser, err := kong.New(&command, durations)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &command
}

func TestLimitFlags(t *testing.T) {
	public, own := limits.Public(), limits.Public()
	own.ConnectionsPerAddress, own.ConnectionsPerNetwork = 5, 40
	own.HandshakesPerAddress = limits.Rate{PerSecond: 50, Burst: 300}
	own.HandshakesPerNetwork = limits.Rate{PerSecond: 250, Burst: 1500}
	own.Events = limits.Rate{PerSecond: 2.5, Action: limits.Drop}
	own.EventOverrides = map[string]limits.Rate{"typing": {PerSecond: 5, Burst: 9, Action: limits.Disconnect}, "draw": {}}
	own.Bytes = limits.Rate{}
	own.ConnectionsPerUser = 3
	own.EventBytes = 70_000
	own.UserEvents = limits.Rate{PerSecond: 7, Burst: 70, Action: limits.SlowDown}
	for _, c := range []struct {
		args []string
		want *limits.Options
	}{
		{nil, limits.Internal()},
		{[]string{"--limits=public"}, public},
		{[]string{"--limits=internal", "--limit-events=5:10"}, &limits.Options{Events: limits.Rate{PerSecond: 5, Burst: 10}}},
		{[]string{
			"--limits=public", "--limit-connections=5", "--limit-handshakes=50:300", "--limit-events=2.5:drop",
			"--limit-event=typing=5:9:disconnect;draw=off", "--limit-bytes=off", "--limit-user-events=7:70:slow", "--limit-user-connections=3", "--limit-event-bytes=70000",
		}, own},
	} {
		if got := parseServe(t, c.args...).limitFlags.options(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %+v\nwant %+v", c.args, got, c.want)
		}
	}
}

// The preset for the open internet closes the door to pages of other origins, on both transports, unless a flag opens it.
func TestPublicRefusesForeignOrigins(t *testing.T) {
	for _, app := range []string{"chat", "engine"} {
		path := "/socket.io/"
		if app == "engine" {
			path = "/engine.io/"
		}
		get := func(addr, origin string, upgrade bool) (int, string) {
			transport := "polling"
			if upgrade {
				transport = "websocket"
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+path+"?EIO=4&transport="+transport, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Origin", origin)
			if upgrade {
				r.Header.Set("Connection", "Upgrade")
				r.Header.Set("Upgrade", "websocket")
				r.Header.Set("Sec-WebSocket-Version", "13")
				r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
			}
			answer, err := http.DefaultTransport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if answer.StatusCode != http.StatusSwitchingProtocols {
				_, _ = io.Copy(io.Discard, answer.Body)
			}
			return answer.StatusCode, answer.Header.Get("Access-Control-Allow-Origin")
		}
		public := start(t, "--app="+app, "--limits=public")
		opened := start(t, "--app="+app, "--limits=public", "--cors-origin=https://friend.example")
		for _, c := range []struct {
			addr, origin    string
			polling, upward int
			allow           string
		}{
			{public, "https://evil.example", 403, 400, ""},
			{public, "http://" + public, 200, 101, ""},
			{opened, "https://friend.example", 200, 101, "https://friend.example"},
			{opened, "https://evil.example", 200, 400, ""},
		} {
			if status, allow := get(c.addr, c.origin, false); status != c.polling || allow != c.allow {
				t.Errorf("%s: polling from %s gets %d, %q", app, c.origin, status, allow)
			}
			if status, _ := get(c.addr, c.origin, true); status != c.upward {
				t.Errorf("%s: a websocket from %s gets %d", app, c.origin, status)
			}
		}
	}
}
