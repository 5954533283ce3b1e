package engine

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	headerOrigin = "Origin"
	headerVary   = "Vary"
)

// corsPolicy is a checked CORS.
type corsPolicy struct {
	CORS
	any     bool // "*"
	methods string
}

func newCORSPolicy(c *CORS) (*corsPolicy, error) {
	p := &corsPolicy{CORS: *c}
	p.Origins = slices.Clone(c.Origins)
	p.OriginPatterns = slices.Clone(c.OriginPatterns)
	kinds := 0
	for _, used := range []bool{c.Origin != "", len(c.Origins)+len(c.OriginPatterns) > 0, c.ReflectOrigin, c.OriginFunc != nil} {
		if used {
			kinds++
		}
	}
	if kinds > 1 {
		return nil, errors.New("CORS takes only one of Origin, Origins with OriginPatterns, ReflectOrigin and OriginFunc")
	}
	p.any = kinds == 0 || c.Origin == "*" || slices.Contains(c.Origins, "*")
	for _, pattern := range c.OriginPatterns {
		if pattern == nil {
			return nil, errors.New("CORS has a nil origin pattern")
		}
	}
	p.methods = strings.Join(c.Methods, ",")
	if p.methods == "" {
		p.methods = "GET,HEAD,PUT,PATCH,POST,DELETE"
	}
	switch {
	case p.OptionsSuccessStatus == 0:
		p.OptionsSuccessStatus = http.StatusNoContent
	case p.OptionsSuccessStatus < 200 || p.OptionsSuccessStatus > 299:
		return nil, errors.New("the CORS preflight status must be from 200 to 299")
	}
	return p, nil
}

// allows reports whether a request may come from origin. Requests without an Origin header do not come from a page and
// are allowed.
func (p *corsPolicy) allows(r *http.Request, origin string) bool {
	switch {
	case p.any || p.ReflectOrigin:
		return true
	case p.OriginFunc != nil:
		return p.OriginFunc(r, origin)
	case origin == "":
		return true
	case p.Origin != "":
		return origin == p.Origin
	}
	return p.matches(origin)
}

// ownOrigin reports whether the request comes from a page of the host that it is sent to. The scheme does not matter: behind
// a proxy that ends TLS the server does not know it, nor which of the two default ports the page was loaded from. A proxy
// that is trusted may have changed Host, or left the port of the page to X-Forwarded-Port.
func (srv *Server) ownOrigin(r *http.Request, origin string) bool {
	_, host, ok := strings.Cut(origin, "://")
	if !ok || host == "" {
		return false
	}
	if sameHost(host, r.Host) {
		return true
	}
	peer, port := srv.cfg.TrustedProxies.peerAndPort(r)
	return sameHost(host, peer.Host) || port != "" && !hasPort(peer.Host) && sameHost(host, peer.Host+":"+port)
}

func sameHost(a, b string) bool {
	return strings.EqualFold(withoutDefaultPort(a), withoutDefaultPort(b))
}

// hasPort tells a port from the colons of an IPv6 address, which stands in brackets.
func hasPort(host string) bool {
	return strings.LastIndexByte(host, ':') > strings.LastIndexByte(host, ']')
}

func withoutDefaultPort(host string) string {
	return strings.TrimSuffix(strings.TrimSuffix(host, ":80"), ":443")
}

func (p *corsPolicy) matches(origin string) bool {
	if slices.Contains(p.Origins, origin) {
		return true
	}
	for _, pattern := range p.OriginPatterns {
		if pattern.MatchString(origin) {
			return true
		}
	}
	return false
}

// wrap applies the policy in front of next: headers on every answer, preflight requests answered, websocket handshakes
// of foreign origins refused. The server's own origin is not foreign, but npm cors, whose headers these are, does not know it.
func (p *corsPolicy) wrap(srv *Server, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		origin := r.Header.Get(headerOrigin)
		allowed := p.allows(r, origin)
		if !allowed && origin != "" && !srv.ownOrigin(r, origin) {
			srv.originRefused.Do(func() {
				srv.cfg.Logger.Warn("request from an origin that the CORS policy does not allow; further ones are not logged",
					"origin", origin, "address", srv.cfg.TrustedProxies.Peer(r).Address)
			})
			if srv.claimant(r) != nil || p.Strict && r.Method != http.MethodOptions {
				srv.refuse(w, r, newConnectionError(r, CodeForbidden, map[string]any{"name": "ORIGIN_REFUSED", "origin": origin}))
				return
			}
		}
		if p.OriginFunc != nil && !allowed {
			// npm cors leaves such a request alone altogether.
			next.ServeHTTP(w, r)
			return
		}
		p.setOrigin(w.Header(), origin, allowed)
		if p.Credentials {
			w.Header().Set("Access-Control-Allow-Credentials", "true")
		}
		preflight := r.Method == http.MethodOptions
		if preflight {
			p.setPreflight(w.Header(), r)
		}
		if exposed := strings.Join(p.ExposedHeaders, ","); exposed != "" {
			w.Header().Set("Access-Control-Expose-Headers", exposed)
		}
		if preflight && !p.PreflightContinue {
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(p.OptionsSuccessStatus)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (p *corsPolicy) setOrigin(h http.Header, origin string, allowed bool) {
	const name = "Access-Control-Allow-Origin"
	if p.any {
		h.Set(name, "*")
		return
	}
	switch {
	case p.Origin != "":
		h.Set(name, p.Origin)
	case allowed && origin != "":
		h.Set(name, origin)
	}
	addVary(h, headerOrigin)
}

func (p *corsPolicy) setPreflight(h http.Header, r *http.Request) {
	h.Set("Access-Control-Allow-Methods", p.methods)
	allowed := strings.Join(p.AllowedHeaders, ",")
	if allowed == "" {
		allowed = r.Header.Get("Access-Control-Request-Headers")
		addVary(h, "Access-Control-Request-Headers")
	}
	if allowed != "" {
		h.Set("Access-Control-Allow-Headers", allowed)
	}
	if p.MaxAge != 0 {
		h.Set("Access-Control-Max-Age", strconv.FormatInt(max(0, int64(p.MaxAge/time.Second)), 10))
	}
}

// addVary appends a field name to the Vary header unless it is there.
func addVary(h http.Header, field string) {
	current := strings.Join(h.Values(headerVary), ", ")
	for _, have := range strings.Split(current, ",") {
		have = strings.TrimSpace(have)
		if have == "*" || strings.EqualFold(have, field) {
			return
		}
	}
	if current != "" {
		field = current + ", " + field
	}
	h.Set(headerVary, field)
}

// warnCredentials tells that a policy does not do what it seems to, at the start of the server. Such a policy is as good as one
// without credentials, and pages of npm socket.io work with it, so that it is no error.
func (p *corsPolicy) warnCredentials(log *slog.Logger) {
	if p != nil && p.any && p.Credentials {
		log.Warn("CORS allows credentials from the origin \"*\": browsers keep such answers from pages that send cookies; " +
			"list the origins, or set ReflectOrigin (--cors-reflect-origin), which trusts every page")
	}
}

// warnForeignCookie tells once that nothing protects cookie-authenticated sessions from other sites' pages.
func (srv *Server) warnForeignCookie(r *http.Request) {
	if srv.cfg.cors != nil || r.Header.Get("Cookie") == "" {
		return
	}
	origin := r.Header.Get(headerOrigin)
	if origin == "" || srv.ownOrigin(r, origin) {
		return
	}
	srv.foreignCookie.Do(func() {
		srv.cfg.Logger.Warn("a request from another origin carried cookies and no CORS policy is set: "+
			"if cookies authenticate your users, set one", "origin", origin, "host", r.Host)
	})
}
