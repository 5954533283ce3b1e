package limits_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/limits"
	"github.com/sockeye-io/sockeye/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fromHeader says in tests where a request comes from.
const fromHeader = "Test-From"

// node is a server with limits whose clients come from the addresses that they name.
type node struct {
	*server.Server
	limits *limits.Limits
	web    *servertest.Server
}

// ServeHTTP lets a request come from where it says.
func (n *node) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if from := r.Header.Get(fromHeader); from != "" {
		r.RemoteAddr = from
	}
	n.Server.ServeHTTP(w, r)
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// start serves with limits. Clients may echo, and join rooms.
func start(t testing.TB, o *limits.Options, opts *server.Options) *node {
	t.Helper()
	l, err := limits.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if opts == nil {
		opts = &server.Options{}
	}
	if opts.Logger == nil {
		opts.Logger = quiet
	}
	l.Install(opts)
	srv, err := server.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Server: srv, limits: l}
	for _, name := range []string{"/", "/a", "/b"} {
		nsp := srv.Of(name)
		nsp.Handle("echo", server.FuncAck(func(_ context.Context, _ *server.Socket, x any) (any, error) { return x, nil }))
		nsp.Handle("typing", server.FuncAck(func(_ context.Context, _ *server.Socket, x any) (any, error) { return x, nil }))
		nsp.Handle("join", server.FuncAck(func(ctx context.Context, s *server.Socket, rooms []string) (bool, error) {
			return true, s.Join(ctx, rooms...)
		}))
	}
	n.web = servertest.New(t, n, &servertest.Options{Timeout: time.Minute})
	return n
}

func from(address string) *servertest.DialOptions {
	return &servertest.DialOptions{Header: http.Header{fromHeader: {address}}}
}

// connect joins the main namespace from an address.
func (n *node) connect(t testing.TB, address string) *servertest.Socket {
	t.Helper()
	return n.web.Dial(t, from(address)).Connect("/", nil)
}

// refused dials and returns how that was refused; nil if it was not.
func (n *node) refused(t testing.TB, opts *servertest.DialOptions) *servertest.CloseError {
	t.Helper()
	c, err := n.web.TryDial(t, opts)
	var refusal *servertest.CloseError
	switch {
	case err == nil:
		c.Cut()
		return nil
	case !errors.As(err, &refusal):
		t.Fatal(err)
	}
	return refusal
}

// expectHits compares the counters that are not 0.
func (n *node) expectHits(t testing.TB, want map[string]uint64) {
	t.Helper()
	got := n.limits.Stats()
	maps.DeleteFunc(got, func(_ string, hits uint64) bool { return hits == 0 })
	if !maps.Equal(got, want) {
		t.Errorf("hits %v, want %v", got, want)
	}
}

// echo proves that a client is served.
func echo(t testing.TB, s *servertest.Socket) {
	t.Helper()
	expectReply(t, s.EmitWithAck("echo", "x"), `"x"`)
}

func expectReply(t testing.TB, args server.Args, want string) {
	t.Helper()
	if got := string(args.At(0).JSON); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
