package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestMetrics asks a node of each kind of app on the address for operators, and finds nothing where clients are.
func TestMetrics(t *testing.T) {
	for app, want := range map[string][]string{
		"chat":   {"\nsockeye_connections{", "\nsockeye_directory_store_up 1\n", "\nprocess_open_fds ", "\ngo_goroutines "},
		"engine": {"\nsockeye_build_info{", "\nprocess_open_fds "},
	} {
		t.Run(app, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			operators := listener.Addr().String()
			listener.Close()
			node := start(t, "--app", app, "--admin-addr", operators)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for addr, status := range map[string]int{operators: http.StatusOK, node: http.StatusNotFound} {
				resp, err := client.Get("http://" + addr + "/metrics")
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != status {
					t.Errorf("%s: %d, %v", addr, resp.StatusCode, err)
				}
				for _, text := range want {
					if got := strings.Contains(string(body), text); got != (status == http.StatusOK) {
						t.Errorf("%s: %q is there: %v", addr, text, got)
					}
				}
			}
		})
	}
}
