package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/auth"
	"github.com/sockeye-io/sockeye/server/users"
)

// authFlags say who may use the chat.
type authFlags struct {
	Auth             string        `default:"none" enum:"none,jwt" help:"Who may use the chat: everybody under any name (none), or whoever has a JSON Web Token, whose subject is the name (jwt)."`
	JWTKey           string        `name:"jwt-key" type:"existingfile" placeholder:"FILE" help:"Key that tokens are verified with: PEM with a public key or a certificate, a JWK set, or else an HMAC secret of 32 bytes at least."`
	JWKSURL          string        `name:"jwks-url" secret:"url" placeholder:"URL" help:"JWK set that tokens are verified with; its keys may change at any time."`
	JWKSOptional     bool          `name:"jwks-optional" help:"Start without the JWK set, and refuse all clients until it can be fetched. By default the node does not start."`
	JWTAudience      []string      `name:"jwt-audience" placeholder:"NAME" help:"Tokens must be for one of these; by default that is not asked."`
	JWTIssuer        string        `name:"jwt-issuer" placeholder:"NAME" help:"Tokens must be from this issuer; by default that is not asked."`
	JWTMaxLifetime   time.Duration `name:"jwt-max-lifetime" placeholder:"DURATION" help:"Longest time from the issue of a token to its expiry, and how long revocations are kept; 8760h by default."`
	JWTRenewBefore   time.Duration `name:"jwt-renew-before" placeholder:"DURATION" help:"How long before its token expires a client is asked for a new one; 1m by default."`
	JWTGrace         time.Duration `name:"jwt-grace" placeholder:"DURATION" help:"How long after that a client may stay that has not brought one; 30s by default, which is also the least."`
	JWTCookie        string        `name:"jwt-cookie" placeholder:"NAME" help:"Cookie that has the token, for clients that send it nowhere else; needs --jwt-cookie-origins. None by default."`
	JWTCookieOrigins []string      `name:"jwt-cookie-origins" placeholder:"ORIGIN" help:"Pages whose cookies are taken, such as https://app.example.org."`
	ServeUnread      bool          `name:"auth-serve-unread" help:"Let clients in although the broker has never told since the start which tokens are revoked. By default they are refused until then."`
	DemoTokens       bool          `help:"Give a token for any name to everybody who asks at /demo-token, for demonstrations; needs a --jwt-key that can sign."`
}

// flags lists those that need --auth jwt.
func (f *authFlags) flags() []flag {
	return []flag{
		{"--jwt-key", f.JWTKey != ""}, {"--jwks-url", f.JWKSURL != ""}, {"--jwks-optional", f.JWKSOptional},
		{"--jwt-audience", len(f.JWTAudience) > 0}, {"--jwt-issuer", f.JWTIssuer != ""},
		{"--jwt-max-lifetime", f.JWTMaxLifetime != 0}, {"--jwt-renew-before", f.JWTRenewBefore != 0}, {"--jwt-grace", f.JWTGrace != 0},
		{"--jwt-cookie", f.JWTCookie != ""}, {"--jwt-cookie-origins", len(f.JWTCookieOrigins) > 0},
		{"--auth-serve-unread", f.ServeUnread}, {"--demo-tokens", f.DemoTokens},
	}
}

func (f *authFlags) validateAuth(app string) error {
	if f.Auth != "jwt" {
		for _, flag := range f.flags() {
			if flag.given {
				return fmt.Errorf("%s needs --auth jwt", flag.name)
			}
		}
		return nil
	}
	switch {
	case app != "chat":
		return fmt.Errorf("--auth is for the chat; the %s app has no users", app)
	case (f.JWTKey == "") == (f.JWKSURL == ""):
		return errors.New("--auth jwt needs either --jwt-key or --jwks-url")
	case f.JWKSOptional && f.JWKSURL == "":
		return errors.New("--jwks-optional needs --jwks-url")
	case f.DemoTokens && f.JWKSURL != "":
		return errors.New("--demo-tokens needs --jwt-key: the keys of a URL sign nothing")
	case (f.JWTCookie == "") != (len(f.JWTCookieOrigins) == 0):
		return errors.New("--jwt-cookie and --jwt-cookie-origins need each other")
	}
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"--jwt-max-lifetime", f.JWTMaxLifetime}, {"--jwt-renew-before", f.JWTRenewBefore}, {"--jwt-grace", f.JWTGrace}} {
		if d.v < 0 {
			return fmt.Errorf("%s must be positive, got %v", d.name, d.v)
		}
	}
	return nil
}

// guard is what stands in front of the chat. A nil one lets everybody in.
type guard struct {
	*auth.Auth // set by protect
	keys       *auth.Keys
	flags      *authFlags
	log        *slog.Logger
}

// openGuard reads or fetches the keys; nil without authentication.
func (f *authFlags) openGuard(log *slog.Logger) (g *guard, err error) {
	if f.Auth != "jwt" {
		return nil, nil
	}
	g = &guard{flags: f, log: log}
	if f.JWKSURL != "" {
		g.keys, err = auth.FetchKeys(f.JWKSURL, auth.FetchOptions{Optional: f.JWKSOptional, Logger: log})
		if err != nil {
			return nil, fmt.Errorf("--jwks-url: %w", err)
		}
		return g, nil
	}
	if g.keys, err = auth.ReadKeys(f.JWTKey); err != nil {
		return nil, fmt.Errorf("--jwt-key: %w", err)
	}
	if f.DemoTokens && !g.keys.CanSign() {
		return nil, errors.New("--demo-tokens: the key of --jwt-key is a public one, which signs nothing")
	}
	if f.DemoTokens {
		log.Warn("--demo-tokens gives a token for any name to everybody who asks")
	}
	return g, nil
}

// protect puts the guard in front of the chat's namespace.
func (g *guard) protect(srv *server.Server, dir *users.Directory, others *cluster) (err error) {
	if g == nil {
		return nil
	}
	f := g.flags
	opts := auth.Options{
		Keys: g.keys, Audience: f.JWTAudience, Issuer: f.JWTIssuer, MaxLifetime: f.JWTMaxLifetime, Window: f.JWTRenewBefore, Grace: f.JWTGrace,
		Cookie: f.JWTCookie, CookieOrigins: f.JWTCookieOrigins, ServeUnread: f.ServeUnread, CheckSubject: checkSubject, Logger: g.log,
	}
	if others != nil {
		opts.Revocations = others.revocations()
	}
	if g.Auth, err = auth.New(opts); err == nil {
		_, err = g.Protect(srv.Of("/"), dir)
	}
	return err
}

// checkSubject refuses tokens of users that the chat cannot have.
func checkSubject(subject string) error {
	return cmp.Or(auth.CheckSubject(subject), name(subject).checkUser())
}

func (g *guard) close() error {
	if g == nil {
		return nil
	}
	var err error
	if g.Auth != nil {
		err = g.Auth.Close()
	}
	return errors.Join(err, g.keys.Close())
}

// mode tells the page how one logs in: none, jwt or demo.
func (g *guard) mode() string {
	switch {
	case g == nil:
		return "none"
	case g.flags.DemoTokens:
		return "demo"
	}
	return "jwt"
}

// demoPath is where demonstrations get their tokens.
const demoPath = "/demo-token"

// demo serves tokens besides the app, if that is wanted.
func (g *guard) demo(next http.Handler) http.Handler {
	if g == nil || !g.flags.DemoTokens {
		return next
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+demoPath, g.demoToken)
	mux.HandleFunc(demoPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, `POST {"user": NAME} gives a token.`, http.StatusMethodNotAllowed)
	})
	mux.Handle("/", next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == demoPath {
			mux.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r) // as it came: the mux would redirect paths that are not clean
	})
}

// demoAnswer is what a demonstration gets.
type demoAnswer struct {
	Token     string `json:"token"`
	ExpiresAt int64  `json:"expiresAt"` // milliseconds since 1970
}

// demoToken gives a token for the name that is asked for.
func (g *guard) demoToken(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<10))
	var in struct{ User name }
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil {
		http.Error(w, `The body is to be {"user": NAME}.`, http.StatusBadRequest)
		return
	}
	if err := checkSubject(string(in.User)); err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	grant := auth.Grant{Subject: string(in.User), Issuer: g.flags.JWTIssuer}
	if len(g.flags.JWTAudience) > 0 {
		grant.Audience = g.flags.JWTAudience[0]
	}
	token, expires, err := g.keys.Sign(grant)
	if err != nil {
		g.log.Error("a token for a demonstration cannot be made", "error", err)
		http.Error(w, "The server cannot make tokens.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(demoAnswer{token, expires.UnixMilli()}) // who asked may have gone
}
