package users_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a cluster with one directory.
type world struct {
	t       *testing.T
	cluster *adaptertest.Cluster
	store   *faultyStore
	opts    users.Options
	nodes   map[string]*node

	recovery *server.RecoveryOptions
	forgets  bool // the nodes take the store for one that forgets

	mu sync.Mutex
	// Guarded by mu.
	events []string            // "+user node" and "-user node"
	got    map[string][]string // by socket, the first argument of each event
}

type node struct {
	*servertest.Server
	w    *world
	name string
	srv  *server.Server
	dir  *users.Directory
	link *faultyStore // this node's way to the store
}

// forgetfulStore says that it forgets.
type forgetfulStore struct{ adapter.UserStore }

func (forgetfulStore) Forgets() {}

// bubble runs a test in virtual time with nodes of these names.
func bubble(t *testing.T, opts users.Options, names string, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, opts)
		for _, name := range strings.Fields(names) {
			w.start(name)
		}
		w.settle()
		f(t, w)
	})
}

func newWorld(t *testing.T, opts users.Options) *world {
	return &world{t: t, cluster: new(adaptertest.Cluster), store: &faultyStore{inner: newStore()}, opts: opts,
		nodes: make(map[string]*node), got: make(map[string][]string)}
}

// settle lets the directories find each other.
func (w *world) settle() {
	time.Sleep(20 * time.Second)
	synctest.Wait()
}

func (w *world) start(name string) *node {
	return w.startServer(name, w.cluster.Node(adapter.NodeID(name)))
}

func (w *world) startServer(name string, builder adapter.Builder) *node {
	w.t.Helper()
	quiet := logger()
	srv, err := server.New(&server.Options{Adapter: builder, NodeName: name, Logger: quiet, Recovery: w.recovery})
	if err != nil {
		w.t.Fatal(err)
	}
	n := &node{w: w, name: name, srv: srv, link: &faultyStore{inner: w.store}}
	srv.Of("/").HandleAnyOutgoing(func(_ context.Context, s *server.Socket, e *server.Event) {
		var text string
		_ = e.Args.Unmarshal(0, &text)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.got[s.ID()] = append(w.got[s.ID()], text)
	})
	opts := w.opts
	opts.Store, opts.Logger = n.link, quiet
	if w.forgets {
		opts.Store = forgetfulStore{n.link}
	}
	if n.dir, err = users.New(srv, opts); err != nil {
		w.t.Fatal(err)
	}
	n.dir.OnOnline(func(user string) { w.event("+" + user + " " + name) })
	n.dir.OnOffline(func(user string) { w.event("-" + user + " " + name) })
	n.Server = servertest.New(w.t, srv, &servertest.Options{Timeout: time.Hour})
	w.t.Cleanup(func() {
		if err := n.dir.Close(); err != nil {
			w.t.Error(err)
		}
	})
	w.nodes[name] = n
	return n
}

func (w *world) event(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, text)
}

// expectEvents checks what the application was told of each user since the last call, in order. "-u a|b" is told by either node.
func (w *world) expectEvents(want ...string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	got := w.events
	w.events = nil
	w.mu.Unlock()
	byUser := func(a, b string) int { return strings.Compare(strings.Fields(a)[0][1:], strings.Fields(b)[0][1:]) }
	slices.SortStableFunc(got, byUser)
	slices.SortStableFunc(want, byUser)
	ok := len(got) == len(want)
	for i := range want {
		if !ok {
			break
		}
		what, nodes, _ := strings.Cut(want[i], " ")
		ok = slices.ContainsFunc(strings.Split(nodes, "|"), func(node string) bool { return got[i] == what+" "+node })
	}
	if !ok {
		w.t.Errorf("events %q, want %q", got, want)
	}
}

// take returns what a socket was sent since the last call.
func (w *world) take(s *server.Socket) []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.got[s.ID()]
	delete(w.got, s.ID())
	return got
}

// expect checks what sockets were sent since the last call.
func (w *world) expect(what string, s *server.Socket, want ...string) {
	w.t.Helper()
	if got := w.take(s); !slices.Equal(got, want) {
		w.t.Errorf("%s got %q, want %q", what, got, want)
	}
}

// connect makes a socket.
func (n *node) connect() (*servertest.Socket, *server.Socket) {
	n.w.t.Helper()
	c := n.Connect(n.w.t, "/", nil)
	s, ok := n.srv.Of("/").Socket(c.ID())
	if !ok {
		n.w.t.Fatalf("socket %s is not there", c.ID())
	}
	return c, s
}

// bind makes a socket of a user.
func (n *node) bind(user string) (*servertest.Socket, *server.Socket) {
	n.w.t.Helper()
	c, s := n.connect()
	if err := n.dir.Bind(n.w.t.Context(), s, user, nil); err != nil {
		n.w.t.Fatalf("bind on %s: %v", n.name, err)
	}
	return c, s
}

// leave closes a client's connection.
func leave(c *servertest.Socket) { c.Client().Close() }

// emit sends a message to a user.
func (n *node) emit(user, text string) error {
	return n.dir.User(user).Emit(n.w.t.Context(), "message", text)
}

func (n *node) mustEmit(user, text string) {
	n.w.t.Helper()
	if err := n.emit(user, text); err != nil {
		n.w.t.Errorf("emit %s from %s to %s: %v", text, n.name, user, err)
	}
}

// where names the nodes of a user as a node knows them.
func (n *node) where(user string) string {
	n.w.t.Helper()
	list, err := n.dir.User(user).Nodes(n.w.t.Context())
	if err != nil {
		return err.Error()
	}
	var names []string
	for _, node := range list {
		names = append(names, string(node.ID))
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func (w *world) expectWhere(user, want string) {
	w.t.Helper()
	for _, n := range w.nodes {
		if got := n.where(user); got != want {
			w.t.Errorf("%s: %s is on %q, want %q", n.name, user, got, want)
		}
	}
}

func text(i int) string { return fmt.Sprint("m", i) }

// logger shows what is logged if SOCKEYE_TEST_LOG is set.
func logger() *slog.Logger {
	if os.Getenv("SOCKEYE_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Holders knows without asking on how many nodes a user is, where the user is.
func TestHolders(t *testing.T) {
	bubble(t, users.Options{Mixed: users.MixedOff}, "a b c", func(t *testing.T, w *world) {
		expect := func(a, b, c int) {
			t.Helper()
			synctest.Wait()
			for name, want := range map[string]int{"a": a, "b": b, "c": c} {
				if got := w.nodes[name].dir.Holders("eve"); got != want {
					t.Errorf("%s: %d holders, want %d", name, got, want)
				}
			}
		}
		expect(0, 0, 0)
		w.nodes["a"].bind("eve")
		expect(1, 0, 0)
		second, _ := w.nodes["b"].bind("eve")
		expect(2, 2, 0)
		second.Client().Close()
		time.Sleep(time.Minute)
		expect(1, 0, 0)
	})
}
