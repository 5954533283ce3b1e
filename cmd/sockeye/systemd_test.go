package main

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSystemd is the supervisor of a node: it hears that the node is ready, alive, reloading, ready again and stopping.
func TestSystemd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := socket.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	await := func(want string) string {
		t.Helper()
		for buf := make([]byte, 1024); ; {
			n, err := socket.Read(buf)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			if got := string(buf[:n]); strings.HasPrefix(got, want) {
				return got
			}
		}
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "50000")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	status := make(chan int, 1)
	go func() { status <- run(ctx, []string{"serve", "--addr", "127.0.0.1:0"}, io.Discard, io.Discard) }()
	await("READY=1")
	await("WATCHDOG=1")
	await("WATCHDOG=1")
	hangUp(t)
	if got := await("RELOADING=1"); !strings.Contains(got, "\nMONOTONIC_USEC=") {
		t.Errorf("reloading without its time: %q", got)
	}
	await("READY=1")
	cancel()
	await("STOPPING=1")
	if got := <-status; got != 0 {
		t.Errorf("status %d", got)
	}
}
