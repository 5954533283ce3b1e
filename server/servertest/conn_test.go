package servertest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func pair(limit int) (client, server *conn) {
	return newConnPair(&net.TCPAddr{IP: clientIP, Port: firstPort}, serverAddr, limit)
}

func TestConnBuffers(t *testing.T) {
	a, b := pair(8)
	for _, s := range []string{"abc", "defgh"} { // nobody reads yet
		if n, err := a.Write([]byte(s)); n != len(s) || err != nil {
			t.Fatalf("write %q: %d, %v", s, n, err)
		}
	}
	buf := make([]byte, 5)
	if n, err := b.Read(buf); err != nil || string(buf[:n]) != "abcde" {
		t.Fatalf("read %q, %v", buf[:n], err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(b)
	if err != nil || string(rest) != "fgh" {
		t.Fatalf("read %q, %v after the close", rest, err)
	}
}

func TestConnWriteBlocksUntilRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(4)
		written := false
		go func() {
			if n, err := a.Write([]byte("0123456789")); n != 10 || err != nil {
				t.Errorf("write: %d, %v", n, err)
			}
			written = true
		}()
		synctest.Wait()
		if written {
			t.Fatal("a write of 10 bytes fitted into 4")
		}
		buf := make([]byte, 10)
		if _, err := io.ReadFull(b, buf); err != nil || string(buf) != "0123456789" {
			t.Fatalf("read %q, %v", buf, err)
		}
		synctest.Wait()
		if !written {
			t.Fatal("the write still blocks")
		}
	})
}

func TestConnEndsWhileBlocked(t *testing.T) {
	full := make([]byte, 8)
	read := func(c *conn) (int, error) { return c.Read(make([]byte, 1)) }
	write := func(c *conn) (int, error) { return c.Write(full) }
	after := 3 * time.Second
	tests := []struct {
		name  string
		block func(c *conn) (int, error)
		end   func(c, peer *conn)
		n     int
		want  error
	}{
		{"read, closed", read, func(c, _ *conn) { _ = c.Close() }, 0, net.ErrClosed},
		{"read, peer closed", read, func(_, peer *conn) { _ = peer.Close() }, 0, io.EOF},
		{"read, deadline", read, func(c, _ *conn) { _ = c.SetReadDeadline(time.Now()) }, 0, os.ErrDeadlineExceeded},
		{"read, later deadline", read, func(c, _ *conn) { _ = c.SetDeadline(time.Now().Add(after)) }, 0, os.ErrDeadlineExceeded},
		{"write, closed", write, func(c, _ *conn) { _ = c.Close() }, 5, net.ErrClosed},
		{"write, peer closed", write, func(_, peer *conn) { _ = peer.Close() }, 5, io.ErrClosedPipe},
		{"write, deadline", write, func(c, _ *conn) { _ = c.SetWriteDeadline(time.Unix(1, 0)) }, 5, os.ErrDeadlineExceeded},
		{"write, later deadline", write, func(c, _ *conn) { _ = c.SetDeadline(time.Now().Add(after)) }, 5, os.ErrDeadlineExceeded},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, b := pair(5)
				done := false
				go func() {
					defer func() { done = true }()
					n, err := tt.block(a)
					if n != tt.n || !errors.Is(err, tt.want) {
						t.Errorf("%d, %v, want %d, %v", n, err, tt.n, tt.want)
					}
					var timeout net.Error
					if want := tt.want == os.ErrDeadlineExceeded; errors.As(err, &timeout) && timeout.Timeout() != want {
						t.Errorf("Timeout() of %v is not %t", err, want)
					}
				}()
				synctest.Wait()
				if done {
					t.Fatal("did not block")
				}
				tt.end(a, b)
				time.Sleep(after)
				synctest.Wait()
				if !done {
					t.Fatal("still blocks")
				}
			})
		})
	}
}

func TestConnDeadlineCanBeMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(5)
		start := time.Now()
		for _, d := range []time.Duration{time.Second, time.Hour} {
			if err := a.SetReadDeadline(start.Add(d)); err != nil {
				t.Fatal(err)
			}
		}
		time.AfterFunc(time.Minute, func() { _, _ = b.Write([]byte("x")) })
		buf := make([]byte, 1)
		if _, err := a.Read(buf); err != nil || time.Since(start) != time.Minute {
			t.Errorf("read: %v after %v", err, time.Since(start))
		}
		if _, err := a.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Hour {
			t.Errorf("second read: %v after %v", err, time.Since(start))
		}
		if _, err := a.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("third read: %v, the deadline must hold", err)
		}
		if err := a.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		_, _ = b.Write([]byte("y"))
		if _, err := a.Read(buf); err != nil {
			t.Errorf("read without deadline: %v", err)
		}
	})
}

func TestConnAfterClose(t *testing.T) {
	a, b := pair(5)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	_, readErr := a.Read(nil)
	_, writeErr := a.Write(nil)
	for what, err := range map[string]error{
		"read": readErr, "write": writeErr, "close": a.Close(), "set deadline": a.SetDeadline(time.Now()),
	} {
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s on a closed connection: %v", what, err)
		}
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("write to a closed peer: %v", err)
	}
}

// TestConnWritesAreNotTorn has several writers whose writes do not fit into the buffer.
func TestConnWritesAreNotTorn(t *testing.T) {
	const writers, size, rounds = 4, 100, 20
	a, b := pair(16)
	var done sync.WaitGroup
	for i := range writers {
		done.Go(func() {
			for range rounds {
				if _, err := a.Write(bytes.Repeat([]byte{byte(i)}, size)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	buf := make([]byte, size)
	for range writers * rounds {
		if _, err := io.ReadFull(b, buf); err != nil {
			t.Fatal(err)
		}
		if len(slices.Compact(buf)) != 1 {
			t.Fatal("writes are mixed")
		}
	}
	done.Wait()
}

func TestConnHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := pair(5)
		_, _ = b.Write([]byte("abc"))
		a.hold(true)
		got := ""
		go func() {
			buf := make([]byte, 5)
			n, _ := a.Read(buf)
			got = string(buf[:n])
		}()
		synctest.Wait()
		if got != "" {
			t.Fatalf("read %q from a held connection", got)
		}
		a.hold(false)
		synctest.Wait()
		if got != "abc" {
			t.Fatalf("read %q", got)
		}
	})
}

func TestListener(t *testing.T) {
	l := newListener(16)
	accepted := make(chan net.Conn, 2)
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("accept: %v", err)
				}
				return
			}
			accepted <- c
		}
	})
	first, err := l.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server := <-accepted
	if server.RemoteAddr().String() != first.LocalAddr().String() || first.LocalAddr().String() == second.LocalAddr().String() {
		t.Errorf("addresses: %v, %v, %v", server.RemoteAddr(), first.LocalAddr(), second.LocalAddr())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	done.Wait()
	for _, c := range []*conn{first, second} {
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read after the listener closed: %v", err)
		}
	}
	if _, err := l.dial(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial after the listener closed: %v", err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	if len(l.conns) != 0 {
		t.Errorf("%d connections are remembered", len(l.conns))
	}
}

func TestDialGivesUp(t *testing.T) {
	l := newListener(16)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.dial(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("dial: %v", err)
	}
	if len(l.conns) != 0 {
		t.Errorf("%d connections are remembered", len(l.conns))
	}
}
