package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/server/api"
)

// minAdminToken is how many bytes the token for the control API has at least.
const minAdminToken = 16

// controlFlags say who may use the control API.
type controlFlags struct {
	AdminTokenFile string `placeholder:"FILE" type:"existingfile" help:"File whose bytes, without white space at the end, are the token of the control API under /v1/ of --admin-addr; 16 at least, read again when it changes. Without it and --admin-client-ca there is no control API."`
	AdminTLSCert   string `name:"admin-tls-cert" type:"existingfile" help:"PEM file of the certificate chain of --admin-addr; with --admin-tls-key it speaks TLS. Both are read again as --tls-cert is."`
	AdminTLSKey    string `name:"admin-tls-key" type:"existingfile" help:"PEM file of the certificate's private key."`
	AdminClientCA  string `name:"admin-client-ca" type:"existingfile" help:"PEM file of authorities: whoever has a certificate of one of them may use the control API. Probes need none."`
}

func (f *controlFlags) validateControl(addr string) error {
	switch {
	case (f.AdminTLSCert == "") != (f.AdminTLSKey == ""):
		return errors.New("--admin-tls-cert and --admin-tls-key need each other")
	case f.AdminClientCA != "" && f.AdminTLSCert == "":
		return errors.New("--admin-client-ca needs --admin-tls-cert")
	case addr == "" && (f.AdminTokenFile != "" || f.AdminTLSCert != ""):
		return errors.New("--admin-token-file and --admin-tls-cert need --admin-addr")
	}
	return nil
}

// adminTLS reads the files for the address for operators; nil without TLS.
func (f *controlFlags) adminTLS() (*tlsFiles, error) {
	if f.AdminTLSCert == "" {
		return nil, nil
	}
	t := &tlsFiles{flags: "--admin-tls-cert, --admin-tls-key", cert: f.AdminTLSCert, key: f.AdminTLSKey, ca: f.AdminClientCA, base: tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
	}}
	if f.AdminClientCA != "" {
		t.base.ClientAuth = tls.VerifyClientCertIfGiven // a probe has none
	}
	_, err := t.load()
	return t, err
}

// adminCredentials returns what the address for operators shows, nil without TLS, and whom it lets do more than look.
func (f *controlFlags) adminCredentials(log *slog.Logger) (*tlsFiles, *adminAuth, error) {
	secured, err := f.adminTLS()
	if err != nil {
		return nil, nil, err
	}
	auth, err := f.newAdminAuth(log)
	return secured, auth, err
}

// adminAuth knows who may do more than look at the health of a node.
type adminAuth struct {
	// Static.
	file         string // of the token, "" without
	certificates bool   // verified client certificates are accepted
	log          *slog.Logger

	mu sync.Mutex
	// Guarded by mu.
	looked time.Time // at the file
	state  os.FileInfo
	hash   [sha256.Size]byte
}

// newAdminAuth returns nil if nobody may.
func (f *controlFlags) newAdminAuth(log *slog.Logger) (*adminAuth, error) {
	if f.AdminTokenFile == "" && f.AdminClientCA == "" {
		return nil, nil
	}
	a := &adminAuth{file: f.AdminTokenFile, certificates: f.AdminClientCA != "", log: log}
	if a.file != "" {
		if err := a.read(); err != nil {
			return nil, fmt.Errorf("--admin-token-file: %w", err)
		}
	}
	return a, nil
}

func (a *adminAuth) read() error {
	state, err := os.Stat(a.file)
	if err != nil {
		return err
	}
	token, err := readToken(a.file)
	if err != nil {
		return err
	}
	a.state, a.hash = state, sha256.Sum256(token)
	return nil
}

// readToken reads a file whose bytes without white space at the end are a token.
func readToken(file string) ([]byte, error) {
	token, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	token = bytes.TrimRight(token, " \t\r\n")
	if len(token) < minAdminToken {
		return nil, fmt.Errorf("%s has a token of %d bytes, at least %d are needed", file, len(token), minAdminToken)
	}
	return token, nil
}

// lookAgain is how long the file with the token is not looked at after it was.
const lookAgain = time.Second

// current returns the hash of the token, read again if the file has changed. A file that cannot be read leaves the token as it was.
func (a *adminAuth) current() [sha256.Size]byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.looked) < lookAgain {
		return a.hash
	}
	a.looked = time.Now()
	state, err := os.Stat(a.file)
	if err == nil && state.ModTime().Equal(a.state.ModTime()) && state.Size() == a.state.Size() && os.SameFile(state, a.state) {
		return a.hash
	}
	if err = a.read(); err != nil {
		a.log.Warn("the token of the control API stays as it was", "error", err)
	} else {
		a.log.Info("the token of the control API was read again")
	}
	return a.hash
}

// authorize says who asks, and what they may do: everything or nothing.
func (a *adminAuth) authorize(r *http.Request) (who string, scope api.Scope) {
	if a.certificates && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return "certificate " + r.TLS.VerifiedChains[0][0].Subject.CommonName, api.ScopeAll
	}
	if token := api.Bearer(r); a.file != "" && token != "" {
		given, want := sha256.Sum256([]byte(token)), a.current()
		if subtle.ConstantTimeCompare(given[:], want[:]) == 1 {
			return "token", api.ScopeAll
		}
	}
	return "", api.ScopeNone
}

// protect lets only those to a handler who may do everything; nil lets everybody who has asked for a loopback address.
func (a *adminAuth) protect(h http.Handler) http.Handler {
	if a == nil {
		return loopbackHosts(h)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, scope := a.authorize(r); scope < api.ScopeAll {
			w.Header().Set("WWW-Authenticate", `Bearer realm="sockeye"`)
			http.Error(w, "the token of --admin-token-file is needed, or a certificate of --admin-client-ca", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// control is a node's part in the control API, and the API itself if somebody may use it.
type control struct {
	auth  *adminAuth // nil: nobody may
	agent *api.Agent // nil for the engine app
	api   *api.API   // nil without auth
}

func newControl(node *app, auth *adminAuth, log *slog.Logger) (ctl *control, err error) {
	if node.server == nil {
		return &control{auth: auth}, nil
	}
	ctl = &control{auth: auth, agent: api.NewAgent(node.server, &api.AgentOptions{Directory: node.directory, Logger: log})}
	if auth != nil {
		opts := &api.Options{Authorize: auth.authorize, Directory: node.directory, Agent: ctl.agent, Logger: log}
		if node.guard != nil {
			opts.Revoker = node.guard.Auth
		}
		ctl.api, err = api.New(node.server, opts)
	}
	if err != nil {
		ctl.stop()
	}
	return ctl, err
}

// stop ends what others ask of this node.
func (c *control) stop() {
	if c.api != nil {
		_ = c.api.Close() // it never fails
	}
	if c.agent != nil {
		_ = c.agent.Close() // nor does this
	}
}

// register adds the control API to what operators see, or says how to have it.
func (c *control) register(mux *operatorMux) {
	if c != nil && c.api != nil {
		mux.Handle("/v1/", c.api)
		mux.list = append(mux.list, fmt.Sprintf("%-15s %s", "/v1/", "the control API, see /v1/openapi.yaml"))
		return
	}
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintln(w, `{"error":{"code":"no_credential","message":"the node was started without --admin-token-file and --admin-client-ca, so that nobody may use the control API"}}`)
	})
}
