package api

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/users"
)

// Options configure an API. One of Tokens, ClientCertificates and Authorize is required.
type Options struct {
	// Tokens are accepted as bearer tokens.
	Tokens []Token

	// ClientCertificates: whoever has shown a certificate that the TLS server has verified may do everything.
	ClientCertificates bool

	// Authorize says who asks, for the log, and what they may do; ScopeNone for nothing. It is asked about each request.
	Authorize func(r *http.Request) (who string, scope Scope)

	// Directory is the users of the cluster. Without it, what is said of users is answered with an error.
	Directory *users.Directory

	// Revoker makes tokens of clients void: the *auth.Auth of the server. Without it, what is said of tokens is answered with an error.
	Revoker Revoker

	// Agent is this node's part in what the API of other nodes asks. Default: one of its own.
	Agent *Agent

	// Timeout is how long other nodes are waited for. Default 3 s.
	Timeout time.Duration

	// IdempotencyWindow is how long the answer to a request with an Idempotency-Key is kept, on the node that was asked. Default
	// 10 min.
	IdempotencyWindow time.Duration

	// Logger is told who has changed something, and of refused credentials. Default: slog.Default().
	Logger *slog.Logger
}

func (o *Options) settings() (Options, error) {
	var s Options
	if o != nil {
		s = *o
	}
	if len(s.Tokens) == 0 && !s.ClientCertificates && s.Authorize == nil {
		return s, errNoCredential
	}
	if s.Timeout < 0 || s.IdempotencyWindow < 0 {
		return s, errors.New("durations must not be negative")
	}
	s.Timeout = cmp.Or(s.Timeout, 3*time.Second)
	s.IdempotencyWindow = cmp.Or(s.IdempotencyWindow, 10*time.Minute)
	s.Logger = cmp.Or(s.Logger, slog.Default())
	return s, nil
}

// maxRequests bounds the requests that are served at a time; one more is answered 503.
const maxRequests = 64

// API is the control API of a node. It is an http.Handler for the paths below /v1/. All methods may be called from any goroutine.
type API struct {
	// Static after construction.
	srv      *server.Server
	opts     Options
	dir      *users.Directory // nil without
	agent    *Agent
	ownAgent bool
	tokens   []credential
	log      *slog.Logger
	mux      *http.ServeMux

	// crossOrigin keeps pages of other origins from giving commands with the certificate that a browser shows for them.
	crossOrigin http.CrossOriginProtection

	running chan struct{} // as many as requests are being served
	replies replies
	refused atomic.Int64 // when the log was last told of a refused credential, in ns since 1970
}

// New makes the control API of a server. The error names the option that is wrong.
func New(srv *server.Server, opts *Options) (*API, error) {
	o, err := opts.settings()
	if err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	a := &API{srv: srv, opts: o, dir: o.Directory, agent: o.Agent, log: o.Logger, mux: http.NewServeMux(), running: make(chan struct{}, maxRequests)}
	if a.tokens, err = credentials(o.Tokens); err != nil {
		return nil, fmt.Errorf("options: %w", err)
	}
	a.replies.init(o.IdempotencyWindow)
	if a.agent == nil {
		a.agent, a.ownAgent = NewAgent(srv, &AgentOptions{Directory: o.Directory, Logger: o.Logger}), true
	}
	byPath := make(map[string][]route)
	for _, r := range routes {
		byPath[r.path] = append(byPath[r.path], r)
	}
	for path, list := range byPath {
		a.mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { a.dispatch(w, r, list) })
	}
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { a.dispatch(w, r, nil) })
	return a, nil
}

// Close ends what runs. Requests that are being served should have ended.
func (a *API) Close() error {
	if a.ownAgent {
		return a.agent.Close()
	}
	return nil
}

// route is one thing that can be asked.
type route struct {
	method, path string
	scope        Scope
	query        []string // parameters that are known
	quiet        bool     // a change that happens too often to be logged
	optional     bool     // a command that needs no body

	question func(a *API, ctx context.Context, r *http.Request) (any, error) // or
	command  command                                                         // with a body, or
	serve    func(a *API, w http.ResponseWriter, r *http.Request)
}

var routes = []route{
	{method: "GET", path: "/v1/openapi.yaml", scope: ScopeRead, serve: (*API).document},
	{method: "POST", path: "/v1/publish", scope: ScopeWrite, quiet: true, command: single((*API).publish)},
	{method: "POST", path: "/v1/disconnect", scope: ScopeWrite, command: single((*API).disconnect)},
	{method: "POST", path: "/v1/join", scope: ScopeWrite, command: single((*API).join)},
	{method: "POST", path: "/v1/leave", scope: ScopeWrite, command: single((*API).leave)},
	{method: "POST", path: "/v1/batch", scope: ScopeWrite, quiet: true, command: single((*API).batch)},
	{method: "GET", path: "/v1/nodes", scope: ScopeRead, question: (*API).nodes},
	{method: "GET", path: "/v1/nodes/{node}", scope: ScopeRead, question: (*API).node},
	{method: "POST", path: "/v1/nodes/{node}/drain", scope: ScopeAll, optional: true, command: with((*API).drain)},
	{method: "POST", path: "/v1/nodes/{node}/undrain", scope: ScopeAll, optional: true, command: with((*API).undrain)},
	{method: "POST", path: "/v1/rebalance", scope: ScopeAll, optional: true, command: with((*API).rebalance)},
	{method: "GET", path: "/v1/namespaces", scope: ScopeRead, question: (*API).namespaces},
	{method: "GET", path: "/v1/count", scope: ScopeRead, query: []string{"namespace", "room", "except", "user", "users", "local"}, question: (*API).count},
	{method: "GET", path: "/v1/presence", scope: ScopeRead, query: []string{"room", "limit"}, question: (*API).presence},
	{method: "GET", path: "/v1/users/{user}", scope: ScopeRead, question: (*API).user},
	{method: "GET", path: "/v1/users/{user}/sockets", scope: ScopeRead, question: (*API).userSockets},
	{method: "POST", path: "/v1/users/{user}/disconnect", scope: ScopeWrite, optional: true, command: with((*API).disconnectUser)},
	{method: "POST", path: "/v1/users/{user}/revoke", scope: ScopeWrite, optional: true, command: with((*API).revoke)},
	{method: "GET", path: "/v1/trace", scope: ScopeRead, query: []string{"user", "socket", "payloads"}, serve: (*API).trace},
	{method: "GET", path: "/v1/sockets/{socket}", scope: ScopeRead, query: []string{"namespace"}, question: (*API).socket},
}

type command = func(a *API, ctx context.Context, r *http.Request, body []byte) (any, error)

// with is a command whose body is one JSON value.
func with[T any](f func(a *API, ctx context.Context, r *http.Request, v T) (any, error)) command {
	return func(a *API, ctx context.Context, r *http.Request, body []byte) (any, error) {
		v, err := decode[T](body)
		if err != nil {
			return nil, err
		}
		return f(a, ctx, r, v)
	}
}

// single is with, for commands that the body says all of.
func single[T any](f func(a *API, ctx context.Context, v T) (any, error)) command {
	return with(func(a *API, ctx context.Context, _ *http.Request, v T) (any, error) { return f(a, ctx, v) })
}

// ServeHTTP serves one request.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// dispatch serves a request for a path. Who has no credential learns nothing of paths.
func (a *API) dispatch(w http.ResponseWriter, r *http.Request, list []route) {
	limitBody(w, r)
	i := slices.IndexFunc(list, func(route route) bool {
		return route.method == r.Method || route.method == http.MethodGet && r.Method == http.MethodHead
	})
	needed := ScopeRead
	if i >= 0 {
		needed = list[i].scope
	}
	who, err := a.authorize(r, needed)
	switch {
	case err != nil:
		a.noteRefused(r, who)
	case len(list) == 0:
		err = refuse(http.StatusNotFound, "not_found", "there is nothing at %s", r.URL.Path)
	case a.crossOrigin.Check(r) != nil:
		err = refuse(http.StatusForbidden, "cross_origin", "a page of another origin has sent this")
	case i < 0:
		methods := make([]string, len(list))
		for j, route := range list {
			methods[j] = route.method
		}
		w.Header().Set("Allow", strings.Join(methods, ", "))
		err = refuse(http.StatusMethodNotAllowed, "method_not_allowed", "%s takes %s", r.URL.Path, strings.Join(methods, " and "))
	default:
		err = list[i].checkQuery(r)
	}
	if err != nil {
		writeFailure(w, failureOf(err))
		return
	}
	a.answer(w, r, &list[i], who)
}

// checkQuery refuses parameters that would have no effect.
func (t *route) checkQuery(r *http.Request) error {
	for name := range r.URL.Query() {
		if !slices.Contains(t.query, name) {
			return invalid("there is no parameter %q here", name)
		}
	}
	return nil
}

// answer serves a request that is allowed.
func (a *API) answer(w http.ResponseWriter, r *http.Request, t *route, who string) {
	if t.serve != nil {
		t.serve(a, w, r)
		return
	}
	select {
	case a.running <- struct{}{}:
		defer func() { <-a.running }()
	default:
		writeFailure(w, refuse(http.StatusServiceUnavailable, "busy", "%d requests are being served already", maxRequests))
		return
	}
	if t.command == nil {
		ctx, cancel := context.WithTimeout(r.Context(), a.opts.Timeout)
		defer cancel()
		a.finish(w, r, t, who, func() (any, error) { return t.question(a, ctx, r) })
		return
	}
	body, err := readBody(w, r, t.optional)
	if err != nil {
		writeFailure(w, failureOf(err))
		return
	}
	key := r.Header.Get(idempotencyHeader)
	ctx := r.Context()
	if key != "" {
		ctx = context.WithoutCancel(ctx) // or a caller that hangs up in the middle would do a part again with the next attempt
	}
	ctx, cancel := context.WithTimeout(ctx, a.opts.Timeout)
	defer cancel()
	run := func() (any, error) { return t.command(a, ctx, r, body) }
	if key != "" {
		a.once(w, r, t, who, key, body, run)
		return
	}
	a.finish(w, r, t, who, run)
}

// finish runs what was asked, and answers. It returns the status and the body.
func (a *API) finish(w http.ResponseWriter, r *http.Request, t *route, who string, run func() (any, error)) (status int, body []byte) {
	answer, err := run()
	if err != nil {
		f := failureOf(err)
		if f.status >= http.StatusInternalServerError {
			a.log.Warn("control request failed", "method", r.Method, "path", r.URL.Path, "by", who, "error", err)
		}
		writeFailure(w, f)
		return f.status, nil
	}
	if t.command != nil {
		level := slog.LevelInfo
		if t.quiet {
			level = slog.LevelDebug
		}
		a.log.Log(r.Context(), level, "control", "path", r.URL.Path, "by", who, "from", r.RemoteAddr)
	}
	body = encode(answer)
	write(w, http.StatusOK, body)
	return http.StatusOK, body
}

// refusedInterval is how often the log tells of refused credentials.
const refusedInterval = 10 * time.Second

func (a *API) noteRefused(r *http.Request, who string) {
	now, last := time.Now().UnixNano(), a.refused.Load()
	if now-last >= int64(refusedInterval) && a.refused.CompareAndSwap(last, now) {
		a.log.Warn("control request without sufficient credential", "method", r.Method, "path", r.URL.Path, "by", who, "from", r.RemoteAddr)
	}
}

//go:embed openapi.yaml
var openAPI []byte

// document serves the description of the API.
func (a *API) document(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	send(w, http.StatusOK, openAPI)
}
