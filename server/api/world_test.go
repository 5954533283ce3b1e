package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/adaptertest"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/api"
	"github.com/sockeye-io/sockeye/server/servertest"
	"github.com/sockeye-io/sockeye/server/users"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Secrets of the tokens that every API of the tests takes.
const (
	readSecret  = "read-0123456789abcdef"
	writeSecret = "write-0123456789abcdef"
	allSecret   = "all-0123456789abcdef"
)

var tokens = []api.Token{
	{Name: "reader", Secret: readSecret, Scope: api.ScopeRead},
	{Name: "writer", Secret: writeSecret, Scope: api.ScopeWrite},
	{Name: "operator", Secret: allSecret, Scope: api.ScopeAll},
}

// exchange is a request with its answer, which the document must allow.
type exchange struct {
	request *http.Request
	body    string
	answer  *httptest.ResponseRecorder
}

// world is a cluster whose nodes have an API and a directory each.
type world struct {
	t         *testing.T
	cluster   *adaptertest.Cluster
	store     adapter.UserStore
	exchanges *[]exchange
}

type node struct {
	*servertest.Server
	w    *world
	name string
	srv  *server.Server
	dir  *users.Directory
	api  *api.API
}

// bubble runs a test in virtual time with nodes of these names, and holds what was said against the document.
func bubble(t *testing.T, names string, f func(t *testing.T, w *world, nodes []*node)) {
	t.Helper()
	var exchanges []exchange
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, cluster: new(adaptertest.Cluster), store: users.NewMemoryStore(), exchanges: &exchanges}
		var nodes []*node
		for _, name := range strings.Fields(names) {
			nodes = append(nodes, w.start(name))
		}
		w.settle()
		f(t, w, nodes)
	})
	for _, e := range exchanges {
		api.CheckExchange(t, e.request.Method, e.request.URL.EscapedPath(), e.body, e.answer.Code, e.answer.Header().Get("Content-Type"), e.answer.Body.Bytes())
	}
}

// settle lets the nodes find each other.
func (w *world) settle() {
	time.Sleep(20 * time.Second)
	synctest.Wait()
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func (w *world) start(name string) *node {
	w.t.Helper()
	srv, err := server.New(&server.Options{Adapter: w.cluster.Node(adapter.NodeID(name)), NodeName: name, Logger: quiet()})
	if err != nil {
		w.t.Fatal(err)
	}
	n := &node{w: w, name: name, srv: srv}
	if n.dir, err = users.New(srv, users.Options{Store: w.store, Mixed: users.MixedOff, Logger: quiet()}); err != nil {
		w.t.Fatal(err)
	}
	if n.api, err = api.New(srv, &api.Options{Tokens: tokens, Directory: n.dir, Logger: quiet()}); err != nil {
		w.t.Fatal(err)
	}
	n.Server = servertest.New(w.t, srv, &servertest.Options{Timeout: time.Hour})
	w.t.Cleanup(func() {
		if err := n.api.Close(); err != nil {
			w.t.Error(err)
		}
		if err := n.dir.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return n
}

// login connects a socket of a user; "" is nobody.
func (n *node) login(user string) *servertest.Socket {
	n.w.t.Helper()
	c := n.Connect(n.w.t, "/", nil)
	if user != "" {
		s, _ := n.srv.Of("/").Socket(c.ID())
		if err := n.dir.Bind(n.w.t.Context(), s, user, map[string]string{"name": strings.ToUpper(user)}); err != nil {
			n.w.t.Fatal(err)
		}
	}
	return c
}

// join puts a socket of this node into rooms.
func (n *node) join(c *servertest.Socket, rooms ...string) {
	n.w.t.Helper()
	s, ok := n.srv.Of("/").Socket(c.ID())
	if !ok {
		n.w.t.Fatal("the socket is not there")
	}
	if err := s.Join(n.w.t.Context(), rooms...); err != nil {
		n.w.t.Fatal(err)
	}
}

// ask sends a request with a token, and keeps it for the comparison with the document.
func (n *node) ask(secret, method, target, body string, header ...string) *httptest.ResponseRecorder {
	n.w.t.Helper()
	r := httptest.NewRequestWithContext(n.w.t.Context(), method, "http://127.0.0.1:9000"+target, strings.NewReader(body))
	if secret != "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	n.api.ServeHTTP(w, r)
	*n.w.exchanges = append(*n.w.exchanges, exchange{r, body, w})
	return w
}

// get asks for an answer with status 200.
func (n *node) get(target string, answer any) {
	n.w.t.Helper()
	n.ok(n.ask(readSecret, "GET", target, ""), answer)
}

// post has something done.
func (n *node) post(target, body string, answer any) {
	n.w.t.Helper()
	n.ok(n.ask(allSecret, "POST", target, body), answer)
}

func (n *node) ok(w *httptest.ResponseRecorder, answer any) {
	n.w.t.Helper()
	if w.Code != http.StatusOK {
		n.w.t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if answer != nil {
		if err := json.Unmarshal(w.Body.Bytes(), answer); err != nil {
			n.w.t.Fatalf("%v in %s", err, w.Body)
		}
	}
}

// refused checks that a request is answered with an error.
func (n *node) refused(w *httptest.ResponseRecorder, status int, code string) {
	n.w.t.Helper()
	var e struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || w.Code != status || e.Error.Code != code || e.Error.Message == "" {
		n.w.t.Errorf("answered %d %s, want %d %q", w.Code, bytes.TrimSpace(w.Body.Bytes()), status, code)
	}
}

// done is the answer to a command.
type done struct {
	Partial               bool
	Reason                string
	Missing               []string
	Offline, Away, Failed []string
}
