package main

import (
	"bytes"
	"net"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

func TestTag(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"tag", "node-1", "node-2"}, &stdout, &stderr)
	if want := "NZcb node-1\nF3n1 node-2\n"; status != 0 || stdout.String() != want {
		t.Errorf("status %d, %q, %q, want %q", status, stdout.String(), stderr.String(), want)
	}
}

func TestVersion(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}} {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), args, &stdout, &stderr)
		if text := stdout.String(); status != 0 || !strings.HasPrefix(text, "sockeye ") || strings.Count(text, "\n") != 1 ||
			!strings.Contains(text, runtime.Version()+", "+runtime.GOOS) {
			t.Errorf("%q: status %d, %q, %q", args, status, text, stderr.String())
		}
	}
	info := &debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123456789abcdef0123"}, {Key: "vcs.time", Value: "2026-11-29T01:00:00Z"}, {Key: "vcs.modified", Value: "true"},
	}}
	if got, want := builtFrom(info), "v1.2.3, commit 0123456789ab of 2026-11-29T01:00:00Z with changes"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := builtFrom(&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}); got != "(devel)" {
		t.Errorf("without a commit: %q", got)
	}
}

func TestURLs(t *testing.T) {
	own := []net.Addr{
		&net.IPNet{IP: net.IPv4(127, 0, 0, 1)}, &net.IPNet{IP: net.IPv4(192, 168, 1, 7)}, &net.IPNet{IP: net.ParseIP("fe80::1")},
		&net.UnixAddr{Name: "x"},
	}
	for _, c := range []struct {
		serve serveCommand
		ip    string
		want  []string
	}{
		{serveCommand{App: "chat"}, "::", []string{"http://localhost:3000/", "http://192.168.1.7:3000/"}},
		{serveCommand{App: "chat", tlsFlags: tlsFlags{TLSCert: "x"}}, "0.0.0.0", []string{"https://localhost:3000/", "https://192.168.1.7:3000/"}},
		{serveCommand{App: "chat"}, "127.0.0.1", []string{"http://localhost:3000/"}},
		{serveCommand{App: "chat"}, "192.168.1.7", []string{"http://192.168.1.7:3000/"}},
		{serveCommand{App: "chat"}, "2001:db8::1", []string{"http://[2001:db8::1]:3000/"}},
		{serveCommand{App: "engine"}, "127.0.0.1", []string{"http://localhost:3000/engine.io/"}},
	} {
		listening := &net.TCPAddr{IP: net.ParseIP(c.ip), Port: 3000}
		if got := c.serve.urls(listening, own); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.ip, got, c.want)
		}
		var out bytes.Buffer
		c.serve.announce(&out, listening, own)
		for _, url := range c.want {
			if !strings.Contains(out.String(), "  "+url+"  ") {
				t.Errorf("%s: %q", c.ip, out.String())
			}
		}
	}
}

// TestHelp looks for the groups and examples of the commands that have many flags.
func TestHelp(t *testing.T) {
	for command, want := range map[string][]string{
		"serve":        {"Examples:", "Connections\n", "Proxies\n", "Cluster\n", "Pages of other origins\n", "--trusted-proxies"},
		"bench":        {"Examples:", "What to measure\n", "sockeye serve --app bench"},
		"client-files": {"//go:embed client", "<dir>"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), []string{command, "--help"}, &stdout, &stderr); status != 0 {
			t.Errorf("%s: status %d, %s", command, status, stderr.String())
		}
		// Flags without a group stand in front of the groups, under "Flags:".
		flags, _, _ := strings.Cut(stdout.String()[strings.Index(stdout.String(), "Flags:"):], "\n\n")
		if strings.Count(flags, "  --") > 1 { // --version is every command's
			t.Errorf("%s: flags without a group:\n%s", command, flags)
		}
		for _, text := range want {
			if !strings.Contains(stdout.String(), text) {
				t.Errorf("%s: no %q in\n%s", command, text, stdout.String())
			}
		}
	}
}
