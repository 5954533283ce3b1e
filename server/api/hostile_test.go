package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/api"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// alone serves the API of a server that is alone, over connections.
func alone(t *testing.T) *servertest.Server {
	t.Helper()
	srv, err := server.New(&server.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	a, err := api.New(srv, &api.Options{Tokens: tokens, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	return servertest.New(t, a, nil) // which closes it
}

// TestSlowBodies: bodies that do not come keep nobody out for longer than their time, and from who has no credential none is awaited.
func TestSlowBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front := alone(t)
		begin := func(secret string) *bufio.Reader {
			conn, err := front.DialContext(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			if _, err := fmt.Fprintf(conn, "POST /v1/publish HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 500000\r\n\r\n{", secret); err != nil {
				t.Fatal(err)
			}
			return bufio.NewReader(conn)
		}
		answer := func(r *bufio.Reader, want int) {
			t.Helper()
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if text, _ := io.ReadAll(resp.Body); resp.StatusCode != want {
				t.Errorf("answered %d %s, want %d", resp.StatusCode, text, want)
			}
		}
		began := time.Now()
		answer(begin("wrong-0123456789abcdef"), http.StatusUnauthorized)
		if took := time.Since(began); took != 0 {
			t.Errorf("a body without a credential was awaited for %v", took)
		}
		var slow []*bufio.Reader
		for range 64 {
			slow = append(slow, begin(writeSecret))
		}
		synctest.Wait()
		answer(begin(writeSecret), http.StatusServiceUnavailable)
		for _, r := range slow {
			answer(r, http.StatusRequestTimeout)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %v", took)
		}
		resp, err := front.HTTPClient().Do(authorized(t, "/v1/nodes"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK || !strings.Contains(string(text), `"nodes"`) {
			t.Errorf("afterwards %d %s", resp.StatusCode, text)
		}
	})
}

// TestUnreadBodies: a small body that nobody reads and that does not come is not waited for without an end.
func TestUnreadBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front := alone(t)
		conn, err := front.DialContext(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprint(conn, "POST /v1/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if _, err := r.ReadByte(); resp.StatusCode != http.StatusUnauthorized || err != io.EOF {
			t.Errorf("answered %d, then %v, want 401 and the end", resp.StatusCode, err)
		}
	})
}

func authorized(t *testing.T, path string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://node"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+readSecret)
	return r
}
