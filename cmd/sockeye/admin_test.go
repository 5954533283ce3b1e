package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server/servertest"
)

// operatorPages are those of a node without a credential that listens for operators on addr.
func operatorPages(addr string) http.Handler {
	c := &serveCommand{adminFlags: adminFlags{AdminAddr: addr, Pprof: true}}
	return c.adminHandlers(&app{control: &control{}})
}

// TestBodiesForOperators: a body that no page reads, and that comes byte by byte, holds its connection for no longer than its time.
func TestBodiesForOperators(t *testing.T) {
	for _, path := range []string{"/", "/livez", "/readyz", "/startupz", "/metrics", "/debug/pprof/symbol", "/v1/nodes", "/nowhere"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				front := servertest.New(t, operatorPages("127.0.0.1:9000"), nil)
				conn, err := front.DialContext(t.Context(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				began, ended := time.Now(), make(chan struct{})
				go func() {
					defer close(ended)
					_, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n", path)
					for tick := time.NewTicker(time.Second); err == nil && time.Since(began) < time.Minute; <-tick.C {
						_, err = io.WriteString(conn, "x")
					}
				}()
				r := bufio.NewReader(conn)
				resp, err := http.ReadResponse(r, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body) // it ends with the connection
				resp.Body.Close()
				_, err = r.ReadByte()
				if held := time.Since(began); err == nil || held < operatorBodyTimeout || held > 2*operatorBodyTimeout {
					t.Errorf("answered %s, held for %v, then %v", resp.Status, held, err)
				}
				conn.Close()
				<-ended
			})
		})
	}
}

// TestAnswersForOperators: those who ask for the metrics and take no answer keep others out for no longer than their time, and a
// profile on a connection that has had a page takes as long as it takes.
func TestAnswersForOperators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front := servertest.New(t, operatorPages("127.0.0.1:9000"), &servertest.Options{BufferSize: 1 << 10})
		dial := func() net.Conn {
			conn, err := front.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			return conn
		}
		ask := func(conn net.Conn, path string) {
			if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path); err != nil {
				t.Fatal(err)
			}
		}
		status := func(r *bufio.Reader) int {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode
		}
		for range 4 {
			ask(dial(), "/metrics")
		}
		synctest.Wait()
		good := dial()
		answers := bufio.NewReader(good)
		ask(good, "/metrics")
		if got := status(answers); got != http.StatusServiceUnavailable {
			t.Errorf("beside four who take nothing: %d", got)
		}
		time.Sleep(operatorPageTimeout)
		synctest.Wait()
		ask(good, "/metrics")
		if got := status(answers); got != http.StatusOK {
			t.Errorf("after %v: %d", operatorPageTimeout, got)
		}
		ask(good, "/debug/pprof/goroutine?seconds=60")
		if got := status(answers); got != http.StatusOK {
			t.Errorf("a long answer: %d", got)
		}
	})
}

// TestHostsOfOperators: at a loopback address a page whose own name leads to this machine reads nothing; on other addresses, where
// programs ask by any name, pages without a secret are open.
func TestHostsOfOperators(t *testing.T) {
	const profiles = "/debug/pprof/cmdline"
	for _, addr := range []string{"127.0.0.1:9000", "[::1]:0", "localhost:9000", ":9000", "10.0.0.1:9000"} {
		loopback := checkLoopback(addr) == nil
		pages := operatorPages(addr)
		for _, path := range []string{"/", "/livez", "/readyz?verbose", "/metrics", profiles} {
			for host, own := range map[string]bool{"localhost:9000": true, "127.0.0.1:9000": true, "[::1]": true, "node-1:9000": false, "evil.example": false} {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
				r.Host = host
				w := httptest.NewRecorder()
				pages.ServeHTTP(w, r)
				allowed := own || !loopback && path != profiles
				if refused := w.Code == http.StatusForbidden; refused == allowed {
					t.Errorf("at %s, %s of %s: %d", addr, path, host, w.Code)
				}
			}
		}
	}
}
