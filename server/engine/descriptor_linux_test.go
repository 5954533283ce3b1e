package engine

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// descriptorPair returns a descriptor and its peer. change may put a wrapper around the server's end.
func descriptorPair(t *testing.T, change func(net.Conn) net.Conn) (*descriptor, *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = peer.Close() })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	d := ownDescriptor(change(conn))
	if d == nil {
		t.Fatal("no descriptor")
	}
	t.Cleanup(func() { _ = d.Close() })
	if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the connection that was taken over says %v", err)
	}
	return d, peer.(*net.TCPConn)
}

func unchanged(c net.Conn) net.Conn { return c }

// What has to wait does, until it can go on, or until its deadline.
func TestDescriptorWaits(t *testing.T) {
	d, peer := descriptorPair(t, unchanged)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	wrote := make(chan error, 1)
	go func() {
		n, err := d.Write(want)
		if err == nil && n != len(want) {
			err = io.ErrShortWrite
		}
		wrote <- errors.Join(err, d.CloseWrite())
	}()
	got, err := io.ReadAll(peer)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d arrived: %v", len(got), len(want), err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	_ = d.SetDeadline(time.Now().Add(time.Millisecond))
	buf := make([]byte, 16)
	if _, err := d.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a read without an end: %v", err)
	}
	_ = d.SetDeadline(time.Time{})
	read := make(chan string, 1)
	go func() {
		n, err := d.Read(buf)
		read <- string(buf[:n]) + " " + errorText(err)
	}()
	if _, err := peer.Write([]byte("later")); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got != "later nil" {
		t.Errorf("read %q", got)
	}
	if err := peer.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(buf); err != io.EOF {
		t.Errorf("the end is read as %v", err)
	}
}

func errorText(err error) string {
	if err == nil {
		return "nil"
	}
	return err.Error()
}

// Close ends a call that waits; afterwards nothing reaches the descriptor, which may be another's by then.
func TestDescriptorClose(t *testing.T) {
	for _, wait := range []struct {
		name string
		call func(*descriptor) error
	}{
		{"write", func(d *descriptor) error { _, err := d.Write(make([]byte, 64<<20)); return err }},
		{"read", func(d *descriptor) error { _, err := d.Read(make([]byte, 1)); return err }},
	} {
		d, peer := descriptorPair(t, unchanged)
		ended := make(chan error, 1)
		go func() { ended <- wait.call(d) }()
		for d.waiting.Load() == nil {
			runtime.Gosched()
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err == nil {
			t.Errorf("%s: no error", wait.name)
		}
		if _, err := io.Copy(io.Discard, peer); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
		called := false
		use := func(uintptr) bool { called = true; return true }
		for name, err := range map[string]error{
			"Close": d.Close(), "CloseWrite": d.CloseWrite(), "Control": d.raw().Control(func(uintptr) { called = true }),
			"raw Read": d.raw().Read(use), "raw Write": d.raw().Write(use), "call": wait.call(d),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s after %s and Close: %v", name, wait.name, err)
			}
		}
		if called {
			t.Error("a closed descriptor was used")
		}
	}
}

// endWrapper leaves the bytes as they are and wants to hear of the end.
type endWrapper struct {
	transparent
	ended chan struct{}
}

func (w endWrapper) Close() error {
	close(w.ended)
	return w.inner.Close()
}

// A wrapper hears of the end when it comes, not when its connection is taken over.
func TestDescriptorWrapper(t *testing.T) {
	ended := make(chan struct{})
	d, _ := descriptorPair(t, func(c net.Conn) net.Conn {
		raw := rawConn(c)
		return &pollConn{Conn: endWrapper{transparent{opaque{c}, c}, ended}, raw: raw}
	})
	select {
	case <-ended:
		t.Error("closed too early")
	default:
	}
	_ = d.Close()
	<-ended
	if ownDescriptor(opaque{nil}) != nil {
		t.Error("a wrapper that changes the bytes was taken over")
	}
}
