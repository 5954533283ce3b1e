package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/server"
)

// serveMux serves a server below others on a free port, and returns its address and its end.
func serveMux(t *testing.T, handler http.Handler) (addr string, end func() error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener, handler) }()
	return listener.Addr().String(), func() error { cancel(); return <-done }
}

// TestServeShutsDown: the end of Serve's context shuts down the servers that its requests have reached, whatever is around them, and
// answers a parked poll before the HTTP server waits for it.
func TestServeShutsDown(t *testing.T) {
	for name, wrap := range map[string]func(srv *server.Server) http.Handler{
		"alone": func(srv *server.Server) http.Handler { return srv },
		"in a mux": func(srv *server.Server) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/socket.io/", srv)
			return mux
		},
	} {
		t.Run(name, func(t *testing.T) {
			srv, err := server.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			defer srv.Close()
			addr, end := serveMux(t, wrap(srv))
			url := "http://" + addr + "/socket.io/?EIO=4&transport=polling"
			res, err := http.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			sid := string(body[len(`0{"sid":"`) : len(`0{"sid":"`)+20])
			polled := make(chan error, 1)
			go func() {
				res, err := http.Get(url + "&sid=" + sid)
				if err == nil {
					_, err = io.ReadAll(res.Body)
					_ = res.Body.Close()
				}
				polled <- err
			}()
			start := time.Now()
			if err := end(); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took > 9*time.Second {
				t.Errorf("the end took %v", took)
			}
			<-polled // answered, or refused if it came late; never left open
			res, err = http.Get("http://" + addr)
			if err == nil {
				_ = res.Body.Close()
				t.Error("somebody still listens")
			}
			if st := srv.Stats(); st.Engine.Sessions != 0 {
				t.Errorf("%d sessions left", st.Engine.Sessions)
			}
			http.DefaultClient.CloseIdleConnections()
		})
	}
}

// TestServeDrains: who has not fetched yet what is queued for it gets it after the end of Serve's context, and then its own end.
func TestServeDrains(t *testing.T) {
	srv, err := server.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	addr, end := serveMux(t, srv)
	defer http.DefaultClient.CloseIdleConnections()
	url := "http://" + addr + "/socket.io/?EIO=4&transport=polling"
	poll := func() string {
		t.Helper()
		res, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	url += "&sid=" + poll()[len(`0{"sid":"`):][:20]
	res, err := http.Post(url, "text/plain", strings.NewReader("40"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if got := poll(); !strings.HasPrefix(got, "40{") {
		t.Fatalf("polled %q", got)
	}
	if err := srv.Of("/").Emit("bye"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- end() }()
	eventually(t, "the server drains", srv.Draining)
	if got := poll(); !strings.HasPrefix(got, `42["bye"]`) {
		t.Errorf("polled %q, want the event", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if st := srv.Stats(); st.Drained != 1 || st.DrainCut != 0 {
		t.Errorf("drained %d, cut %d", st.Drained, st.DrainCut)
	}
}

// TestListenAndServe serves on an address, and says what failed.
func TestListenAndServe(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = server.ListenAndServe(t.Context(), taken.Addr().String(), http.NotFoundHandler())
	if err == nil || !errors.As(err, new(*net.OpError)) {
		t.Errorf("on an address that is taken: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := server.ListenAndServe(ctx, "127.0.0.1:0", http.NotFoundHandler()); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}
