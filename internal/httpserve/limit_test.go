//go:build linux || darwin

package httpserve

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestDescriptorLimit is TestReserve with a real listener in a process that has no descriptor left.
func TestDescriptorLimit(t *testing.T) {
	listener, err := Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	s := Server{
		Handler: http.NotFoundHandler(), Log: discard(), Values: ctx, Timeout: time.Minute,
		Shutdown: func(context.Context) error { return nil },
	}
	// They wait in the kernel's queue, with the client's half of the descriptors.
	var clients []net.Conn
	for range 4 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		clients = append(clients, conn)
	}
	r := newReserve(listener, s.Log)
	free := exhaust(t)
	defer free()
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, _ := r.Accept()
		accepted <- conn
	}()
	for i, conn := range clients {
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("client %d: %v", i, err)
		}
	}
	free()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if served := <-accepted; served == nil {
		t.Error("not served with descriptors left")
	} else {
		_ = served.Close()
	}
	r.spend()
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, listener) }()
	end()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// exhaust takes all descriptors that are left, of a lowered limit, until the function that it returns is called.
func exhaust(t *testing.T) (free func()) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Skipf("the system has no such limit: %v", err)
	}
	lowered := before
	lowered.Cur = min(before.Cur, 256)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &lowered); err != nil {
		t.Fatal(err)
	}
	var files []*os.File
	for {
		file, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		files = append(files, file)
	}
	return sync.OnceFunc(func() {
		for _, file := range files {
			_ = file.Close()
		}
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)
	})
}
