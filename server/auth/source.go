package auth

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/sockeye-io/sockeye/server"
)

// token finds the token of a socket that connects: in its auth object, or else in the request that opened the connection. The first
// place that has one counts.
func (o *Options) token(s *server.Socket) (string, *Refusal) {
	token, r := o.fromAuth(s.Auth())
	if token != "" || r != nil {
		return token, r
	}
	if o.DisableHeader && o.Cookie == "" && o.Query == "" {
		return "", refuse(CodeMissing, nil)
	}
	h := s.Conn().Handshake()
	headers := h.Headers()
	if !o.DisableHeader {
		if scheme, token, ok := strings.Cut(headers["authorization"], " "); ok && strings.EqualFold(scheme, "Bearer") {
			if token = strings.TrimSpace(token); token != "" {
				return token, nil
			}
		}
	}
	if o.Cookie != "" {
		if token := cookieNamed(headers["cookie"], o.Cookie); token != "" {
			if !o.fromOwnPage(headers) {
				return "", refuse(CodeOrigin, nil)
			}
			return token, nil
		}
	}
	if o.Query != "" {
		if token := h.Query()[o.Query]; token != "" {
			return token, nil
		}
	}
	return "", refuse(CodeMissing, nil)
}

// fromAuth returns the token in an auth object, "" if there is none.
func (o *Options) fromAuth(auth json.RawMessage) (string, *Refusal) {
	if len(auth) <= len("{}") {
		return "", nil
	}
	all, err := members(auth)
	if err != nil {
		return "", refuse(CodeInvalid, err)
	}
	raw, ok := all[o.Field]
	if !ok || string(raw) == "null" {
		return "", nil
	}
	token, err := stringOf(raw)
	if err != nil {
		return "", refuse(CodeInvalid, errors.New("the token is no string"))
	}
	return token, nil
}

// cookieNamed returns the value of a cookie; of several with the name the first, as in a browser the most specific.
func cookieNamed(header, name string) string {
	list, err := http.ParseCookie(header)
	if err != nil {
		list = (&http.Request{Header: http.Header{"Cookie": {header}}}).Cookies() // what can be read of it
	}
	for _, c := range list {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// fromOwnPage reports whether a request comes from a page that is allowed.
func (o *Options) fromOwnPage(headers map[string]string) bool {
	if origin := headers["origin"]; origin != "" {
		return slices.Contains(o.CookieOrigins, origin)
	}
	return headers["sec-fetch-site"] == "same-origin"
}
