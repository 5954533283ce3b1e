package main

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// TestHTTP2 polls by HTTP/2 and upgrades on a connection of HTTP/1.1, as browsers do.
func TestHTTP2(t *testing.T) {
	cert, key, pool := selfSigned(t)
	addr := start(t, "--tls-cert", cert, "--tls-key", key, "--http2")
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	protocols := &protocolCount{RoundTripper: transport}
	c := pollWith(t, "https://"+addr, &http.Client{Transport: protocols})

	answer := make(chan string, 1)
	go func() { // parked, while the event goes out on the same connection
		resp, err := c.web.Get(c.address)
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- resp.Proto + " " + string(body)
	}()
	c.send(`420["login","ann"]`)
	if got := <-answer; !strings.HasPrefix(got, `HTTP/2.0 430[{"user":"ann"}]`) {
		t.Errorf("the parked poll brought %q", got)
	}

	dialer := ws.Dialer{TLSConfig: &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}}}
	session := c.address[strings.Index(c.address, "sid="):]
	conn, early, _, err := dialer.Dial(t.Context(), "wss://"+addr+"/socket.io/?EIO=4&transport=websocket&"+session)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if early != nil {
		t.Fatal("the node spoke first")
	}
	exchange := func(text, want string) {
		t.Helper()
		if err := wsutil.WriteClientText(conn, []byte(text)); err != nil {
			t.Fatal(err)
		}
		for want != "" {
			got, err := wsutil.ReadServerText(conn)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(string(got), want) {
				return
			}
		}
	}
	exchange("2probe", "3probe")
	exchange("5", "")
	exchange(`421["login","ann"]`, "431[")
	if one, two := protocols.one.Load(), protocols.two.Load(); one > 0 || two < 4 {
		t.Errorf("%d answers by HTTP/1, %d by HTTP/2", one, two)
	}
}

// TestNoHTTP2 offers both to a node that was not told to speak HTTP/2.
func TestNoHTTP2(t *testing.T) {
	cert, key, pool := selfSigned(t)
	addr := start(t, "--tls-cert", cert, "--tls-key", key)
	conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, NextProtos: []string{"h2", "http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		t.Errorf("negotiated %q", got)
	}
}

// protocolCount counts answers by protocol.
type protocolCount struct {
	http.RoundTripper
	one, two atomic.Int64 // versions of HTTP
}

// RoundTrip implements http.RoundTripper.
func (p *protocolCount) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := p.RoundTripper.RoundTrip(r)
	switch {
	case err != nil:
	case resp.ProtoMajor == 2:
		p.two.Add(1)
	default:
		p.one.Add(1)
	}
	return resp, err
}
