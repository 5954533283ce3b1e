package main

import (
	"bytes"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/natstest"
	"github.com/sockeye-io/sockeye/internal/redistest"
)

// TestNATSCluster runs two nodes that start before NATS does, which asks for a user, and sends to a client of one from the other and
// from the command line.
func TestNATSCluster(t *testing.T) {
	t.Parallel()
	nats := natstest.Single(t, "authorization { users: [{user: u, password: pa55word}] }")
	nats.Kill()
	flags := []string{"--nats", strings.Replace(nats.URL, "nats://", "nats://u:pa55word@", 1)}
	one, two := startNode(t, "n1", flags), startNode(t, "n2", flags)
	one.waitFor("nats adapter is down")
	nats.Start()
	one.waitFor("nats adapter is up")
	two.waitFor("nats adapter is up")

	ann, bob := pollClient(t, one.addr), pollClient(t, two.addr)
	ann.send(`420["login","ann"]`)
	ann.await(`430[{"user":"ann"}]`)
	bob.send(`420["login","bob"]`)
	bob.await(`430[{"user":"bob"}]`)
	bob.sendUntil(`["send",{"to":"ann","message":"early"}]`, `[{"online":true,"devices":1}]`)
	bob.sendUntil(`["send",{"to":"ann","message":"across"}]`, `[{"online":true,"devices":1}]`) // the last one went before the answer
	ann.await(`42["receive","across",{"from":"bob"}]`)
	bob.sendUntil(`["watch"]`, `[{"users":[{"user":"ann","nodes":["n1"]},{"user":"bob","nodes":["n2"]}],"rooms":[],"total":2,"alone":false}]`)

	var stdout, stderr bytes.Buffer
	args := append([]string{"emit", "--to", "ann", "--to", "bob", "--except", "bob", "news", `{"a":1}`, `"text"`}, flags...)
	if status := run(t.Context(), args, &stdout, &stderr); status != 0 {
		t.Fatalf("emit ended with status %d, %s", status, stderr.String())
	}
	ann.await(`42["news",{"a":1},"text"]`)
	for _, n := range []*runningNode{one, two} {
		if strings.Contains(n.log.String(), "pa55word") {
			t.Errorf("logged %s", n.log)
		}
	}
}

// TestEmitWithoutNATS: the command says that NATS is away, or wants another password, and does not show the one it has.
func TestEmitWithoutNATS(t *testing.T) {
	t.Parallel()
	nats := natstest.Single(t, "authorization { users: [{user: u, password: pa55word}] }")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for url, want := range map[string]string{
		strings.Replace(nats.URL, "nats://", "nats://u:a-secret@", 1): "Authorization Violation",
		"nats://u:a-secret@" + silent.Addr().String():                 "timeout",
		"nats://u:a-secret@127.0.0.1:1":                               "no servers available",
	} {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), []string{"emit", "--nats", url, "--timeout", "500ms", "news"}, &stdout, &stderr)
		if text := stderr.String(); status != exitFailure || !strings.Contains(text, want) || strings.Contains(text, "a-secret") {
			t.Errorf("status %d, %q, want %q", status, text, want)
		}
	}
}

// TestNATSFlags: what cannot work is said in one sentence, and nothing secret is.
func TestNATSFlags(t *testing.T) {
	short := filepath.Join("testdata", "short-token")
	const nats, embed = "--nats=nats://u:a-secret@127.0.0.1:1", "--nats-embed=127.0.0.1:0"
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{nats, "--redis=redis://x"}, "--redis and --nats exclude each other"},
		{[]string{embed, "--redis=redis://x"}, "--redis and --nats-embed exclude each other"},
		{[]string{nats, embed}, "--nats-embed and --nats exclude each other"},
		{[]string{nats, "--adapter=sharded"}, "--adapter sharded is not for NATS"},
		{[]string{"--redis=redis://x", "--adapter=nats"}, "--adapter nats is not for Redis"},
		{[]string{nats, "--stream-count=2"}, "--stream-count needs --redis"},
		{[]string{"--redis=redis://x", "--nats-answer-timeout=1s"}, "--nats-answer-timeout needs --nats or --nats-embed"},
		{[]string{"--nats=http://a-secret@x"}, "begin with nats://"},
		{[]string{"--nats=nats://a-secret@x"}, "a token belongs to --nats-token"},
		{[]string{"--nats=nats://u:a-secret@x:port"}, "invalid port"},
		{[]string{nats, "--nats-token=a-secret", "--nats-nkey-file=main.go"}, "only one of --nats-token"},
		{[]string{nats, "--nats-nkey-file=main.go"}, "--nats-nkey-file"},
		{[]string{nats, "--nats-tls-cert=main.go"}, "need each other"},
		{[]string{nats, "--nats-tls-ca=main.go"}, "--nats"},
		{[]string{"--nats-token=a-secret"}, "--nats-token needs --nats"},
		{[]string{embed, "--nats-token=a-secret"}, "--nats-token needs --nats"},
		{[]string{nats, "--nats-routes=nats://a:1"}, "--nats-routes needs --nats-embed"},
		{[]string{embed, "--nats-routes=redis://a:1"}, "want addresses such as nats://a:6222"},
		{[]string{embed, "--nats-routes=nats://a"}, "has no port"},
		{[]string{embed, "--nats-routes=nats://u:a-secret@a:1"}, "the addresses have no users"},
		{[]string{"--nats-embed=127.0.0.1"}, "missing port"},
		{[]string{"--nats-embed=127.0.0.1:port"}, `"port" is no port`},
		{[]string{"--nats-embed=:6222"}, "--nats-embed :6222 is not a loopback address"},
		{[]string{embed, "--nats-route-secret=a-secret"}, "at least 16 are needed"},
		{[]string{embed, "--nats-route-secret-file=" + short}, "at least 16 are needed"},
		{[]string{embed, "--nats-route-secret=a-secret", "--nats-route-secret-file=" + short}, "only one of"},
		{[]string{nats, "--nats-store-dir=."}, "--nats-store-dir needs --nats-embed"},
		{[]string{embed, "--nats-replicas=3"}, "--nats-replicas needs --nats"},
		{[]string{nats, "--nats-replicas=6"}, "1 to 5 replicas"},
		{[]string{embed, "--key=a b"}, "prefix"},
		{[]string{embed, "--app=engine"}, "no cluster"},
		{[]string{"--ready-needs-broker", "--admin-addr=127.0.0.1:0"}, "--ready-needs-broker needs --redis, --nats or --nats-embed"},
	} {
		for _, command := range []string{"serve", "check-config"} {
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), append([]string{command, "--addr=127.0.0.1:0"}, tc.args...), &stdout, &stderr)
			if text := stderr.String(); status != exitUsage || !strings.Contains(text, tc.want) || strings.Contains(text, "a-secret") {
				t.Errorf("%s %q: status %d, %q, want %q", command, tc.args, status, text, tc.want)
			}
		}
	}
	for _, good := range [][]string{
		{"--nats-embed=0.0.0.0:0", "--nats-route-secret=a secret that is long"},
		{"--nats-embed=:6222", "--cluster-secret=a secret that is long"},
		{embed, "--adapter=nats", "--nats-routes=nats://127.0.0.1:1,nats://a:6222"},
		{"--nats=tls://u:a-secret@x:1,nats://y", "--key=app.two", "--nats-answer-timeout=1s"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), append([]string{"check-config"}, good...), &stdout, &stderr); status != 0 {
			t.Errorf("%q: status %d, %s", good, status, stderr.String())
		}
		stdout.Reset()
		if status := run(t.Context(), append([]string{"config"}, good...), &stdout, &stderr); status != 0 || strings.Contains(stdout.String(), "secret that") || strings.Contains(stdout.String(), "a-secret") {
			t.Errorf("%q: status %d, %s", good, status, stdout.String())
		}
	}
}

// embedFlagsOf returns the flags of n nodes with a NATS server in each.
func embedFlagsOf(t *testing.T, n int, more ...string) [][]string {
	t.Helper()
	addrs := make([]string, n)
	for i := range addrs {
		addrs[i] = redistest.FreeAddr(t)
	}
	list := make([][]string, n)
	for i, addr := range addrs {
		list[i] = append([]string{"--nats-embed", addr, "--nats-routes", "nats://" + strings.Join(addrs, ",nats://"), "--nats-route-secret", "a secret for tests"}, more...)
	}
	return list
}
