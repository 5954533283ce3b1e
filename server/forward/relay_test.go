package forward

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// pair returns the two ends of a TCP connection.
func pair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dialed.Close(); _ = accepted.Close() })
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

// hidden is a connection of which the descriptor cannot be seen.
type hidden struct{ net.Conn }

func (h hidden) CloseWrite() error { return h.Conn.(*net.TCPConn).CloseWrite() }

// kinds say how a connection is seen by relays, by how these then wait.
var kinds = map[string]func(net.Conn) net.Conn{
	"loop":       func(c net.Conn) net.Conn { return c },
	"goroutines": func(c net.Conn) net.Conn { return hidden{c} },
}

// eachKind runs a test with relays in loops and with goroutines.
func eachKind(t *testing.T, f func(t *testing.T, rs *relays, wrap func(net.Conn) net.Conn)) {
	for name, wrap := range kinds {
		t.Run(name, func(t *testing.T) {
			rs := newRelays(new(counters))
			defer rs.close()
			f(t, rs, wrap)
		})
	}
}

// relayed returns the far ends of a relay.
func relayed(t testing.TB, rs *relays, wrap func(net.Conn) net.Conn, life context.Context) (client, node *net.TCPConn) {
	t.Helper()
	client, a := pair(t)
	b, node := pair(t)
	rs.start(wrap(a), wrap(b), []byte("first"), []byte("early"), life)
	for conn, want := range map[*net.TCPConn]string{client: "first", node: "early"} {
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		got := make([]byte, len(want))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
			t.Fatalf("got %q, %v, want %q", got, err, want)
		}
	}
	return client, node
}

func awaitNone(t *testing.T, rs *relays) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for rs.count.relays.Load() != 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d relays are there still", rs.count.relays.Load())
		}
		time.Sleep(time.Millisecond)
	}
}

// TestRelayBulk: many relays carry much, both ways at once, in order, to their ends.
func TestRelayBulk(t *testing.T) {
	eachKind(t, func(t *testing.T, rs *relays, wrap func(net.Conn) net.Conn) {
		data := make([]byte, 3<<20)
		_, _ = rand.Read(data)
		var all sync.WaitGroup
		for range 10 {
			client, node := relayed(t, rs, wrap, t.Context())
			for _, ends := range [][2]*net.TCPConn{{client, node}, {node, client}} {
				all.Go(func() {
					if _, err := ends[0].Write(data); err != nil {
						t.Error(err)
					}
					_ = ends[0].CloseWrite()
				})
				all.Go(func() {
					got, err := io.ReadAll(ends[1])
					if err != nil || !bytes.Equal(got, data) {
						t.Errorf("%d bytes, %v; want the %d that were sent", len(got), err, len(data))
					}
				})
			}
		}
		all.Wait()
		awaitNone(t, rs)
	})
}

// TestRelaySlow: one who does not read holds up the other end, and no other relay, and costs a bounded memory.
func TestRelaySlow(t *testing.T) {
	eachKind(t, func(t *testing.T, rs *relays, wrap func(net.Conn) net.Conn) {
		client, node := relayed(t, rs, wrap, t.Context())
		_ = node.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		n, _ := node.Write(make([]byte, 64<<20))
		if n == 64<<20 {
			t.Fatal("everything is taken of one whose other end does not read")
		}
		c2, n2 := relayed(t, rs, wrap, t.Context())
		go func() { _, _ = io.Copy(n2, n2) }()
		buf := make([]byte, 4)
		for range 100 {
			_, _ = c2.Write([]byte("ping"))
			if _, err := io.ReadFull(c2, buf); err != nil {
				t.Fatal(err)
			}
		}
		_ = client.SetReadDeadline(time.Now().Add(20 * time.Second))
		if got, err := io.CopyN(io.Discard, client, int64(n)); err != nil {
			t.Errorf("%d bytes of %d, %v", got, n, err)
		}
	})
}

// TestRelayEnds: a connection that breaks, the end of the other node, and close, end relays at both ends.
func TestRelayEnds(t *testing.T) {
	eachKind(t, func(t *testing.T, rs *relays, wrap func(net.Conn) net.Conn) {
		life, end := context.WithCancel(t.Context())
		defer end()
		gone := func(what string, conn *net.TCPConn) {
			t.Helper()
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Errorf("%s: the connection goes on", what)
			}
		}
		client, node := relayed(t, rs, wrap, life)
		_ = client.SetLinger(0)
		_ = client.Close()
		gone("client broken", node)
		client, node = relayed(t, rs, wrap, life)
		_ = node.SetLinger(0)
		_ = node.Close()
		gone("node broken", client)
		client, node = relayed(t, rs, wrap, life)
		end()
		gone("node over", client)
		gone("node over", node)
		awaitNone(t, rs)
		client, node = relayed(t, rs, wrap, t.Context())
		rs.close()
		gone("closed", client)
		gone("closed", node)
		awaitNone(t, rs)
		a, far := pair(t)
		b, _ := pair(t)
		rs.start(wrap(a), wrap(b), nil, nil, t.Context())
		gone("after close", far)
		awaitNone(t, rs)
	})
}

// TestRelayLingers: who neither reads nor ends when its other end has gone does not keep the relay.
func TestRelayLingers(t *testing.T) {
	eachKind(t, func(t *testing.T, rs *relays, wrap func(net.Conn) net.Conn) {
		rs.lingerTime, rs.loops.lingerTime = time.Second, time.Second
		for what, f := range map[string]func(client, node *net.TCPConn){
			"node ends":   func(_, node *net.TCPConn) { _ = node.Close() },
			"client ends": func(client, _ *net.TCPConn) { _ = client.Close() },
			"client does not read": func(_, node *net.TCPConn) {
				_ = node.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
				_, _ = node.Write(make([]byte, 64<<20)) // more than is taken
				_ = node.Close()
			},
		} {
			t.Log(what)
			client, node := relayed(t, rs, wrap, t.Context())
			f(client, node)
			awaitNone(t, rs)
		}
	})
}

// TestEndRelay: relays end one by one, the node first, and everything that was sent by then arrives.
func TestEndRelay(t *testing.T) {
	eachKind(t, func(t *testing.T, rs *relays, wrap func(net.Conn) net.Conn) {
		clients, nodes := make([]*net.TCPConn, 5), make([]*net.TCPConn, 5)
		for i := range clients {
			clients[i], nodes[i] = relayed(t, rs, wrap, t.Context())
			go func() { // as a node that answers, sees the end, and ends
				got, _ := io.ReadAll(nodes[i])
				_, _ = nodes[i].Write(got)
				_ = nodes[i].Close()
			}()
			if _, err := clients[i].Write([]byte("sent")); err != nil {
				t.Fatal(err)
			}
		}
		for range clients {
			if !rs.endOne() {
				t.Fatal("there is none to end")
			}
		}
		if rs.endOne() {
			t.Error("one was ended twice")
		}
		for _, client := range clients {
			if got, err := io.ReadAll(client); err != nil || string(got) != "sent" {
				t.Errorf("the client got %q, %v", got, err)
			}
		}
		awaitNone(t, rs)
		client, node := relayed(t, rs, wrap, t.Context())
		rs.cut()
		for _, conn := range []*net.TCPConn{client, node} {
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Error("a connection goes on")
			}
		}
		awaitNone(t, rs)
		relayed(t, rs, wrap, t.Context()) // others may begin
	})
}
