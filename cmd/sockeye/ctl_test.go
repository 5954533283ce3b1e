package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// operator is somebody with a token.
type operator struct {
	t     *testing.T
	flags []string
}

// tokenFile writes a file with a token.
func tokenFile(t *testing.T, token string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func newOperator(n *runningNode, flags ...string) operator {
	return operator{n.t, append([]string{"--admin", n.operators()}, flags...)}
}

// ctl runs a command and returns its status and what it prints.
func (o operator) ctl(args ...string) (status int, text string) {
	o.t.Helper()
	var stdout, stderr bytes.Buffer
	status = run(o.t.Context(), append(append([]string{"ctl"}, o.flags...), args...), &stdout, &stderr)
	return status, stdout.String() + stderr.String()
}

// does runs a command that must succeed, and print all of want.
func (o operator) does(args string, want ...string) {
	o.t.Helper()
	status, text := o.ctl(strings.Fields(args)...)
	for _, w := range want {
		if !strings.Contains(text, w) {
			o.t.Errorf("ctl %s printed %q, want %q", args, text, w)
		}
	}
	if status != 0 {
		o.t.Errorf("ctl %s ended with status %d, %s", args, status, text)
	}
}

// awaits runs a command until it prints something and lacks no part of the cluster.
func (o operator) awaits(args, want string) {
	o.t.Helper()
	var text string
	for late := time.Now().Add(20 * time.Second); time.Now().Before(late); {
		var status int
		if status, text = o.ctl(strings.Fields(args)...); status == 0 && strings.Contains(text, want) {
			return
		}
	}
	o.t.Fatalf("ctl %s prints %q, never %q", args, text, want)
}

// trace runs a trace until the test ends, and returns what it prints.
func (o operator) trace(args ...string) *runningNode {
	o.t.Helper()
	printed := &runningNode{t: o.t, log: &logText{changed: make(chan struct{})}}
	ctx, cancel := context.WithCancel(context.Background())
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, append(append([]string{"ctl"}, o.flags...), append([]string{"trace"}, args...)...), printed.log, printed.log)
	}()
	o.t.Cleanup(func() {
		cancel()
		if code := <-status; code != 0 {
			o.t.Errorf("the trace ended with status %d after\n%s", code, printed.log.String())
		}
	})
	return printed
}

// TestCtl operates two nodes with Redis through one of them.
func TestCtl(t *testing.T) {
	t.Parallel()
	redis := redistest.Single(t)
	token := tokenFile(t, "operator-0123456789")
	flags := []string{"--redis", "redis://" + redis.Addr, "--admin-addr", "127.0.0.1:0", "--admin-token-file", token}
	one, two := startNode(t, "n1", flags), startNode(t, "n2", flags)
	ann, bob := pollClient(t, one.addr), pollClient(t, two.addr)
	ann.send(`420["login","ann"]`)
	ann.await(`430[`)
	bob.send(`420["login","bob"]`)
	bob.await(`430[`)
	o := newOperator(one, "--token-file", token)
	o.awaits("nodes", "n2")
	o.awaits("count --users", "users    2")
	o.does("nodes", "n1 *", "n2", "alive")
	o.does("namespaces", "/ ")
	o.awaits("presence", "2 users with 2 sockets") // the nodes may still look for others without a directory
	o.does("presence", `"bob"`, "n2", "2 users with 2 sockets")
	o.does("user bob", "n2", "127.0.0.1")
	o.does("user nobody", "offline")
	o.does("join --user bob #x")
	o.awaits("count --room #x", "sockets  1")
	o.does(`publish --room #x --except nobody news {"a":1} 2`)
	bob.await(`42["news",{"a":1},2]`)
	o.does("publish --user bob --user ann --user nobody both", `"nobody" is offline`)
	bob.await(`42["both"]`)
	ann.await(`42["both"]`)
	o.does("leave --user bob #x")
	o.awaits("count --room #x", "sockets  0")
	o.does("nodes --json", `"partial":false`)
	o.does("rebalance --dry-run", "n2")
	traced := o.trace("--user", "bob", "--payloads")
	traced.waitFor("watching 1 sockets on n1, n2")
	bob.send(`421["send",{"to":"ann","message":"hi"}]`)
	traced.waitFor(`-> received "send" #1`)
	traced.waitFor(`[{"to":"ann","message":"hi"}]`)
	traced.waitFor("<- ack_sent #1")
	o.does("disconnect --user bob")
	traced.waitFor("disconnected server namespace disconnect")
	bob.await("41")
	o.does("drain n2 --wait", "n2", "draining", "n2 is empty")
	o.does("undrain n2", "n2")
	if status, text := o.ctl("revoke", "ann"); status != exitFailure || !strings.Contains(text, "no_authentication: this node verifies no tokens") {
		t.Errorf("revoke without tokens: status %d, %s", status, text)
	}
	if status, text := o.ctl("drain", "nowhere"); status != exitFailure || !strings.Contains(text, "unknown_node") {
		t.Errorf("a node that is none: status %d, %s", status, text)
	}
}

// TestAdminToken: without the token nothing is done, and the file is read again when it changes.
func TestAdminToken(t *testing.T) {
	t.Parallel()
	token := tokenFile(t, "operator-0123456789")
	n := startNode(t, "n", []string{"--admin-addr", "127.0.0.1:0", "--admin-token-file", token, "--pprof"})
	o := newOperator(n, "--token-file", token)
	o.does("nodes", "n *")
	for _, other := range []operator{newOperator(n), newOperator(n, "--token-file", tokenFile(t, "another-0123456789"))} {
		if status, text := other.ctl("nodes"); status != exitFailure || !strings.Contains(text, "unauthorized") {
			t.Errorf("status %d, %s", status, text)
		}
	}
	for path, want := range map[string]int{"livez": 200, "readyz": 200, "debug/pprof/cmdline": 401, "v1/nodes": 401} {
		if got := statusOf(t, http.DefaultTransport, n.operators()+path); got != want {
			t.Errorf("/%s without a token: %d, want %d", path, got, want)
		}
	}
	old := tokenFile(t, "operator-0123456789")
	if err := os.WriteFile(token, []byte("a new token 0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.awaits("nodes", "n *") // the node looks once a second
	if status, _ := newOperator(n, "--token-file", old).ctl("nodes"); status != exitFailure {
		t.Errorf("the old token is accepted: status %d", status)
	}
	if err := os.WriteFile(token, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	kept := newOperator(n, "--token-file", tokenFile(t, "a new token 0123456789"))
	for late := time.Now().Add(20 * time.Second); !strings.Contains(n.log.String(), "stays as it was"); {
		kept.does("nodes", "n *")
		if time.Now().After(late) {
			t.Fatal("the file is not looked at")
		}
	}
	kept.does("nodes", "n *")
}

func statusOf(t *testing.T, transport http.RoundTripper, address string) int {
	t.Helper()
	client := &http.Client{Transport: transport}
	defer client.CloseIdleConnections()
	resp, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestNoAdminCredential: without a token and authorities there is no control API, and it is said why.
func TestNoAdminCredential(t *testing.T) {
	t.Parallel()
	n := startNode(t, "n", []string{"--admin-addr", "127.0.0.1:0"})
	if status, text := newOperator(n).ctl("nodes"); status != exitFailure || !strings.Contains(text, "--admin-token-file") {
		t.Errorf("status %d, %s", status, text)
	}
	if status, text := newOperator(n).ctl("drain", "self"); status != exitFailure || !strings.Contains(text, "no_credential") {
		t.Errorf("status %d, %s", status, text)
	}
}

// TestAdminTLS: who has a certificate of the authorities may do everything, others see the health alone.
func TestAdminTLS(t *testing.T) {
	t.Parallel()
	cert, key, pool := selfSigned(t)
	mine, mineKey, _ := selfSigned(t)
	n := startNode(t, "n", []string{"--admin-addr", "127.0.0.1:0", "--admin-tls-cert", cert, "--admin-tls-key", key, "--admin-client-ca", mine})
	newOperator(n, "--ca", cert, "--cert", mine, "--key", mineKey).does("nodes", "n *")
	if status, text := newOperator(n, "--ca", cert).ctl("nodes"); status != exitFailure || !strings.Contains(text, "unauthorized") {
		t.Errorf("without a certificate: status %d, %s", status, text)
	}
	if status, text := newOperator(n, "--ca", cert, "--cert", cert, "--key", key).ctl("nodes"); status != exitFailure {
		t.Errorf("with another certificate: status %d, %s", status, text)
	}
	if got := statusOf(t, transportFor(pool), n.operators()+"livez"); got != http.StatusOK {
		t.Errorf("/livez without a certificate: %d", got)
	}
	for _, flags := range [][]string{{"--ca", cert}, {"--ca", cert, "--cert", mine, "--key", mineKey}} {
		var stdout, stderr bytes.Buffer
		args := append([]string{"health", "livez", "--admin", n.operators()}, flags...)
		if status := run(t.Context(), args, &stdout, &stderr); status != 0 || stdout.String() != "ok\n" {
			t.Errorf("health %v: status %d, %s%s", flags, status, &stdout, &stderr)
		}
	}
}

func transportFor(pool *x509.CertPool) http.RoundTripper {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	return transport
}
