package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestBench drives the bench app with 200 clients in each scenario.
func TestBench(t *testing.T) {
	addr := start(t, "--app", "bench")
	for _, scenario := range []string{"idle", "connect", "echo", "burst", "single", "targeted", "sparse", "busy", "churn", "joins"} {
		t.Run(scenario, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "result.json")
			var stdout, stderr bytes.Buffer
			status := run(t.Context(), []string{
				"bench", "http://" + addr, "--scenario", scenario, "--clients", "200", "--rounds", "2", "--messages", "500",
				"--hold", "10ms", "--message-rate", "2000", "--senders", "20", "--pid", strconv.Itoa(os.Getpid()), "--gc", "--json", file, "--timeout", "60s",
			}, &stdout, &stderr)
			if status != 0 {
				t.Fatalf("status %d: %s", status, stderr.String())
			}
			if text := stdout.String(); !strings.Contains(text, "200 clients in 1 process") || !strings.Contains(text, "server CPU") {
				t.Errorf("printed\n%s", text)
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var result struct {
				Connections struct{ Opened, Failed, Lost int }
				Messages    struct{ Expected, Delivered, Lost int }
			}
			if err := json.Unmarshal(data, &result); err != nil {
				t.Fatal(err)
			}
			want := map[string]int{"echo": 500, "burst": 200 * 100 * 2, "single": 200 * 2, "targeted": 500, "sparse": 500, "busy": 500, "churn": 500, "joins": 500}[scenario]
			if result.Messages.Delivered != want || result.Messages.Lost != 0 || result.Connections.Opened < 200 || result.Connections.Lost != 0 {
				t.Errorf("%+v, want %d messages", result, want)
			}
		})
	}
}

// TestBenchDrops has clients lose their connections at a node with recovery, which loses nothing, and at one without.
func TestBenchDrops(t *testing.T) {
	for _, tc := range []struct {
		scenario string
		serve    []string
		status   int
		want     string
	}{
		{"jitter", []string{"--connection-state-recovery", "2m"}, 0, "60 (100.000 %) with their session"},
		{"avalanche", []string{"--connection-state-recovery", "2m"}, 0, "100.000 % of the messages that were due"},
		{"avalanche", nil, exitFailure, "0 (0.000 %) with their session"},
	} {
		addr := start(t, append([]string{"--app", "bench"}, tc.serve...)...)
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), []string{
			"bench", "http://" + addr, "--scenario", tc.scenario, "--clients", "30", "--duration", "600ms", "--drop-every", "300ms",
			"--drop-for", "50ms", "--message-rate", "100", "--reconnect", "immediate", "--timeout", "2s",
		}, &stdout, &stderr)
		if status != tc.status || !strings.Contains(stdout.String(), tc.want) {
			t.Errorf("%s %q: status %d, %s\n%s", tc.scenario, tc.serve, status, stderr.String(), stdout.String())
		}
	}
}

func TestBenchErrors(t *testing.T) {
	addr := start(t, "--app", "bench")
	other := start(t, "--app", "conformance") // which does not know the event join
	for _, tc := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"http://" + addr, "--scenario", "swim"}, exitUsage, "--scenario must be one of"},
		{[]string{"http://" + addr, "--size", "3"}, exitUsage, "size must be at least 48"},
		{[]string{"http://" + addr, "--pid-tree"}, exitUsage, "--pid-tree needs --pid"},
		{[]string{"http://" + addr, "--to", "room"}, exitUsage, "in targeted only"},
		{[]string{"http://" + addr, "--rooms", "3"}, exitUsage, "rooms belong to"},
		{[]string{"http://" + addr, "--scenario", "jitter", "--other", addr}, exitUsage, "at one node"},
		{[]string{"http://" + addr, "--other", "ftp://" + addr}, exitUsage, "scheme"},
		{[]string{"http://" + addr, "--source", "here"}, exitUsage, "not an IP address"},
		{[]string{"http://" + addr, "--scenario", "jitter", "--drop-every", "1s"}, exitUsage, "connections must hold for a while"},
		{[]string{"http://" + addr, "--reconnect", "never"}, exitUsage, "--reconnect must be one of"},
		{[]string{"ftp://" + addr}, exitUsage, "scheme"},
		{[]string{"http://" + addr + "/elsewhere/"}, exitFailure, "status 404: not a Socket.IO server"},
		{[]string{"http://" + addr, "--pid", "1073741824"}, exitFailure, "there is no process 1073741824"},
		{[]string{"http://" + other, "--timeout", "200ms"}, exitFailure, "does not answer the event join(room, ack) within 200ms: the scenario echo needs the bench app there (sockeye serve --app bench)"},
	} {
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), append([]string{"bench", "--quiet"}, tc.args...), &stdout, &stderr)
		if status != tc.status || !strings.Contains(stderr.String(), tc.want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%q: status %d, %q; want %d and one line with %q", tc.args, status, stderr.String(), tc.status, tc.want)
		}
	}
}
