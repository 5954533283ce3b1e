package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestProfiles takes profiles from the address for operators, where they are on demand, and not from the one for clients.
func TestProfiles(t *testing.T) {
	with := startNode(t, "with", []string{"--admin-addr", "127.0.0.1:0", "--pprof"})
	without := startNode(t, "without", []string{"--admin-addr", "127.0.0.1:0"})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, tc := range []struct {
		url    string
		status int
		magic  string // the first bytes
	}{
		{with.operators() + "debug/pprof/", http.StatusOK, "<html>"},
		{with.operators() + "debug/pprof/cmdline", http.StatusOK, ""},
		{with.operators() + "debug/pprof/allocs", http.StatusOK, "\x1f\x8b"},
		{with.operators() + "debug/pprof/profile?seconds=1", http.StatusOK, "\x1f\x8b"},
		{"http://" + with.addr + "/debug/pprof/allocs", http.StatusNotFound, ""},
		{without.operators() + "debug/pprof/allocs", http.StatusNotFound, ""},
	} {
		resp, err := client.Get(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != tc.status || !bytes.HasPrefix(body, []byte(tc.magic)) {
			t.Errorf("%s: %d, %.20q, %v", tc.url, resp.StatusCode, body, err)
		}
	}
}

// TestLoopbackHosts: a name that leads to a loopback address reaches no profile without a credential.
func TestLoopbackHosts(t *testing.T) {
	h := (*adminAuth)(nil).protect(profileHandlers())
	for host, want := range map[string]int{
		"localhost": 200, "LOCALHOST:9000": 200, "127.0.0.1:9000": 200, "127.0.0.2": 200, "[::1]:9000": 200, "[::1]": 200,
		"": 403, "evil.example": 403, "evil.example:9000": 403, "localhost.evil.example": 403, "10.0.0.1:9000": 403,
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/debug/pprof/cmdline", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("host %q: %d, want %d", host, w.Code, want)
		}
	}
}
