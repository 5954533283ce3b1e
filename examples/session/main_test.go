package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// post sends a form and returns the answer's cookies.
func post(t *testing.T, kit *servertest.Server, path string, form url.Values, cookies []*http.Cookie) []*http.Cookie {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, "http://example"+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, c := range cookies {
		req.AddCookie(c)
	}
	resp, err := kit.HTTPClient().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: status %d, error %v", path, resp.StatusCode, err)
	}
	return resp.Cookies()
}

func TestSession(t *testing.T) {
	handler, srv, err := newHandler()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	kit := servertest.New(t, handler, nil)
	for _, transport := range []string{server.TransportPolling, server.TransportWebSocket} {
		_, err := kit.TryDial(t, &servertest.DialOptions{Transport: transport})
		if refusal := (*servertest.CloseError)(nil); !errors.As(err, &refusal) || !strings.Contains(err.Error(), "not logged in") {
			t.Errorf("%s without a cookie: %v", transport, err)
		}
	}

	cookies := post(t, kit, "/login", url.Values{"user": {"ann"}, "password": {"open sesame"}}, nil)
	others := post(t, kit, "/login", url.Values{"user": {"bob"}, "password": {"open sesame"}}, nil)
	var sockets []*servertest.Socket
	for _, transport := range []string{server.TransportPolling, server.TransportWebSocket} {
		header := http.Header{"Cookie": {cookies[0].String()}}
		s := kit.Dial(t, &servertest.DialOptions{Transport: transport, Header: header}).Connect("/", nil)
		sockets = append(sockets, s)
		if got := whoami(t, s); got != "ann" {
			t.Errorf("%s: %q", transport, got)
		}
	}
	bob := kit.Dial(t, &servertest.DialOptions{Header: http.Header{"Cookie": {others[0].String()}}}).Connect("/", nil)

	post(t, kit, "/logout", nil, cookies)
	for _, s := range sockets {
		s.ExpectDisconnect()
	}
	if got := whoami(t, bob); got != "bob" {
		t.Errorf("another session: %q", got)
	}
}

func whoami(t *testing.T, s *servertest.Socket) (user string) {
	t.Helper()
	if err := s.EmitWithAck("whoami").Unmarshal(0, &user); err != nil {
		t.Error(err)
	}
	return user
}
