package engine

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http/httptest"
	"reflect"
	"testing"
	"unsafe"
)

// TestReleaseTLS fails when crypto/tls has changed so that its buffers cannot be found: connections then take more memory.
func TestReleaseTLS(t *testing.T) {
	if !tlsLayout.known {
		t.Fatal("crypto/tls keeps its buffers elsewhere now")
	}
	hs := httptest.NewUnstartedServer(nil)
	hs.StartTLS() // makes a certificate
	hs.Close()
	a, b := net.Pipe()
	client := tls.Client(a, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the test's own certificate
	server := tls.Server(b, &tls.Config{Certificates: hs.TLS.Certificates})
	defer a.Close()
	defer b.Close()
	rawInput := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(server), tlsLayout.rawInput))
	hand := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(server), tlsLayout.hand))

	text := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	go func() {
		for _, n := range []int{1, 16_000, 1, 500, 16_000} {
			_, _ = client.Write(text[:n])
		}
	}()
	read := func(n int) {
		t.Helper()
		got := make([]byte, n)
		if _, err := io.ReadFull(server, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, text[:n]) {
			t.Errorf("%d bytes are not those that were sent", n)
		}
	}
	read(1)
	if hand.Cap() == 0 {
		t.Error("the handshake has left no buffer")
	}
	releaseTLS(server)
	if hand.Cap() != 0 || rawInput.Cap() > keepTLSBuffer {
		t.Errorf("%d and %d bytes are kept", hand.Cap(), rawInput.Cap())
	}
	read(16_000)
	releaseTLS(server)
	if rawInput.Cap() != 0 {
		t.Errorf("%d bytes are kept after a large message", rawInput.Cap())
	}
	read(1)
	read(500)
	if before := rawInput.Cap(); before == 0 || before > keepTLSBuffer {
		t.Errorf("small messages take %d bytes", before)
	}
	if _, err := io.ReadFull(server, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	releaseTLS(server) // what has not been read stays
	rest := make([]byte, 16_000-10)
	if _, err := io.ReadFull(server, rest); err != nil || !bytes.Equal(rest, text[10:16_000]) {
		t.Errorf("the rest of a record that was read in part is not what was sent: %v", err)
	}
	releaseTLS(a) // no TLS
}

// TestTLSLayout: nothing is touched in connections that have other fields.
func TestTLSLayout(t *testing.T) {
	fields := func(types ...reflect.Type) reflect.Type {
		var list []reflect.StructField
		for i, name := range []string{"rawInput", "hand", "input"}[:len(types)] {
			list = append(list, reflect.StructField{Name: name, PkgPath: "crypto/tls", Type: types[i]})
		}
		return reflect.StructOf(list)
	}
	buffer, reader := reflect.TypeFor[bytes.Buffer](), reflect.TypeFor[bytes.Reader]()
	within := reflect.StructOf([]reflect.StructField{{Name: "Inner", Anonymous: true, Type: fields(buffer, buffer, reader)}})
	for conn, want := range map[reflect.Type]bool{
		fields(buffer, buffer): false, fields(buffer, buffer, buffer): false, within: false, fields(buffer, buffer, reader): true,
	} {
		if layoutOf(conn).known != want {
			t.Errorf("%v counts as known: %v", conn, !want)
		}
	}
}
