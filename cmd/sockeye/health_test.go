package main

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHealthCommand asks a node that is well, one that is not, one that says nothing to the point, and none.
func TestHealthCommand(t *testing.T) {
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RequestURI() {
		case "/livez":
			_, _ = w.Write([]byte("ok\n"))
		case "/readyz":
			http.Error(w, "draining", http.StatusServiceUnavailable)
		case "/startupz?verbose":
			_, _ = w.Write([]byte("{\"listener\":true}\n"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer node.Close()
	encrypted := httptest.NewTLSServer(node.Config.Handler)
	defer encrypted.Close()
	authority := filepath.Join(t.TempDir(), "authority.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: encrypted.Certificate().Raw})
	if err := os.WriteFile(authority, block, 0o600); err != nil {
		t.Fatal(err)
	}
	own, ownKey, _ := selfSigned(t)
	mutual := httptest.NewUnstartedServer(node.Config.Handler)
	mutual.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	mutual.StartTLS()
	defer mutual.Close()
	addr := node.Listener.Addr().String()
	_, port, _ := strings.Cut(addr, ":")
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, c := range []struct {
		name   string
		args   []string
		env    string // SOCKEYE_ADMIN_ADDR
		status int
		stdout string
		stderr string // part of it
	}{
		{"alive", []string{"livez", "--admin", node.URL}, "", 0, "ok\n", ""},
		{"not ready", []string{"--admin", node.URL + "/"}, "", exitFailure, "draining\n", "503"},
		{"verbose", []string{"startupz", "--admin", addr, "--verbose"}, "", 0, "{\"listener\":true}\n", ""},
		{"address of the node", []string{"livez"}, "0.0.0.0:" + port, 0, "ok\n", ""},
		{"address without a host", []string{"livez"}, ":" + port, 0, "ok\n", ""},
		{"a flag before the environment", []string{"livez", "--admin", node.URL}, "nowhere", 0, "ok\n", ""},
		{"encrypted", []string{"livez", "--admin", encrypted.URL, "--ca", authority}, "", 0, "ok\n", ""},
		{"an unknown authority", []string{"livez", "--admin", encrypted.URL}, "", exitFailure, "", "certificate"},
		{"elsewhere", []string{"livez", "--admin", node.URL + "/prefix"}, "", exitFailure, "404 page not found\n", "404"},
		{"nobody", []string{"livez", "--admin", gone.URL}, "", exitFailure, "", "ask the node"},
		{"no such authorities", []string{"--admin", node.URL, "--ca", "health_test.go"}, "", exitUsage, "", "no certificate"},
		{"half a certificate", []string{"--admin", node.URL, "--cert", authority}, "", exitUsage, "", "--cert and --key need each other"},
		{"shown to who asks for one", []string{"livez", "--admin", mutual.URL, "--ca", authority, "--cert", own, "--key", ownKey}, "", 0, "ok\n", ""},
		{"none for who asks for one", []string{"livez", "--admin", mutual.URL, "--ca", authority}, "", exitFailure, "", "certificate required"},
		{"no port", []string{"--admin", "localhost"}, "", exitUsage, "", "missing port"},
		{"another protocol", []string{"--admin", "ftp://localhost"}, "", exitUsage, "", "neither a URL"},
		{"another check", []string{"healthz", "--admin", node.URL}, "", exitUsage, "", "must be one of"},
		{"no time", []string{"--admin", node.URL, "--timeout", "0s"}, "", exitUsage, "", "must be positive"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.env != "" {
				t.Setenv("SOCKEYE_ADMIN_ADDR", c.env)
			}
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), append([]string{"health"}, c.args...), &stdout, &stderr)
			if status != c.status || stdout.String() != c.stdout || !strings.Contains(stderr.String(), c.stderr) {
				t.Errorf("status %d, %q, %q", status, stdout.String(), stderr.String())
			}
		})
	}
}
