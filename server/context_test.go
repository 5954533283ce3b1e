package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/server"
)

type (
	userKey  struct{}
	otherKey struct{}
)

// poller is a client that speaks the wire protocol over polling, on one connection that stays open.
type poller struct {
	t   testing.TB
	web http.Client
	url string
}

func (n *node) polling(t testing.TB) (p *poller, sid string) {
	t.Helper()
	p = &poller{t: t, web: http.Client{Transport: &http.Transport{}, Timeout: patience}, url: "http://" + n.addr + "/socket.io/?EIO=4&transport=polling"}
	t.Cleanup(p.web.CloseIdleConnections)
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(p.poll()[1:]), &open); err != nil {
		t.Fatal(err)
	}
	p.url += "&sid=" + open.SID
	return p, open.SID
}

func (p *poller) poll() string {
	p.t.Helper()
	resp, err := p.web.Get(p.url)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("status %d, %s, error %v", resp.StatusCode, body, err)
	}
	return string(body)
}

func (p *poller) post(packets string) {
	p.t.Helper()
	resp, err := p.web.Post(p.url, "text/plain", strings.NewReader(packets))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("status %d, error %v", resp.StatusCode, err)
	}
}

// upgrade moves the session to a websocket.
func (n *node) upgrade(t testing.TB, sid string) *peer {
	t.Helper()
	d := ws.Dialer{NetDial: n.dial}
	conn, _, _, err := d.Dial(context.Background(), "ws://"+n.addr+"/socket.io/?EIO=4&transport=websocket&sid="+sid)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, conn: conn, in: make(chan string, 1<<16)}
	p.done.Go(func() { p.read(conn) })
	t.Cleanup(p.close)
	p.write(ws.OpText, "2probe")
	p.write(ws.OpText, "5")
	return p
}

// requests are what a session could keep from being freed: the requests that the application has seen, and what they led to.
type requests struct {
	mu   sync.Mutex
	seen []weak.Pointer[http.Request]
	held []weak.Pointer[[1 << 20]byte]
}

func (q *requests) note(r *http.Request, ballast *[1 << 20]byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seen = append(q.seen, weak.Make(r))
	if ballast != nil {
		q.held = append(q.held, weak.Make(ballast))
	}
}

func (q *requests) freed() bool {
	runtime.GC()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range q.seen {
		if p.Value() != nil {
			return false
		}
	}
	for _, p := range q.held {
		if p.Value() != nil {
			return false
		}
	}
	return len(q.held) > 0
}

// TestSessionContext brings a value from the context of the request to all that runs for a socket, on every transport, and
// holds that nothing of the request stays in memory: neither itself nor what else is in its context.
func TestSessionContext(t *testing.T) {
	for _, mode := range []server.ReadMode{server.ReadAuto, server.ReadGoroutine} {
		for _, transport := range []string{"polling", "websocket", "upgrade"} {
			t.Run(fmt.Sprint(transport, " ", mode), func(t *testing.T) { testSessionContext(t, transport, mode) })
		}
	}
}

func testSessionContext(t *testing.T, transport string, mode server.ReadMode) {
	var asked atomic.Int32
	var memory requests
	keep := server.KeepValues(userKey{})
	n := start(t, &server.Options{Engine: server.EngineOptions{
		ReadMode: mode,
		SessionContext: func(ctx context.Context, r *http.Request) (context.Context, error) {
			asked.Add(1)
			memory.note(r, nil)
			return keep(ctx, r)
		},
	}})
	n.Engine().Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ballast := new([1 << 20]byte)
			ctx := context.WithValue(context.WithValue(r.Context(), userKey{}, "ann"), otherKey{}, ballast)
			memory.note(r, ballast)
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	})
	heard := make(chan string, 8)
	hear := func(where string, ctx context.Context) {
		heard <- fmt.Sprint(where, " ", ctx.Value(userKey{}), " ", ctx.Value(otherKey{}))
	}
	main := n.Of("/")
	main.Use(func(ctx context.Context, s *server.Socket) error {
		hear("middleware", ctx)
		return nil
	})
	main.OnConnection(func(ctx context.Context, s *server.Socket) {
		derived, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		hear("connection", derived)
	})
	main.Handle("who", server.Func(func(ctx context.Context, s *server.Socket, _ server.None) error {
		hear("event", ctx)
		if v := s.Conn().Value(userKey{}); v != "ann" {
			t.Errorf("the connection has %v", v)
		}
		return nil
	}))
	main.OnDisconnect(func(ctx context.Context, s *server.Socket, _ server.Reason) {
		hear("disconnect", ctx)
		hear("afterwards", s.Context())
		if cause := context.Cause(s.Context()); !errors.As(cause, new(*server.DisconnectError)) {
			t.Errorf("the context ends because of %v", cause)
		}
	})
	send := n.openOver(t, transport)
	send("0")
	for _, where := range []string{"middleware", "connection"} {
		if got := await(t, heard); got != where+" ann <nil>" {
			t.Errorf("heard %q", got)
		}
	}
	send(`2["who"]`)
	if got := await(t, heard); got != "event ann <nil>" {
		t.Errorf("heard %q", got)
	}
	eventually(t, "the requests are freed", memory.freed)
	if sessions := n.Engine().Len(); sessions != 1 || asked.Load() != 1 {
		t.Errorf("%d sessions live, the function was called %d times", sessions, asked.Load())
	}
	send("1")
	for _, where := range []string{"disconnect", "afterwards"} {
		if got := await(t, heard); got != where+" ann <nil>" {
			t.Errorf("heard %q", got)
		}
	}
}

// openOver opens a connection and returns a function that sends packets over it.
func (n *node) openOver(t *testing.T, transport string) (send func(string)) {
	switch transport {
	case "polling":
		p, _ := n.polling(t)
		return func(packet string) { p.post("4" + packet) }
	case "upgrade":
		_, sid := n.polling(t)
		return n.upgrade(t, sid).send
	default:
		return n.websocket(t).send
	}
}

// TestSessionContextRefuses: an error is AllowRequest's, on every transport, and no session begins.
func TestSessionContextRefuses(t *testing.T) {
	for name, tt := range map[string]struct {
		keep func(ctx context.Context, r *http.Request) (context.Context, error)
		want string
	}{
		"refusal": {func(context.Context, *http.Request) (context.Context, error) {
			return nil, &server.Refusal{Message: "no token"}
		}, "no token"},
		"other error": {func(context.Context, *http.Request) (context.Context, error) {
			return nil, errors.New("database: secret")
		}, "Forbidden"},
		"the request's own context": {func(_ context.Context, r *http.Request) (context.Context, error) {
			return context.WithValue(r.Context(), userKey{}, "ann"), nil
		}, "Forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, &server.Options{Engine: server.EngineOptions{SessionContext: tt.keep}})
			resp := n.get(t, "/socket.io/?EIO=4&transport=polling", nil)
			body, err := io.ReadAll(resp.Body)
			if want := `{"code":4,"message":"` + tt.want + `"}`; err != nil || resp.StatusCode != http.StatusForbidden || string(body) != want {
				t.Errorf("status %d, %s, error %v", resp.StatusCode, body, err)
			}
			conn, _, _, err := (ws.Dialer{NetDial: n.dial}).Dial(t.Context(), "ws://"+n.addr+"/socket.io/?EIO=4&transport=websocket")
			if err == nil {
				conn.Close()
				t.Error("the websocket was accepted")
			}
			if n.Engine().Len() != 0 {
				t.Error("a session has begun")
			}
		})
	}
}

// TestSessionContextEnds: what is kept are values; the end of a context that they come with is not the socket's.
func TestSessionContextEnds(t *testing.T) {
	n := start(t, &server.Options{Engine: server.EngineOptions{
		SessionContext: func(ctx context.Context, r *http.Request) (context.Context, error) {
			ctx, cancel := context.WithCancel(context.WithValue(ctx, userKey{}, "ann"))
			cancel()
			return ctx, nil
		},
	}})
	_, s := n.connect(t)
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	if ctx.Err() != nil || ctx.Value(userKey{}) != "ann" || context.Cause(s.Context()) != nil {
		t.Errorf("error %v, value %v", ctx.Err(), ctx.Value(userKey{}))
	}
	s.Disconnect()
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.As(cause, new(*server.DisconnectError)) {
		t.Errorf("ended by %v", cause)
	}
}

type board struct{ moves int }

var (
	counter server.State[int]
	second  server.State[int]
	game    server.State[*board]
	closer  server.State[io.Closer]
)

func TestState(t *testing.T) {
	n := start(t, nil)
	_, s := n.connect(t)
	_, other := n.connect(t)
	if v, ok := counter.Load(s); ok || v != 0 {
		t.Errorf("before: %v, %v", v, ok)
	}
	counter.Delete(s)
	counter.Set(s, 3)
	b := new(board)
	game.Set(s, b)
	closer.Set(s, nil)
	if v, ok := counter.Load(s); !ok || v != 3 {
		t.Errorf("counter: %v, %v", v, ok)
	}
	if v, ok := second.Load(s); ok {
		t.Errorf("another state of the same type has %v", v)
	}
	if v, ok := game.Load(s); !ok || v != b {
		t.Errorf("game: %v, %v", v, ok)
	}
	if v, ok := closer.Load(s); !ok || v != nil {
		t.Errorf("nil: %v, %v", v, ok)
	}
	if v, ok := game.Load(other); ok {
		t.Errorf("another socket has %v", v)
	}
	if raw, err := s.Data().MarshalJSON(); err != nil || string(raw) != "{}" || len(s.Data().Keys()) != 0 {
		t.Errorf("other nodes see %s, %v", raw, err)
	}
	found, err := n.Of("/").To(s.ID()).FetchSockets(t.Context())
	if err != nil || len(found.Values) != 1 || string(found.Values[0].Data()) != "{}" {
		t.Errorf("fetched %+v, %v", found, err)
	}
	counter.Delete(s)
	if v, ok := counter.Load(s); ok {
		t.Errorf("deleted: %v", v)
	}
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			for i := range 100 {
				counter.Set(s, i)
				counter.Load(s)
				second.Set(s, i)
				second.Delete(s)
			}
		})
	}
	users.Wait()
	ended := make(chan bool, 1)
	n.Of("/").OnDisconnect(func(_ context.Context, s *server.Socket, _ server.Reason) {
		_, ok := game.Load(s)
		ended <- ok
	})
	s.Disconnect()
	if !await(t, ended) {
		t.Error("the state is gone in OnDisconnect")
	}
}

func BenchmarkState(b *testing.B) {
	n := start(b, nil)
	_, s := n.connect(b)
	game.Set(s, new(board))
	b.ReportAllocs()
	for b.Loop() {
		if g, ok := game.Load(s); ok {
			g.moves++
		}
	}
}

// A CONNECT is told nobody when nobody watches, and pays nothing for it, whatever the session keeps.
func TestConnectUnwatched(t *testing.T) {
	n := start(t, &server.Options{Engine: server.EngineOptions{
		SessionContext: func(ctx context.Context, _ *http.Request) (context.Context, error) { return ctx, nil },
	}})
	_, s := n.connect(t)
	if allocs := testing.AllocsPerRun(100, s.BeginConnect); allocs != 0 {
		t.Errorf("%v allocations", allocs)
	}
}
