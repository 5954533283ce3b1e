package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// adminFlags say where operators ask this node.
type adminFlags struct {
	AdminAddr        string `placeholder:"HOST:PORT" help:"Private address for operators and probes, never one that clients reach: /livez, /readyz, /startupz, and a list of what else there is at /; none by default."`
	ReadyNeedsBroker bool   `help:"Answer /readyz with 503 while the broker is away. By default a node stays ready then: it serves its own clients, and all nodes would leave the load balancer at once."`
	Pprof            bool   `help:"Serve Go's profiles under /debug/pprof/ of --admin-addr, which must be a loopback address then, or ask for the credential of the control API."`

	controlFlags
}

func (f *adminFlags) validateAdmin(kind brokerKind) error {
	switch {
	case f.Pprof && f.AdminAddr == "":
		return errors.New("--pprof needs --admin-addr")
	case f.ReadyNeedsBroker && f.AdminAddr == "":
		return errors.New("--ready-needs-broker needs --admin-addr")
	case f.ReadyNeedsBroker && kind == "":
		return fmt.Errorf("--ready-needs-broker needs %s", kind.chosenBy())
	}
	if err := f.validateControl(f.AdminAddr); err != nil {
		return err
	}
	if f.AdminAddr == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(f.AdminAddr); err != nil {
		return fmt.Errorf("--admin-addr: %w", err)
	}
	if f.Pprof && f.AdminTokenFile == "" && f.AdminClientCA == "" {
		if err := checkLoopback(f.AdminAddr); err != nil {
			return fmt.Errorf("--pprof with --admin-addr: %w", err)
		}
	}
	return nil
}

// adminHandlers is everything that is served on the address for operators; nothing of it is on the address for clients.
func (c *serveCommand) adminHandlers(node *app) http.Handler {
	mux := newOperatorMux(c.openPages)
	(&probes{node: node, needsBroker: c.ReadyNeedsBroker}).register(mux)
	if c.Pprof {
		profiles := node.control.auth.protect(profileHandlers())
		mux.protected("/debug/pprof/", "Go's profiles of this process", profiles)
		mux.Handle("POST /debug/pprof/symbol", profiles) // as go tool pprof asks
	}
	mux.add("/metrics", "metrics for Prometheus", node.metrics.handler())
	node.control.register(mux)
	return limitBodies(mux)
}

// openPages protects what needs no credential. Of an address that only this machine reaches a browser on this machine is the way in:
// names that lead there are refused. Elsewhere programs ask by names that nobody knows here, and the network has to keep strangers out.
func (f *adminFlags) openPages(h http.Handler) http.Handler {
	if checkLoopback(f.AdminAddr) != nil {
		return h
	}
	return loopbackHosts(h)
}

const (
	// operatorBodyTimeout is how long the body of a request may take to arrive.
	operatorBodyTimeout = 10 * time.Second
	// operatorPageTimeout is how long an answer may take to be taken.
	operatorPageTimeout = 30 * time.Second
)

// limitBodies bounds how long the body of a request is waited for, also one that no handler reads: the server waits for it then, to
// use the connection again.
func limitBodies(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			// A writer without deadlines, as in tests, has a body that is there.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(operatorBodyTimeout))
		}
		h.ServeHTTP(w, r)
	})
}

// limitAnswers bounds how long an answer is waited for until it is taken: whoever takes none would keep others out of a page that is
// made for a few at a time. The server lifts the deadline with the end of the request.
func limitAnswers(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A writer without deadlines, as in tests, has nobody who is slow.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(operatorPageTimeout))
		h.ServeHTTP(w, r)
	})
}

// operatorMux is a mux that tells at / what there is.
type operatorMux struct {
	*http.ServeMux
	open func(http.Handler) http.Handler // protects pages that need no credential
	list []string
}

func newOperatorMux(open func(http.Handler) http.Handler) *operatorMux {
	m := &operatorMux{ServeMux: http.NewServeMux(), open: open}
	m.Handle("GET /{$}", open(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		for _, line := range m.list {
			fmt.Fprintln(w, line)
		}
	})))
	return m
}

// add serves GET requests for a path, which need no credential, and says at / what it is for. All are added before the first request.
func (m *operatorMux) add(path, about string, handler http.Handler) {
	m.protected(path, about, m.open(limitAnswers(handler)))
}

// protected is add for a handler that sees to itself who may ask.
func (m *operatorMux) protected(path, about string, handler http.Handler) {
	m.Handle("GET "+path, handler)
	m.list = append(m.list, fmt.Sprintf("%-15s %s", path, about))
}

// adminServer serves a handler on the address for operators.
type adminServer struct {
	web    *http.Server
	served chan struct{} // closed when Serve has returned
}

// startAdmin listens on addr, with TLS unless secured is nil; "" means nothing is served, and a nil result whose stop does nothing.
func startAdmin(addr string, handler http.Handler, secured *tlsFiles, log *slog.Logger) (*adminServer, error) {
	if addr == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--admin-addr: %w", err)
	}
	scheme := "http://"
	if secured != nil {
		listener, scheme = tls.NewListener(listener, secured.server()), "https://"
	}
	a := &adminServer{served: make(chan struct{}), web: &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	go func() {
		defer close(a.served)
		if err := a.web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("operators are not served any more", "error", err)
		}
	}()
	log.Info("serving operators", "url", scheme+listener.Addr().String()+"/")
	return a, nil
}

// stop cuts off the answers that are under way.
func (a *adminServer) stop() {
	if a == nil {
		return
	}
	a.web.Close()
	<-a.served
}
