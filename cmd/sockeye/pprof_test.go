package main

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"testing"
)

// TestProfiles takes profiles from their own address, which has nothing else, and not from the node's.
func TestProfiles(t *testing.T) {
	node := start(t)
	var logs bytes.Buffer
	p, err := startProfiles("127.0.0.1:0", slog.New(slog.NewTextHandler(&logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	url := regexp.MustCompile(`url=(http://\S+/)debug/pprof/`).FindSubmatch(logs.Bytes())
	if url == nil {
		t.Fatalf("logged %q", logs.String())
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, tc := range []struct {
		base, path string
		status     int
		magic      string // the first bytes
	}{
		{string(url[1]), "debug/pprof/", http.StatusOK, "<html>"},
		{string(url[1]), "debug/pprof/allocs", http.StatusOK, "\x1f\x8b"},
		{string(url[1]), "debug/pprof/profile?seconds=1", http.StatusOK, "\x1f\x8b"},
		{string(url[1]), "", http.StatusNotFound, ""},
		{"http://" + node + "/", "debug/pprof/allocs", http.StatusNotFound, ""},
	} {
		resp, err := client.Get(tc.base + tc.path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tc.status || !bytes.HasPrefix(body, []byte(tc.magic)) {
			t.Errorf("%s%s: %d, %.20q, %v", tc.base, tc.path, resp.StatusCode, body, err)
		}
	}
}

// TestProfilesWithNode starts both with one command, and ends both.
func TestProfilesWithNode(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	start(t, "--pprof-addr", addr)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + "/debug/pprof/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d", resp.StatusCode)
	}
}
