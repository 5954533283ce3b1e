package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

func TestMain(m *testing.M) {
	natstest.Serve()
	if os.Getenv(asProgram) != "" {
		main()
	}
	// A pool of go-redis whose server is away notices within a second that it has been closed.
	const dialing = "github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(redistest.Goroutine), goleak.IgnoreAnyFunction(dialing))
}

func TestUsageErrors(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string // part of the one sentence on standard error
	}{
		{[]string{"serve", "--no-such-flag"}, "unknown flag --no-such-flag"},
		{[]string{"serve", "--app", "mail"}, "--app must be one of"},
		{[]string{"serve", "--ping-interval", "soon"}, "--ping-interval: \"soon\" is no duration"},
		{[]string{"serve", "--ping-interval=-1s"}, "ping interval"},
		{[]string{"serve", "--transports", "pigeon"}, "--transports"},
		{[]string{"serve", "--max-http-buffer-size=-5"}, "must be positive"},
		{[]string{"serve", "--max-http-buffer-size=0"}, "must be positive"},
		{[]string{"serve", "--deflate-threshold=-1"}, "must not be negative"},
		{[]string{"serve", "--http-compression-threshold=-1"}, "must not be negative"},
		{[]string{"serve", "--shutdown-timeout=-5s"}, "must be positive"},
		{[]string{"serve", "--drain-grace=-1s"}, "--drain-grace must not be negative"},
		{[]string{"serve", "--drain-rate=0"}, "--drain-rate must be positive"},
		{[]string{"serve", "--drain-timeout=0s"}, "--drain-timeout must be positive"},
		{[]string{"serve", "--tls-cert", "main.go"}, "need each other"},
		{[]string{"serve", "--tls-cert", "main.go", "--tls-key", "main.go"}, "--tls-cert"},
		{[]string{"serve", "--tls-client-ca", "main.go"}, "--tls-client-ca needs --tls-cert"},
		{[]string{"serve", "--tls-cert", "main.go", "--tls-key", "main.go", "--tls-client-auth", "require"}, "--tls-client-auth needs --tls-client-ca"},
		{[]string{"serve", "--http2"}, "--http2 needs --tls-cert"},
		{[]string{"serve", "--read-mode", "select"}, "--read-mode"},
		{[]string{"serve", "--cors-credentials"}, "need --cors-origin"},
		{[]string{"serve", "--trusted-proxies", "10.0.0.0/8,router"}, "trusted proxy \"router\" is neither"},
		{[]string{"serve", "--proxy-protocol"}, "needs --trusted-proxies"},
		{[]string{"serve", "--path", "no-slash"}, "must start with a slash"},
		{[]string{"serve", "--cors-origin", "http://a.example", "--cors-reflect-origin"}, "only one of"},
		{[]string{"serve", "--addr", "nowhere"}, "missing port"},
		{[]string{"serve", "--log-level", "loud"}, "--log-level"},
		{[]string{"serve", "--pprof"}, "--pprof needs --admin-addr"},
		{[]string{"serve", "--pprof", "--admin-addr", ":6060"}, "not a loopback address"},
		{[]string{"serve", "--pprof", "--admin-addr", "0.0.0.0:6060"}, "not a loopback address"},
		{[]string{"serve", "--pprof", "--admin-addr", "192.0.2.1:6060"}, "not a loopback address"},
		{[]string{"serve", "--pprof", "--admin-addr", "example.com:6060"}, "not a loopback address"},
		{[]string{"serve", "--admin-addr", "127.0.0.1"}, "missing port"},
		{[]string{"serve", "--ready-needs-broker", "--redis", "redis://x"}, "--ready-needs-broker needs --admin-addr"},
		{[]string{"serve", "--ready-needs-broker", "--admin-addr", "127.0.0.1:0"}, "--ready-needs-broker needs --redis"},
		{[]string{"serve", "--adapter", "sharded"}, "--adapter needs --redis"},
		{[]string{"serve", "--broker-required"}, "--broker-required needs --redis"},
		{[]string{"serve", "--redis", "redis://x", "--subscription-mode", "static"}, "needs --adapter sharded"},
		{[]string{"serve", "--redis", "redis://x", "--adapter", "streams", "--requests-timeout", "1s"}, "needs --adapter pubsub"},
		{[]string{"serve", "--redis", "redis://x", "--adapter", "sharded", "--redis-parser", "json"}, "needs --adapter pubsub"},
		{[]string{"serve", "--redis", "redis://x", "--redis-parser", "cbor"}, "--redis-parser must be one of"},
		{[]string{"serve", "--redis", "redis://x", "--adapter", "streams", "--stream-count=-1"}, "must be positive"},
		{[]string{"serve", "--redis", "redis://x", "--adapter", "pigeon"}, "--adapter must be one of"},
		{[]string{"serve", "--redis", "http://x"}, "redis://"},
		{[]string{"serve", "--app", "engine", "--redis", "redis://x"}, "no cluster"},
		{[]string{"serve", "--peer-addr", "127.0.0.1:0"}, "--peer-addr needs --redis"},
		{[]string{"serve", "--redis", "redis://x", "--peer-addr", "off", "--handover-window", "50ms"}, "--handover-window has no effect with --peer-addr off"},
		{[]string{"serve", "--redis", "redis://x", "--peer-addr", "nowhere"}, "missing port"},
		{[]string{"serve", "--redis", "redis://x", "--peer-addr", "0.0.0.0:0"}, "--peer-advertise"},
		{[]string{"serve", "--redis", "redis://127.0.0.1:1", "--peer-advertise", "here"}, "is not host:port"},
		{[]string{"serve", "--redis", "redis://127.0.0.1:1", "--cluster-secret", "short"}, "at least 16 are needed"},
		{[]string{"serve", "--redis", "redis://127.0.0.1:1", "--handover-window", "1m"}, "between 0 and 1s"},
		{[]string{"serve", "--redis", "redis://127.0.0.1:1", "--peer-tls-cert", "main.go"}, "need each other"},
		{[]string{"serve", "--limits", "strict"}, "--limits must be one of"},
		{[]string{"serve", "--limit-events", "many"}, "is no rate"},
		{[]string{"serve", "--limit-events", "5:0"}, "is no rate"},
		{[]string{"serve", "--limit-event", "typing=5:5:sometimes"}, "--limit-event: invalid map value"},
		{[]string{"serve", "--limit-bytes", "5:5:drop"}, "--limit-bytes cannot drop"},
		{[]string{"serve", "--limit-handshakes", "5:5:drop"}, "--limit-handshakes takes no action"},
		{[]string{"serve", "--limit-connections=-1"}, "--limit-connections must be from 0"},
		{[]string{"emit", "hello"}, "emit needs --redis"},
		{[]string{"emit", "--redis", "redis://x", "hello", "text"}, `a text needs its quotes`},
		{[]string{"emit", "--redis", "redis://x"}, "<event>"},
		{[]string{"emit", "--redis", "redis://x", "--adapter", "streams", "--key", "a", "hello"}, "--key has no effect"},
		{[]string{"serve", "--admin-token-file", "main.go"}, "need --admin-addr"},
		{[]string{"serve", "--admin-addr", "127.0.0.1:0", "--admin-tls-cert", "main.go"}, "need each other"},
		{[]string{"serve", "--admin-addr", "127.0.0.1:0", "--admin-client-ca", "main.go"}, "needs --admin-tls-cert"},
		{[]string{"serve", "--admin-addr", "127.0.0.1:0", "--admin-token-file", "testdata/short-token"}, "at least 16 are needed"},
		{[]string{"ctl", "publish", "hello"}, "--room, --socket, --user is needed"},
		{[]string{"ctl", "publish", "--all", "hello", "text"}, "a text needs its quotes"},
		{[]string{"ctl", "disconnect", "--all", "--user", "ann"}, "--room, --socket, --user is needed"},
		{[]string{"ctl", "nodes", "--admin", "nowhere"}, "--admin"},
		{[]string{"ctl", "trace"}, "--user or --socket is needed"},
		{[]string{"ctl", "revoke", "ann", "--ago=-1s"}, "--ago must not be negative"},
		{[]string{"ctl", "nodes", "--cert", "main.go"}, "need each other"},
		{[]string{"swim"}, "unexpected argument swim"},
	} {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), tc.args, &stdout, &stderr)
		if status != exitUsage {
			t.Errorf("%q: status %d, want %d", tc.args, status, exitUsage)
		}
		if text := stderr.String(); !strings.Contains(text, tc.want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%q printed %q, want one line with %q", tc.args, text, tc.want)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SOCKEYE_PING_INTERVAL", "later")
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"serve"}, &stdout, &stderr); status != exitUsage {
		t.Errorf("status %d, want %d", status, exitUsage)
	}
	if !strings.Contains(stderr.String(), "--ping-interval") {
		t.Errorf("printed %q, want it to name the flag", stderr.String())
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"serve", "--help"}, {"emit", "--help"}, {"version"}} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), args, &stdout, &stderr); status != 0 {
			t.Errorf("%q: status %d, %s", args, status, stderr.String())
		}
		if !strings.Contains(stdout.String(), "sockeye") {
			t.Errorf("%q printed %q", args, stdout.String())
		}
	}
}

// asProgram is the environment variable that makes the test binary the program.
const asProgram = "RUN_AS_PROGRAM"

var listening = regexp.MustCompile(`msg=listening addr=(\S+)`)

// start runs the command until the test ends and returns its address. It fails the test if the node does not shut
// down cleanly.
func start(t *testing.T, args ...string) (addr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	logs, stderr := io.Pipe()
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...), io.Discard, stderr)
		stderr.Close()
	}()
	lines := bufio.NewScanner(logs)
	for addr == "" && lines.Scan() {
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			addr = m[1]
		}
	}
	var rest strings.Builder
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
			rest.WriteString(lines.Text() + "\n")
		}
	}()
	t.Cleanup(func() {
		cancel()
		code := <-status
		<-drained
		if code != 0 || !strings.Contains(rest.String(), "msg=stopped") {
			t.Errorf("ended with status %d after\n%s", code, rest.String())
		}
	})
	if addr == "" {
		t.Fatal("the node ended without listening")
	}
	return addr
}

func TestServeEveryApp(t *testing.T) {
	for app, path := range map[string]string{
		"chat": "/socket.io/", "conformance": "/socket.io/", "bench": "/socket.io/", "engine": "/engine.io/",
	} {
		t.Run(app, func(t *testing.T) {
			addr := start(t, "--app", app)
			body := get(t, "http://"+addr+path+"?EIO=4&transport=polling")
			var open struct {
				SID          string `json:"sid"`
				PingInterval int    `json:"pingInterval"`
			}
			if err := json.Unmarshal([]byte(strings.TrimPrefix(body, "0")), &open); err != nil {
				t.Fatalf("handshake %q: %v", body, err)
			}
			if len(open.SID) != 20 || open.PingInterval != 25000 {
				t.Errorf("handshake %q", body)
			}
		})
	}
}

// TestSilentConnection opens a connection on which nothing is ever asked, as a health check does. It must not hold up
// the shutdown, which start demands to be clean.
func TestSilentConnection(t *testing.T) {
	addr := start(t, "--shutdown-timeout", "3s")
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	get(t, "http://"+addr+"/") // by now the server has accepted the other connection too
}

func TestPortTaken(t *testing.T) {
	addr := start(t)
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), []string{"serve", "--addr", addr}, &stdout, &stderr); status != exitFailure {
		t.Errorf("status %d, want %d", status, exitFailure)
	}
	if !strings.Contains(stderr.String(), "--addr chooses another address") {
		t.Errorf("printed %q", stderr.String())
	}
}

func get(t *testing.T, address string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestName(t *testing.T) {
	for text, want := range map[string]name{`"ann"`: "ann", `42`: "42", `1.5`: "1.5", `"é #"`: "é #"} {
		var got name
		if err := json.Unmarshal([]byte(text), &got); err != nil || got != want {
			t.Errorf("%s became %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{`null`, `true`, `{}`, `["a"]`} {
		if err := json.Unmarshal([]byte(text), new(name)); err == nil {
			t.Errorf("%s was taken as a name", text)
		}
	}
	for n, ok := range map[name]bool{
		"ann": true, "42": true, "": false, "#room": false, "a#b": true,
		"abcdefghij0123456789": false, "abcdefghij 123456789": true,
		name(strings.Repeat("a", maxName)): true, name(strings.Repeat("a", maxName+1)): false,
	} {
		if err := n.checkUser(); (err == nil) != ok {
			t.Errorf("user %q: %v, want accepted %v", n, err, ok)
		}
	}
	for n, ok := range map[name]bool{"#a": true, "#": false, "a": false, name("#" + strings.Repeat("a", maxName)): false} {
		if err := n.checkRoom(); (err == nil) != ok {
			t.Errorf("room %q: %v, want accepted %v", n, err, ok)
		}
	}
}
