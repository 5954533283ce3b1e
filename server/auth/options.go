package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// Options configure authentication. Only Keys is required.
type Options struct {
	// Keys verify the tokens. The application closes them.
	Keys *Keys

	// Algorithms are those that are allowed, such as "RS256". Default: HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512,
	// ES256, ES384, ES512 and EdDSA, each only with keys of its own kind.
	Algorithms []string

	// Audience has those of which a token must name one. Default: none is asked for, and every token that the keys have signed is
	// taken, whichever service it is for.
	Audience []string

	// Issuer is who must have issued a token. Default: it is not asked.
	Issuer string

	// Leeway is how far this node's clock and the issuer's may differ. Default 30 s; below 0: not at all.
	Leeway time.Duration

	// AllowNoExpiry takes tokens that have no expiry. They must tell when they were issued, and are refused as CodeExpired when they
	// are older than MaxLifetime: nobody remembers any more whether they were revoked. Who is in by then stays.
	AllowNoExpiry bool

	// MaxLifetime bounds the time from the issue of a token, or from now if it does not tell, to its expiry, and is how long
	// revocations are kept, so that an issuer whose tokens do not tell must make none that live for longer. Default 365 days.
	MaxLifetime time.Duration

	// CheckSubject refuses subjects, which become the names of users and of rooms, beyond those that are empty, longer than 256
	// bytes or not UTF-8. Default: the function CheckSubject.
	CheckSubject func(subject string) error

	// MaxToken bounds tokens, in bytes. Default 8 KiB.
	MaxToken int

	// Field is the property of the client's auth object that has the token. Default "token".
	Field string

	// DisableHeader ignores the header "Authorization: Bearer <token>" of the request that opened the connection. It is read if the
	// auth object has no token.
	DisableHeader bool

	// Cookie is the name of a cookie that has the token, if neither the auth object nor the header has one. Browsers send cookies along
	// with requests of foreign pages, so that CookieOrigins is required with it. Default: none is read.
	Cookie string

	// CookieOrigins are the pages whose cookie is taken, such as "https://app.example.org". Requests without an Origin header count
	// as foreign, unless the browser says in Sec-Fetch-Site that they are of the same origin.
	CookieOrigins []string

	// Query is the parameter of the URL that has the token, if nothing else has one. URLs end up in logs. Default: none is read.
	Query string

	// Window is how long before the expiry a client is asked for a new token, see EventExpiring. It is half of the time that is left
	// if that is shorter. Default 1 min.
	Window time.Duration

	// Grace is how long after the expiry a client may stay that has not brought a new token. Default 30 s; it is Leeway at least.
	Grace time.Duration

	// Revocations keep what RevokeBefore says. Default: the memory of this process, for a node that is alone.
	Revocations adapter.RevocationStore

	// ServeUnread lets clients in while Revocations have never been read since the start. By default they are refused as
	// CodeUnavailable, because one of them may be revoked. A node that has read them once goes on with what it knows.
	ServeUnread bool

	// MayJoin decides about each room that a socket which Auth has let in is to join, by Socket.Join or SocketsJoin, whoever calls it;
	// but for the socket's own room and that of its user. An error refuses all rooms of the call, and is returned by Socket.Join.
	// ctx is the socket's. The function must not block: it runs on the goroutine that joins. It needs Auth.Hooks.
	MayJoin func(ctx context.Context, s *server.Socket, room string) error

	// Logger gets what an operator has to know. Default: slog.Default().
	Logger *slog.Logger
}

func (o Options) settings() (Options, error) {
	if o.Keys == nil {
		return o, errors.New("no Keys are given")
	}
	for _, d := range []struct {
		name string
		v    int64
	}{{"MaxLifetime", int64(o.MaxLifetime)}, {"MaxToken", int64(o.MaxToken)}, {"Window", int64(o.Window)}, {"Grace", int64(o.Grace)}} {
		if d.v < 0 {
			return o, fmt.Errorf("%s must not be negative, got %d", d.name, d.v)
		}
	}
	for _, name := range o.Algorithms {
		if !slices.Contains(algorithms, name) {
			return o, fmt.Errorf("algorithm %q is not known", name)
		}
	}
	if err := o.checkCookie(); err != nil {
		return o, err
	}
	if len(o.Algorithms) == 0 {
		o.Algorithms = algorithms
	}
	o.Leeway = max(0, cmp.Or(o.Leeway, 30*time.Second))
	o.MaxLifetime = cmp.Or(o.MaxLifetime, 365*24*time.Hour)
	o.MaxToken = cmp.Or(o.MaxToken, 8<<10)
	o.Field = cmp.Or(o.Field, "token")
	o.Window = cmp.Or(o.Window, time.Minute)
	o.Grace = max(o.Leeway, cmp.Or(o.Grace, 30*time.Second))
	if o.CheckSubject == nil {
		o.CheckSubject = CheckSubject
	}
	if o.Revocations == nil {
		o.Revocations = NewMemoryRevocations()
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

// checkCookie refuses a cookie without a check of the Origin, and what is no origin.
func (o *Options) checkCookie() error {
	switch {
	case o.Cookie == "" && len(o.CookieOrigins) > 0:
		return errors.New("CookieOrigins need Cookie")
	case o.Cookie != "" && len(o.CookieOrigins) == 0:
		return errors.New("a token in a cookie needs CookieOrigins: every page could connect in the name of whoever looks at it")
	}
	for _, origin := range o.CookieOrigins {
		u, err := url.Parse(origin)
		if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != origin {
			return fmt.Errorf("%q is no origin such as https://app.example.org", origin)
		}
	}
	return nil
}
