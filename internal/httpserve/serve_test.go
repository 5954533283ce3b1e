package httpserve

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestHTTPLog holds that an operator sees that no connection can be accepted, and is not bothered with clients' errors.
func TestHTTPLog(t *testing.T) {
	var out bytes.Buffer
	log := slog.NewLogLogger(httpLog{slog.NewTextHandler(&out, nil)}, slog.LevelDebug)
	log.Print("http: TLS handshake error from a client")
	log.Print("http: Accept error: accept4: too many open files; retrying in 1s")
	if text := out.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "too many open files") {
		t.Errorf("logged %q", text)
	}
}

// pipes is a listener in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// TestHalfHeader: who does not end the head of a request is cut, and who is between two requests gets longer.
func TestHalfHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		ctx, end := context.WithCancel(t.Context())
		s := Server{
			Handler: http.NotFoundHandler(), Log: discard(), Values: ctx, Timeout: time.Second,
			Shutdown: func(context.Context) error { return nil },
		}
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		for text, life := range map[string]time.Duration{
			"":                                    readHeaderTimeout,
			"GET / HTTP/1.1\r\nHo":                readHeaderTimeout,
			"GET / HTTP/1.1\r\nHost: a\r\n\r\n":   idleTimeout,
			"GET / HTTP/1.1\r\nHost: a\r\n\r\nGE": idleTimeout + readHeaderTimeout, // at most
		} {
			conn := l.dial()
			start := time.Now()
			go func() { _, _ = io.WriteString(conn, text) }()
			_, _ = io.Copy(io.Discard, conn)
			if lived := time.Since(start); lived < readHeaderTimeout || lived > life {
				t.Errorf("%q: cut after %v, want %v", text, lived, life)
			}
			_ = conn.Close()
		}
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestOrderOfTheEnd: what is behind the handler ends before the HTTP server waits for its requests, and a connection on which
// nothing was asked holds nothing up.
func TestOrderOfTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		ctx, end := context.WithCancel(t.Context())
		parked := make(chan struct{})
		s := Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				select {
				case <-parked:
				case <-r.Context().Done():
					t.Error("the end of the server ended a request's context")
				}
				_, _ = io.WriteString(w, "bye")
			}),
			Log: discard(), Values: ctx, Timeout: time.Hour,
			Shutdown: func(context.Context) error { close(parked); return nil },
		}
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		silent, asking := l.dial(), l.dial()
		defer silent.Close()
		_, _ = io.WriteString(asking, "GET / HTTP/1.0\r\n\r\n")
		synctest.Wait()
		start := time.Now()
		end()
		answer, _ := io.ReadAll(asking)
		if !strings.HasSuffix(string(answer), "bye") {
			t.Errorf("answered %q", answer)
		}
		if err := <-done; err != nil || time.Since(start) > time.Second {
			t.Errorf("ended after %v: %v", time.Since(start), err)
		}
	})
}

// TestDrain: while Drain runs requests are answered, new connections taken; it is told why.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		why := errors.New("enough")
		ctx, end := context.WithCancelCause(t.Context())
		draining, goOn := make(chan error), make(chan struct{})
		s := Server{
			Handler: http.NotFoundHandler(), Log: discard(), Values: ctx, Timeout: time.Second,
			Drain:    func(cause error) { draining <- cause; <-goOn },
			Shutdown: func(context.Context) error { return nil },
		}
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		end(why)
		if cause := <-draining; cause != why {
			t.Errorf("cause %v", cause)
		}
		conn := l.dial()
		_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		if answer, _ := io.ReadAll(conn); !strings.Contains(string(answer), "404") {
			t.Errorf("answered %q", answer)
		}
		close(goOn)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestEndThatFails: a request that does not end is cut at the deadline, and said so.
func TestEndThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		ctx, end := context.WithCancel(t.Context())
		s := Server{
			Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
			Log:     discard(), Values: ctx, Timeout: time.Minute,
			Shutdown: func(context.Context) error { return errors.New("stuck") },
		}
		done := make(chan error, 1)
		go func() { done <- s.Serve(ctx, l) }()
		conn := l.dial()
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n")
		synctest.Wait()
		end()
		err := <-done
		if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "shut down: stuck") {
			t.Errorf("got %v", err)
		}
	})
}

// table is how many descriptors are left, and a listener that needs one for each connection, which it does not wait for.
type table struct {
	*pipes
	left atomic.Int32
}

func (f *table) take() error {
	if f.left.Add(-1) < 0 {
		f.left.Add(1)
		return syscall.EMFILE
	}
	return nil
}

func (f *table) give() { f.left.Add(1) }

func (f *table) Accept() (net.Conn, error) {
	if err := f.take(); err != nil {
		return nil, &net.OpError{Op: "accept", Err: err}
	}
	conn, err := f.pipes.Accept()
	if err != nil {
		f.give()
		return nil, err
	}
	return &counted{conn, f}, nil
}

type counted struct {
	net.Conn
	of *table
}

func (c *counted) Close() error { c.of.give(); return c.Conn.Close() }

type descriptor struct{ of *table }

func (d descriptor) Close() error { d.of.give(); return nil }

// TestReserve: with no descriptor left each connection is closed at once, seldom logged, and the next one is served as soon as there
// is one again.
func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		l := &table{pipes: newPipes()}
		l.left.Store(2) // one in reserve, one to be had
		r := &reserve{Listener: l, log: slog.New(slog.NewTextHandler(&log, nil)), open: func() (io.Closer, error) {
			if err := l.take(); err != nil {
				return nil, err
			}
			return descriptor{l}, nil
		}}
		r.keep()
		accepted := make(chan net.Conn)
		go func() {
			for range 2 {
				conn, _ := r.Accept()
				accepted <- conn
			}
		}()
		first := l.dial()
		defer first.Close()
		served := <-accepted
		for range 3 {
			conn := l.dial()
			if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Fatalf("read %d bytes, %v", n, err)
			}
			_ = conn.Close()
			synctest.Wait()
		}
		_ = served.Close()
		last := l.dial()
		defer last.Close()
		if conn := <-accepted; conn == nil {
			t.Error("not served with a descriptor left")
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "no descriptors left") {
			t.Errorf("%d lines:\n%s", n, &log)
		}
		if left := l.left.Load(); left != 0 || r.kept == nil {
			t.Errorf("%d descriptors left, reserve %v", left, r.kept)
		}
	})
}

// TestNothingToKeep: where there is no file to keep open, connections are served all the same.
func TestNothingToKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		r := &reserve{Listener: l, log: discard(), open: func() (io.Closer, error) { return nil, fs.ErrNotExist }}
		if !r.keep() {
			t.Error("the reserve says that there are no descriptors")
		}
		go func() { _ = l.dial().Close() }()
		conn, err := r.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("x")); err != io.ErrClosedPipe && err != io.EOF {
			t.Errorf("write to a client that has gone: %v", err)
		}
		_ = conn.Close()
	})
}
