package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sockeye-io/sockeye/server"
)

// served is how many connections have a goroutine of net/http's server.
func served() int {
	stacks := make([]byte, 4<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "net/http.(*conn).serve(")
}

// TestServeParks: polls that wait have no goroutine with the listener of NewListener, also in a mux. They get what is emitted, and are
// answered when the server ends.
func TestServeParks(t *testing.T) {
	const clients = 30
	eventually(t, "the servers of other tests have ended", func() bool { return served() == 0 })
	srv, err := server.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	mux := http.NewServeMux()
	mux.HandleFunc("/socket.io/", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		srv.ServeHTTP(w, r)
	})
	ctx, end := context.WithCancel(t.Context())
	defer end()
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, server.NewListener(listener), mux) }()

	url := "http://" + listener.Addr().String() + "/socket.io/?EIO=4&transport=polling"
	web := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer web.CloseIdleConnections()
	ask := func(method, query, body string) string {
		req, _ := http.NewRequest(method, url+query, strings.NewReader(body))
		res, err := web.Do(req)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		return fmt.Sprint(res.StatusCode, " ", string(answer), err)
	}
	polls := make(chan string, clients)
	poll := func(query string) { go func() { polls <- ask("GET", query, "") }() }
	var queries []string
	for range clients {
		open := ask("GET", "", "")
		_, id, _ := strings.Cut(open, `"sid":"`)
		query := "&sid=" + id[:20]
		if got := ask("POST", query, "40"); got != "200 ok<nil>" {
			t.Fatalf("connect: %s", got)
		}
		if got := ask("GET", query, ""); !strings.HasPrefix(got, "200 40{") {
			t.Fatalf("connected: %s", got)
		}
		queries = append(queries, query)
	}
	for _, want := range []string{`200 42["hello"]<nil>`, "200 6<nil>"} {
		asked.Store(0)
		for _, query := range queries {
			poll(query)
		}
		eventually(t, "polls wait, and none has a goroutine", func() bool {
			return asked.Load() == clients && served() == 0
		})
		if want == "200 6<nil>" {
			end()
		} else if err := srv.Of("/").Emit("hello"); err != nil {
			t.Fatal(err)
		}
		for range clients {
			if got := <-polls; got != want {
				t.Errorf("polled %q, want %q", got, want)
			}
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
