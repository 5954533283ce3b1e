package engine

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// tellsTime reports whether what comes on a connection of l has a time, which begins a moment after the kernel was asked.
func tellsTime(t *testing.T, l net.Listener) bool {
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(client, "x")
	stamp := int64(0)
	err = rawConn(conn).Read(func(fd uintptr) bool {
		var p, oob [64]byte
		_, n, _, _, err := syscall.Recvmsg(int(fd), p[:], oob[:], 0)
		stamp = stampOf(oob[:max(n, 0)])
		return err == nil
	})
	return err == nil && stamp > 0
}

// The kernel's times put what comes on several connections in order, whoever reads first, and nothing of a connection that has
// gone is left.
func TestArrivalTimes(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stampArrivals(plain)
	eventually(t, "the kernel tells times", func() bool { return tellsTime(t, plain) })
	web := &http.Server{Handler: http.NotFoundHandler()}
	served := make(chan struct{})
	go func() {
		_ = web.Serve(NewListener(plain))
		close(served)
	}()
	defer func() { _ = web.Close(); <-served }()
	const connections = 5
	for round := range 20 {
		sid := fmt.Sprintf("AAAABBBBCCCCDDDD%04d", round)
		var conns [connections]net.Conn
		for i := range conns {
			if conns[i], err = net.Dial("tcp", plain.Addr().String()); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now().UnixNano()
		for _, conn := range conns {
			// Without its end: nobody serves it.
			fmt.Fprintf(conn, "GET /?sid=%s HTTP/1.1\r\n", sid)
		}
		var got []string
		var times []int64
		eventually(t, "all have been read", func() bool {
			inFlight.mu.Lock()
			defer inFlight.mu.Unlock()
			got, times = nil, nil
			for a := inFlight.first[arrivalKey([]byte(sid))]; a != nil; a = a.next {
				got, times = append(got, a.from), append(times, a.at)
			}
			return len(got) == connections
		})
		for i, conn := range conns {
			if got[i] != conn.LocalAddr().String() {
				t.Errorf("round %d: place %d of %v is not that of %v", round, i, got, conn.LocalAddr())
			}
			if times[i] < start || times[i] > time.Now().UnixNano() {
				t.Errorf("arrived at %d, sent after %d", times[i], start)
			}
			_ = conn.Close()
		}
		eventually(t, "nothing is left", inFlight.empty)
	}
}

// A request whose first byte is read alone is noted too: net/http does that when it comes right behind the answer to the one before.
func TestLeadingByte(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := NewListener(plain)
	defer l.Close()
	client, err := net.Dial("tcp", plain.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, method := range []string{"GET", "POST", "GET"} {
		const sid = "AAAABBBBCCCCDDDDEEEF"
		request := method + " /?sid=" + sid + " HTTP/1.1\r\n\r\n"
		if _, err := io.WriteString(client, request); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		for rest := make([]byte, len(request)-1); len(rest) > 0; {
			n, err := conn.Read(rest)
			if err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		inFlight.mu.Lock()
		noted := inFlight.first[arrivalKey([]byte(sid))]
		inFlight.mu.Unlock()
		if noted == nil || noted.next != nil || noted.from != client.LocalAddr().String() {
			t.Errorf("%s: noted %+v", method, noted)
		}
	}
	_ = conn.Close()
	if !inFlight.empty() {
		t.Error("something is left on the list")
	}
}
