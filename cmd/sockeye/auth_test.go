package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/internal/redistest"
)

// keyFile writes a secret to a file.
func keyFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(strings.Repeat("secret", 6)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// printed runs a command and returns what it prints.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := run(t.Context(), args, &stdout, &stderr); status != 0 {
		t.Fatalf("%q ended with status %d, %s", args, status, stderr.String())
	}
	return strings.TrimSpace(stdout.String())
}

// withToken is the CONNECT packet of a client with a token.
func withToken(token string) string { return `40{"token":"` + token + `"}` }

func TestAuthUsageErrors(t *testing.T) {
	key, public := keyFile(t), filepath.Join(t.TempDir(), "public")
	const pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"
	if err := os.WriteFile(public, []byte(pem), 0o600); err != nil {
		t.Fatal(err)
	}
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"serve", "--jwt-key", key}, "--jwt-key needs --auth jwt"},
		{[]string{"serve", "--demo-tokens"}, "--demo-tokens needs --auth jwt"},
		{[]string{"serve", "--auth", "jwt"}, "needs either --jwt-key or --jwks-url"},
		{[]string{"serve", "--auth", "jwt", "--jwt-key", key, "--jwks-url", "https://a.example"}, "needs either --jwt-key or --jwks-url"},
		{[]string{"serve", "--auth", "jwt", "--jwt-key", key, "--app", "bench"}, "the bench app has no users"},
		{[]string{"serve", "--auth", "jwt", "--jwks-url", "https://a.example", "--demo-tokens"}, "--demo-tokens needs --jwt-key"},
		{[]string{"serve", "--auth", "jwt", "--jwt-key", public, "--demo-tokens"}, "is a public one"},
		{[]string{"serve", "--auth", "jwt", "--jwt-key", short}, "too short for an HMAC secret"},
		{[]string{"serve", "--auth", "jwt", "--jwks-url", "http://a.example/keys"}, "must begin with https://"},
		{[]string{"serve", "--auth", "jwt", "--jwt-key", key, "--jwt-cookie", "session"}, "need each other"},
		{[]string{"serve", "--auth", "jwt", "--jwt-key", key, "--jwt-cookie", "session", "--jwt-cookie-origins", "*"}, "is no origin"},
		{[]string{"serve", "--auth", "jwt", "--jwt-key", key, "--jwt-grace=-1s"}, "--jwt-grace must be positive"},
		{[]string{"serve", "--auth", "password"}, "--auth must be one of"},
		{[]string{"token", "--user", "ann"}, "--jwt-key"},
		{[]string{"token", "--jwt-key", key, "--user", "#room"}, "--user: a user id must not start with"},
		{[]string{"token", "--jwt-key", key, "--user", "ann", "--ttl", "0s"}, "--ttl must be 1s at least"},
		{[]string{"token", "--jwt-key", public, "--user", "ann"}, "signs nothing"},
		{[]string{"revoke", "ann"}, "revoke needs --redis"},
		{[]string{"revoke", "ann", "--redis", "redis://127.0.0.1", "--ahead=-1s"}, "--ahead must not be negative, got -1s"},
	} {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), tc.args, &stdout, &stderr)
		if text := stderr.String(); status != exitUsage || !strings.Contains(text, tc.want) || strings.Count(text, "\n") != 1 {
			t.Errorf("%q: status %d, printed %q, want one line with %q", tc.args, status, text, tc.want)
		}
	}
}

// TestChatWithTokens shows what a client may do before and after its login.
func TestChatWithTokens(t *testing.T) {
	key := keyFile(t)
	addr := start(t, "--auth", "jwt", "--jwt-key", key, "--jwt-audience", "chat", "--jwt-issuer", "test")
	token := printed(t, "token", "--jwt-key", key, "--user", "ann", "--audience", "chat", "--issuer", "test")
	other := printed(t, "token", "--jwt-key", key, "--user", "ann", "--audience", "mail", "--issuer", "test")
	room := printed(t, "token", "--jwt-key", key, "--user", "ann")

	ann := openPolling(t, addr)
	for _, c := range []struct{ packet, answer string }{
		{"40", `44{"message":"authentication required","data":{"code":"missing"}}`},
		{withToken("x"), `44{"message":"token is invalid","data":{"code":"invalid"}}`},
		{withToken(other), `44{"message":"token is invalid","data":{"code":"invalid"}}`},
		{withToken(room), `44{"message":"token is invalid","data":{"code":"invalid"}}`},
		{withToken(strings.Repeat("x", 9000)), `44{"message":"token is too large","data":{"code":"too_large","maxBytes":8192}}`},
	} {
		ann.send(c.packet)
		ann.await(c.answer)
	}
	ann.send(withToken(token))
	ann.await("40{")
	first := `[{"error":{"message":"log in first"}}]`
	for i, event := range []string{`["send",{"to":"bob","message":"x"}]`, `["join","#lobby"]`, `["typing",{"to":"bob"}]`, `["watch"]`, `["members","#lobby"]`, `["leave","#lobby"]`} {
		ann.send(fmt.Sprintf("42%d%s", i, event))
		ann.await(fmt.Sprintf("43%d%s", i, first))
	}
	ann.send(`420["login","bob"]`)
	ann.await(`430[{"error":{"message":"the token is for another user"}}]`)
	ann.send(`420["join","#lobby"]`)
	ann.await("430" + first)
	ann.send(`420["whoami"]`)
	ann.await(`430[{"user":"ann"`) // of whom the token is, from the start
	ann.send(`420["login","ann"]`)
	ann.await(`430[{"user":"ann"}]`)
	ann.send(`420["join","#lobby"]`)
	ann.await(`430[{"room":"#lobby"}]`)
	ann.send(`420["send",{"to":"ann","message":"to myself"}]`)
	ann.await(`42["receive","to myself",{"from":"ann"}]`)

	resp, err := http.Post("http://"+addr+demoPath, "application/json", strings.NewReader(`{"user":"ann"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		t.Error("tokens are given away, though nobody has asked for that")
	}
}

func TestDemoTokens(t *testing.T) {
	addr := start(t, "--auth", "jwt", "--jwt-key", keyFile(t), "--jwt-audience", "chat", "--demo-tokens")
	ask := func(method, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+demoPath, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		defer http.DefaultClient.CloseIdleConnections()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
	for _, c := range []struct {
		method, body string
		status       int
	}{
		{"GET", "", 405}, {"PUT", `{"user":"ann"}`, 405}, {"POST", "", 400}, {"POST", `{"user":[]}`, 400}, {"POST", `{"user":""}`, 422},
		{"POST", `{"user":"#room"}`, 422}, {"POST", `{"user":"AbCdEfGhIjKlMnOpQrSt"}`, 422}, {"POST", `{"user":"` + strings.Repeat("x", 5000) + `"}`, 400},
	} {
		if status, text := ask(c.method, c.body); status != c.status {
			t.Errorf("%s %.30s: %d %s, want %d", c.method, c.body, status, text, c.status)
		}
	}
	status, text := ask("POST", `{"user":"ann"}`)
	var answer demoAnswer
	if err := json.Unmarshal([]byte(text), &answer); err != nil || status != 200 || answer.ExpiresAt < time.Now().Add(50*time.Minute).UnixMilli() {
		t.Fatalf("%d %s, %v", status, text, err)
	}
	ann := openPolling(t, addr)
	ann.send(withToken(answer.Token))
	ann.await("40{")
}

// TestRevokeInCluster revokes tokens of a user whose sockets are on two nodes, by the command and on a real Redis, and starts
// another node afterwards.
func TestRevokeInCluster(t *testing.T) {
	for _, flavour := range []string{pubSubAdapter, shardedAdapter, streamsAdapter} {
		t.Run(flavour, func(t *testing.T) {
			t.Parallel()
			redis, key := redistest.Single(t), keyFile(t)
			cluster := []string{"--redis", "redis://" + redis.Addr, "--adapter", flavour}
			flags := append([]string{"--auth", "jwt", "--jwt-key", key, "--admin-addr", "127.0.0.1:0", "--admin-token-file", tokenFile(t, "operator-0123456789")}, cluster...)
			one, two := startNode(t, "n1", flags), startNode(t, "n2", flags)
			one.waitFor("redis adapter is up")
			two.waitFor("redis adapter is up")
			stolen := printed(t, "token", "--jwt-key", key, "--user", "ann")
			ann, twice, bob := openPolling(t, one.addr), openPolling(t, two.addr), openPolling(t, two.addr)
			for _, c := range []*polling{ann, twice} {
				c.send(withToken(stolen))
				c.await("40{")
			}
			bob.send(withToken(printed(t, "token", "--jwt-key", key, "--user", "bob")))
			bob.await("40{")

			printed(t, append([]string{"revoke", "ann"}, cluster...)...)
			for _, c := range []*polling{ann, twice} {
				c.await(`42["auth:revoked",{"code":"revoked"}]`)
				c.await("41")
			}
			// The same by the control API of the other node.
			operator := newOperator(one, "--token-file", tokenFile(t, "operator-0123456789"))
			dan, late := openPolling(t, two.addr), printed(t, "token", "--jwt-key", key, "--user", "dan")
			dan.send(withToken(late))
			dan.await("40{")
			operator.does("revoke dan --ago 1h", `tokens of "dan" that were issued before `)
			dan.send(`420["whoami"]`)
			dan.await(`430[{"user":"dan"`)
			operator.does("revoke dan --ahead 1s", `tokens of "dan" that were issued before `)
			dan.await(`42["auth:revoked",{"code":"revoked"}]`)
			dan.await("41")
			// A token of an issuer whose clock is ahead, or of just afterwards.
			printed(t, append([]string{"revoke", "cy", "--ahead", "1h"}, cluster...)...)
			cy := openPolling(t, two.addr)
			cy.send(withToken(printed(t, "token", "--jwt-key", key, "--user", "cy")))
			cy.await(`44{"message":"token was revoked","data":{"code":"revoked"}}`)
			three := startNode(t, "n3", flags)
			for _, n := range []*runningNode{one, two, three} {
				again := openPolling(t, n.addr)
				again.send(withToken(stolen))
				again.await(`44{"message":"token was revoked","data":{"code":"revoked"}}`)
			}
			bob.send(`420["login","bob"]`)
			bob.await(`430[{"user":"bob"}]`)
		})
	}
}
