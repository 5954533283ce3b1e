package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/sockeye-io/sockeye/server/servertest"
)

const adminHash = "$2y$04$O7k5PY0lr5KJ7yV2EUVQwefCOffDqRsd9SpDW02aQSycA225JdKhO" // of "secret"

func TestAdminUIFlags(t *testing.T) {
	file := writeFile(t, "hash", adminHash+"\n")
	for _, c := range []struct{ args, want string }{
		{"--admin-ui-readonly", "needs --admin-ui-user"},
		{"--admin-ui-mode development", "needs --admin-ui-user"},
		{"--admin-ui-mode debug", "--admin-ui-mode"},
		{"--admin-ui-password-hash x", "needs --admin-ui-user"},
		{"--admin-ui-password-hash-file " + file, "needs --admin-ui-user"},
		{"--admin-ui-user ann", "needs one of"},
		{"--admin-ui-user ann --admin-ui-password-hash x --admin-ui-password-hash-file " + file, "needs one of"},
		{"--admin-ui-user ann --admin-ui-password-hash secret", "no bcrypt hash; the --admin-ui flags"},
		{"--app engine --admin-ui-user ann --admin-ui-password-hash " + adminHash, "engine app"},
	} {
		var stderr bytes.Buffer
		args := append([]string{"check-config"}, strings.Fields(c.args)...)
		if status := run(t.Context(), args, &stderr, &stderr); status != exitUsage || !strings.Contains(stderr.String(), c.want) {
			t.Errorf("%s: status %d, %s\nwant %q", c.args, status, stderr.String(), c.want)
		}
	}
	var stdout bytes.Buffer
	status := run(t.Context(), []string{"config", "--admin-ui-user=ann", "--admin-ui-password-hash=" + adminHash}, &stdout, &stdout)
	if out := stdout.String(); status != 0 || strings.Contains(out, adminHash) || !strings.Contains(out, "admin-ui-password-hash: "+hidden) {
		t.Errorf("status %d, the hash is shown or missing:\n%s", status, out)
	}
}

// TestAdminUI logs in to a node, whose namespace is there only with the flags.
func TestAdminUI(t *testing.T) {
	file := writeFile(t, "hash", adminHash+"\n")
	for _, args := range [][]string{
		{"--admin-ui-user=ann", "--admin-ui-password-hash=" + adminHash},
		{"--admin-ui-user=ann", "--admin-ui-password-hash-file=" + file, "--admin-ui-mode=development", "--admin-ui-readonly"},
		nil,
	} {
		c := parseServe(t, args...)
		node, err := c.newApp(slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		net := servertest.New(t, node.server, nil)
		want := "invalid credentials"
		if args == nil {
			want = "Invalid namespace"
		}
		if refusal := net.Dial(t, nil).ConnectRefused("/admin", map[string]string{"username": "ann", "password": "guess"}); refusal.Message != want {
			t.Errorf("%q: refused with %q, want %q", args, refusal.Message, want)
		}
		if args != nil {
			page := net.Connect(t, "/admin", map[string]string{"username": "ann", "password": "secret"})
			for name := ""; name != "session"; { // in Development it hears of itself before
				name = page.Next().Name
			}
		}
		t.Cleanup(func() {
			if err := node.shutdown(t.Context()); err != nil && t.Context().Err() == nil {
				t.Error(err)
			}
		})
	}
}

func TestHashPassword(t *testing.T) {
	for _, c := range []struct {
		in, want string // the password of the hash, or a part of the error
		fails    bool
	}{
		{"secret\n", "secret", false}, {" se cret \r\nnot this", " se cret ", false}, {"no line end", "no line end", false},
		{"", "no password", true}, {"\n", "no password", true}, {strings.Repeat("x", 73), "73 bytes", true},
	} {
		var out bytes.Buffer
		err := (&hashCommand{Cost: 8, in: strings.NewReader(c.in)}).Run(&streams{stdout: &out})
		if c.fails {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q: error %v, want %q", c.in, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := bcrypt.CompareHashAndPassword([]byte(strings.TrimSpace(out.String())), []byte(c.want)); err != nil {
			t.Errorf("%q: %s is not its hash: %v", c.in, out.String(), err)
		}
	}
	var stderr bytes.Buffer
	if status := run(t.Context(), []string{"hash-password", "--cost=30"}, &stderr, &stderr); status != exitUsage {
		t.Errorf("status %d: %s", status, stderr.String())
	}
}
