package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestServers asks each server for all it knows.
func TestServers(t *testing.T) {
	for _, kind := range []string{serveGoroutines, serveHot, serveGobwas} {
		t.Run(kind, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- serveOn(kind, l) }()
			c := connect(t, l.Addr().String())
			c.want(t, openPacket)
			long := `["message","` + strings.Repeat("x", 70_000) + `"]`
			for _, tc := range [][2]string{
				{"40", `40{"sid":"floor"}`},
				{`420["join","room"]`, "430[]"},
				{`42["message","hi"]`, `42["message-back","hi"]`},
				{"42" + long, "42" + strings.Replace(long, "message", "message-back", 1)},
				{`427["compute",1]`, "437[0]"},
			} {
				c.send(t, tc[0])
				c.want(t, tc[1])
			}
			c.send(t, `428["compute",0]`)
			if text := c.read(t); !strings.HasPrefix(text, "438[") {
				t.Errorf("compute answered %q", text)
			}
			c.conn.Write([]byte{0x88, 0x80, 0, 0, 0, 0})
			if _, err := io.Copy(io.Discard, c.r); err != nil && !errors.Is(err, net.ErrClosed) {
				t.Errorf("after the close frame: %v", err)
			}
			l.Close()
			if err := <-ended; !errors.Is(err, net.ErrClosed) {
				t.Error(err)
			}
		})
	}
	if err := serveOn("steam", nil); err == nil {
		t.Error("an unknown server serves")
	}
}

type testClient struct {
	conn net.Conn
	r    *bufio.Reader
}

func connect(t *testing.T, address string) *testClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &testClient{conn, bufio.NewReader(conn)}
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: floor\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	res, err := http.ReadResponse(c.r, nil)
	if err != nil || res.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455 section 1.3
		t.Fatalf("%v, %+v", err, res)
	}
	return c
}

// send sends a masked text frame in two pieces.
func (c *testClient) send(t *testing.T, packet string) {
	t.Helper()
	frame := appendFrame(nil, packet, nil)
	head := len(frame) - len(packet)
	masked := append(append([]byte{}, frame[:head]...), 1, 2, 3, 4)
	masked[1] |= 0x80
	for i := range len(packet) {
		masked = append(masked, packet[i]^byte(1+i%4))
	}
	for _, part := range [][]byte{masked[:3], masked[3:]} {
		if _, err := c.conn.Write(part); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *testClient) want(t *testing.T, packet string) {
	t.Helper()
	if got := c.read(t); got != packet {
		t.Fatalf("got %.100q, want %.100q", got, packet)
	}
}

func (c *testClient) read(t *testing.T) string {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(c.r, head); err != nil {
		t.Fatal(err)
	}
	size := int(head[1])
	if wide := map[int]int{126: 2, 127: 8}[size]; wide > 0 {
		size = 0
		for range wide {
			b, err := c.r.ReadByte()
			if err != nil {
				t.Fatal(err)
			}
			size = size<<8 | int(b)
		}
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(c.r, payload); err != nil {
		t.Fatal(err)
	}
	return string(payload)
}

// FuzzFeed has the loop of the floors read anything, whole and in two pieces, which must come to the same.
func FuzzFeed(f *testing.F) {
	f.Add([]byte("\x81\x8240404040"), 3)
	f.Add([]byte("\x81\xfe\x00\x02\x00\x00\x00\x0040"), 5)
	compute = func(int) int64 { return 0 } // anything may ask for goroutines that compute
	f.Cleanup(func() { compute = work.Set })
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		at = min(max(at, 0), len(data))
		rest, whole, err := feed(nil, append([]byte{}, data...), nil)
		first, pieces, err1 := feed(nil, append([]byte{}, data[:at]...), nil)
		if err1 == nil {
			first, pieces, err1 = feed(first, append([]byte{}, data[at:]...), pieces)
		}
		if (err == nil) != (err1 == nil) || err == nil && (string(whole) != string(pieces) || string(rest) != string(first)) {
			t.Errorf("%q: %q, %q, %v whole; %q, %q, %v in pieces", data, whole, rest, err, pieces, first, err1)
		}
	})
}
