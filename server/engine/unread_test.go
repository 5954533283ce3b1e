package engine

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// postHead sends the head of a POST on a connection of its own.
func (g *rig) postHead(target string, header string) (net.Conn, *bufio.Reader) {
	g.t.Helper()
	conn, err := g.dial()
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: test\r\n%s\r\n\r\n", target, header); err != nil {
		g.t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

// earlyAnswers are requests that are answered before their body has come, each with its status.
func (g *rig) earlyAnswers() map[string]struct {
	target, header string
	status         int
} {
	_, tooLarge := g.openPoll()
	_, wrongType := g.openPoll()
	overlapID, overlap := g.openPoll()
	g.postHead(overlap, "Content-Length: 10")
	eventually(g.t, "the first POST is open", func() bool {
		s := g.recorder(overlapID).s
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.transport.(*polling).posting
	})
	_, ws := g.openWS("")
	const length = "Content-Length: 2000000"
	return map[string]struct {
		target, header string
		status         int
	}{
		"too large":           {tooLarge, length, 413},
		"wrong type":          {wrongType, length + "\r\nContent-Type: application/octet-stream", 400},
		"overlap":             {overlap, length, 400},
		"unknown session":     {base + "&sid=x", length, 400},
		"unknown, chunked":    {base + "&sid=x", "Transfer-Encoding: chunked", 400},
		"unknown, small":      {base + "&sid=x", "Content-Length: 10", 400},
		"handshake by POST":   {base, length, 400},
		"other transport":     {base + "&sid=" + ws, length, 400},
		"unknown transport":   {"/engine.io/?EIO=4&transport=x", length, 400},
		"another path":        {"/other", length, 404},
		"refused by the app":  {base + "&sid=x&middleware=1", length, 418},
		"expects to continue": {base + "&sid=x", length + "\r\nExpect: 100-continue", 400},
	}
}

func newEarlyRig(t *testing.T, tcp bool) *rig {
	g := newRigOn(t, &Options{PingInterval: time.Hour}, tcp, 0)
	g.srv.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("middleware") {
				http.Error(w, "", http.StatusTeapot)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	return g
}

// An answer does not wait for a body that nobody wants, and what comes of the body afterwards is no new request.
func TestEarlyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newEarlyRig(t, false)
		for name, c := range g.earlyAnswers() {
			start := time.Now()
			conn, r := g.postHead(c.target, c.header)
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if took := time.Since(start); res.StatusCode != c.status || took != 0 {
				t.Errorf("%s: answered %d after %v", name, res.StatusCode, took)
			}
			if _, err := io.WriteString(conn, "5\r\n"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			time.Sleep(restTime)
			synctest.Wait()
			if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", base); err == nil {
				t.Errorf("%s: the connection is still open after %v", name, restTime)
			}
			if rest, _ := io.ReadAll(r); strings.Contains(string(rest), "HTTP/1.1") {
				t.Errorf("%s: what followed was taken for a request: %q", name, rest)
			}
		}
	})
}

// A client that sends its whole body before it reads gets the answer, and may go on with the connection where the answer does
// not say otherwise.
func TestEarlyAnswerAfterBody(t *testing.T) {
	g := newEarlyRig(t, true)
	body := strings.Repeat("x", 2_000_000)
	for name, c := range g.earlyAnswers() {
		send := body
		switch {
		case strings.Contains(c.header, "Expect"):
			continue // its client would not send
		case strings.Contains(c.header, "chunked"):
			send = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
		case strings.Contains(c.header, "Content-Length: 10"):
			send = body[:10]
		}
		conn, r := g.postHead(c.target, c.header)
		if _, err := io.WriteString(conn, send); err != nil {
			t.Errorf("%s: write: %v", name, err)
			continue
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, _ = io.Copy(io.Discard, res.Body)
		if res.StatusCode != c.status {
			t.Errorf("%s: answered %d", name, res.StatusCode)
		}
		if res.Close {
			if _, err := r.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("%s: the connection ended with %v", name, err)
			}
			continue
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", base)
		if res, err = http.ReadResponse(r, nil); err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%s: the next request on the connection: %v", name, err)
		}
	}
}

// A body that cannot be read as its sender meant it is refused, and nothing of it is delivered: "ok" would be a lie. net/http takes
// the chunked body of an HTTP/1.0 request for none, or with a Content-Length for the body itself.
func TestBrokenBody(t *testing.T) {
	const old, chunked = "POST %s HTTP/1.0\r\n", "POST %s HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
	for request, want := range map[string]error{
		old + "Transfer-Encoding: chunked\r\n\r\n6\r\n4hello\r\n0\r\n\r\n":                           errNoLength,
		old + "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n4hello\r\n0\r\n\r\n": errNoLength,
		old + "\r\n4hello": errNoLength,
		"POST %s HTTP/1.1\r\nHost: test\r\n\r\n4hello": errNoLength,

		old + "Content-Length: 16\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n4hello\r\n0\r\n\r\n":                  errChunksAsBody,
		old + "Content-Length: 21\r\nTransfer-Encoding: chunked\r\n\r\n0006;x\r\n4hello\r\n0\r\n\r\n":             errChunksAsBody,
		old + "Content-Length: 17\r\nTransfer-Encoding: chunked\r\n\r\n6 \r\n4hello\r\n0\r\n\r\n":                 errChunksAsBody,
		old + "Content-Length: 22\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n4hello\r\n0\r\n\r\n4hello":            errChunksAsBody,
		old + "Content-Length: 24\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n4he\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n": errChunksAsBody,

		chunked + "zz\r\nfoo":                          errMalformedBody,
		chunked + "D\r\n42[\"back\",10]XX":             errMalformedBody,
		chunked + "6\r\n4hello\r\nQ\r\n":               errMalformedBody,
		chunked + "-6\r\n4hello\r\n0\r\n\r\n":          errMalformedBody,
		chunked + "fffffffffffffffff\r\n4hello\r\n":    errMalformedBody,
		chunked + "6\r\n4hello\r\n0\r\n no\r\n\r\n":    errMalformedBody,
		chunked + strings.Repeat("0", 5000) + "6\r\n4": errMalformedBody,
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newRig(t, nil)
			sid, target := g.openPoll()
			conn, err := g.dial()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			go fmt.Fprintf(conn, request, target)
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatalf("%q: %v", request, err)
			}
			if res.StatusCode != http.StatusBadRequest || !res.Close {
				t.Errorf("%q: answered %d", request, res.StatusCode)
			}
			if got := g.recorder(sid).received(); got != "" {
				t.Errorf("%q: delivered %q", request, got)
			}
			g.expectEnd(sid, ReasonTransportError, want)
		})
	}
}

// What only looks like chunks is delivered.
func TestBodyLikeChunks(t *testing.T) {
	for _, data := range []string{"4", "4\r\nfoo", "4\r\nfoo\r\n0\r\n\r\n", "4x\r\n0\r\n\r\n", "4hello0\r\n\r\n", "4 hello", "40", "", "\r\n"} {
		if chunked([]byte(data)) {
			t.Errorf("%q was taken for chunks", data)
		}
	}
}
