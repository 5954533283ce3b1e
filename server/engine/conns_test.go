package engine

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// connRig is a server in memory whose HTTP server tells it of its connections.
func connRig(t *testing.T, opts *Options) *rig {
	g := newRig(t, opts)
	g.http.ConnState = g.srv.ConnState
	return g
}

// open opens a connection and sends something on it.
func (g *rig) open(text string) net.Conn {
	g.t.Helper()
	conn, err := g.dial()
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		g.t.Fatal(err)
	}
	synctest.Wait()
	return conn
}

// isClosed reports whether the server has closed a connection on which nothing is to be read.
func isClosed(conn net.Conn) bool {
	_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := conn.Read(make([]byte, 1))
	return err == io.EOF
}

// Connections with half a request are closed when there are too many, the oldest first. Those that send a whole one, now or late,
// those whose poll is parked and websockets are not touched.
func TestMaxHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := connRig(t, &Options{MaxHalfOpen: 5})
		_, target := g.openPoll()
		poll := g.async("GET", target, "")
		ws, id := g.openWS("")
		var abusers []net.Conn
		for i := range 20 {
			abusers = append(abusers, g.open("GET /engine.io/?EIO=4 HT"))
			if i%5 == 0 {
				if a := g.must("GET", base, ""); a.status != http.StatusOK {
					t.Errorf("beside %d halves a request was answered %d", i, a.status)
				}
			}
		}
		for i, conn := range abusers {
			if closed := isClosed(conn); closed != (i < 15) {
				t.Errorf("connection %d: closed %v", i, closed)
			}
		}
		_, _ = fmt.Fprint(abusers[19], "TP/1.1\r\nHost: test\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(deadlined(abusers[19])), nil); err != nil {
			t.Errorf("a late request: %v", err)
		}
		if err := g.recorder(id).s.Send(NewMessage([]byte("hello"))); err != nil {
			t.Error(err)
		}
		ws.expect("4hello")
		if a := g.must("POST", target, "4x"); a.body != "ok" {
			t.Errorf("got %+v", a)
		}
		for sid, r := range g.sessions {
			if target == base+"&sid="+sid {
				_ = r.s.Send(NewMessage([]byte("hello")))
			}
		}
		if a := <-poll; a.body != "4hello" {
			t.Errorf("the poll got %+v", a)
		}
		if n := g.srv.Stats().Limits["half_open"]; n != 15 {
			t.Errorf("counted %d", n)
		}
	})
}

func deadlined(conn net.Conn) net.Conn {
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	return conn
}

// Connections that have had an answer and send nothing more are closed when there are too many, the one that waits longest first.
func TestMaxIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := connRig(t, &Options{MaxIdle: 5})
		ask := func(conn net.Conn) error {
			res, err := http.ReadResponse(bufio.NewReader(deadlined(conn)), nil)
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
			}
			synctest.Wait()
			return err
		}
		const request = "GET /other HTTP/1.1\r\nHost: test\r\n\r\n"
		busy := g.open(request)
		if err := ask(busy); err != nil {
			t.Fatal(err)
		}
		var abusers []net.Conn
		for range 12 {
			conn := g.open(request)
			if err := ask(conn); err != nil {
				t.Fatal(err)
			}
			abusers = append(abusers, conn)
			if _, err := io.WriteString(busy, request); err != nil {
				t.Fatal(err)
			}
			if err := ask(busy); err != nil {
				t.Fatalf("who goes on asking: %v", err)
			}
		}
		for i, conn := range abusers {
			if closed := isClosed(conn); closed != (i < 8) {
				t.Errorf("connection %d: closed %v", i, closed)
			}
		}
		if n := g.srv.Stats().Limits["idle"]; n != 8 {
			t.Errorf("counted %d", n)
		}
	})
}

// Close closes the connections on which nothing was asked, and those to come.
func TestCloseHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := connRig(t, nil)
		before := g.open("GET")
		_ = g.srv.Close()
		after, err := g.dial()
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for i, conn := range []net.Conn{before, after} {
			if !isClosed(conn) {
				t.Errorf("connection %d is open", i)
			}
		}
	})
}
