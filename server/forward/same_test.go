package forward_test

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/forward"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// TestSameAnswer: an answer that comes from another node is, byte for byte but for the order of its headers, the one that the
// session's node gives itself.
func TestSameAnswer(t *testing.T) {
	c := newCluster(t, 2, func(_ int, _ *forward.Options, s *server.Options) {
		s.Engine.CORS = &engine.CORS{Origins: []string{"http://a.example"}, Credentials: true}
		s.Engine.MaxHTTPBufferSize = 2000
		s.Engine.HTTPRequestBodyTimeout = 300 * time.Millisecond
		s.Engine.HTTPCompression = &engine.HTTPCompression{Threshold: 1}
		s.Engine.OnHeaders = func(h http.Header, _ *http.Request) { h.Add("X-Hook", "1") }
	})
	var fronts [2]string
	for i, n := range c.nodes {
		front := httptest.NewServer(n)
		t.Cleanup(front.Close)
		fronts[i] = front.Listener.Addr().String()
	}
	c.byTurn(0)
	const target = "/socket.io/?EIO=4&transport=polling&sid=SID"
	post := func(head, body string) string {
		return "POST " + target + " HTTP/1.1\r\nHost: h\r\n" + head + "\r\n\r\n" + body
	}
	upgrade := func(sid, key string) string {
		return "GET /socket.io/?EIO=4&transport=websocket&sid=" + sid + " HTTP/1.1\r\nHost: h\r\nOrigin: http://a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n\r\n"
	}
	for what, request := range map[string]string{
		"poll":                     "GET " + target + " HTTP/1.1\r\nHost: h\r\nOrigin: http://a.example\r\n\r\n",
		"poll of another origin":   "GET " + target + " HTTP/1.1\r\nHost: h\r\nOrigin: http://b.example\r\n\r\n",
		"poll, connection closes":  "GET " + target + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
		"poll by HTTP/1.0":         "GET " + target + " HTTP/1.0\r\nHost: h\r\n\r\n",
		"poll, compressed":         "GET " + target + " HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n",
		"poll, absolute target":    "GET http://h" + target + " HTTP/1.1\r\nHost: h\r\n\r\n",
		"poll with odd query":      "GET " + target + "&a;b=%zz&t=%41 HTTP/1.1\r\nHost: h\r\n\r\n",
		"poll, forged header":      "GET " + target + " HTTP/1.1\r\nHost: h\r\nSockeye-Peer: node0\r\nConnection: Sockeye-Peer\r\n\r\n",
		"head":                     "HEAD " + target + " HTTP/1.1\r\nHost: h\r\n\r\n",
		"preflight":                "OPTIONS " + target + " HTTP/1.1\r\nHost: h\r\nOrigin: http://a.example\r\nAccess-Control-Request-Method: POST\r\n\r\n",
		"put":                      strings.Replace(post("Content-Length: 2", "40"), "POST", "PUT", 1),
		"other protocol":           "GET " + strings.Replace(target, "EIO=4", "EIO=3", 1) + " HTTP/1.1\r\nHost: h\r\n\r\n",
		"post":                     post("Content-Type: text/plain;charset=UTF-8\r\nContent-Length: 2", "40"),
		"post, origin":             post("Origin: http://a.example\r\nContent-Length: 2", "40"),
		"post in chunks":           post("Transfer-Encoding: chunked", "1\r\n4\r\n1\r\n0\r\n0\r\n\r\n"),
		"post, continue":           post("Expect: 100-continue\r\nContent-Length: 2", "40"),
		"post, other expectation":  post("Expect: nothing\r\nContent-Length: 2", "40"),
		"post without a body":      post("Content-Length: 0", ""),
		"post without a length":    post("X: y", ""),
		"post by HTTP/1.0":         strings.Replace(post("Content-Length: 2", "40"), "/1.1", "/1.0", 1),
		"post, bad chunks":         post("Transfer-Encoding: chunked", "zz\r\n40"),
		"post that is too large":   post("Content-Length: 3000", strings.Repeat("x", 3000)),
		"post, too large in parts": post("Transfer-Encoding: chunked", "bb8\r\n"+strings.Repeat("x", 3000)+"\r\n0\r\n\r\n"),
		"post that does not come":  post("Content-Length: 10", "40"),
		"post of binary":           post("Content-Type: application/octet-stream\r\nContent-Length: 2", "40"),
		"post of nonsense":         post("Content-Length: 3", "xyz"),
		"post with a foreign type": post("Content-Type: application/json\r\nContent-Length: 3", "xyz"),
		"upgrade":                  upgrade("SID", "dGhlIHNhbXBsZSBub25jZQ=="),
		"upgrade with a bad key":   upgrade("SID", "short"),
		"unknown":                  "GET " + strings.Replace(target, "SID", "TAG4567890123456", 1) + " HTTP/1.1\r\nHost: h\r\nOrigin: http://a.example\r\n\r\n",
		"upgrade of unknown":       upgrade("TAG4567890123456", "dGhlIHNhbXBsZSBub25jZQ=="),
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			var got [2]string
			for i, front := range fronts {
				client := c.Dial(t, &servertest.DialOptions{Transport: engine.TransportPolling, Stalled: true})
				client.Send("40")
				sid := client.SID()
				got[i] = exchange(t, front, strings.NewReplacer("SID", sid, "TAG", sid[:4]).Replace(request))
			}
			if got[0] != got[1] {
				t.Errorf("directly:\n%s\n\nby way of another node:\n%s", got[0], got[1])
			}
		})
	}
}

// exchange returns what a server answers to a request, with what differs from one session to the next left out.
func exchange(t *testing.T, address, request string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(conn, request)
	method, _, _ := strings.Cut(request, " ")
	var said strings.Builder
	answers := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(answers, &http.Request{Method: method})
		if err != nil {
			fmt.Fprintln(&said, "no answer:", err)
			return said.String()
		}
		describe(&said, resp)
		if resp.StatusCode != http.StatusContinue {
			return said.String()
		}
	}
}

var ofSession = regexp.MustCompile(`"sid":"[^"]*"`)

func describe(said *strings.Builder, resp *http.Response) {
	fmt.Fprintln(said, resp.Proto, resp.Status, "length", resp.ContentLength, resp.TransferEncoding, "closes", resp.Close)
	if resp.Header.Get("Date") != "" {
		resp.Header.Set("Date", "now")
	}
	for _, name := range slices.Sorted(maps.Keys(resp.Header)) {
		fmt.Fprintln(said, name, resp.Header[name])
	}
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return
	}
	body := io.Reader(resp.Body)
	if resp.Header.Get("Content-Encoding") == "gzip" {
		if unzipped, err := gzip.NewReader(body); err == nil {
			body = unzipped
		}
	}
	text, err := io.ReadAll(body)
	fmt.Fprintf(said, "%s %v\n", ofSession.ReplaceAll(text, []byte("sid")), err)
}
