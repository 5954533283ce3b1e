package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Scope is what a credential is good for. Each includes those before it.
type Scope uint8

const (
	// ScopeNone is good for nothing.
	ScopeNone Scope = iota
	// ScopeRead is for questions.
	ScopeRead
	// ScopeWrite is for what clients notice too: publish, disconnect, join, leave, revoke.
	ScopeWrite
	// ScopeAll is for what nodes do, too: drain, undrain.
	ScopeAll
)

// String names the scope.
func (s Scope) String() string {
	switch s {
	case ScopeNone:
		return "none"
	case ScopeRead:
		return "read"
	case ScopeWrite:
		return "write"
	case ScopeAll:
		return "all"
	}
	return "unknown"
}

// minSecret is how many bytes a token has at least.
const minSecret = 16

// Token is a bearer token: requests have "Authorization: Bearer" and the secret.
type Token struct {
	Name   string // who uses it, for the log; "token" by default
	Secret string // at least 16 bytes
	Scope  Scope
}

// credential is a token as it is compared.
type credential struct {
	name  string
	hash  [sha256.Size]byte
	scope Scope
}

func credentials(tokens []Token) ([]credential, error) {
	list := make([]credential, len(tokens))
	for i, t := range tokens {
		switch {
		case len(t.Secret) < minSecret:
			return nil, fmt.Errorf("token %d has %d bytes, at least %d are needed", i, len(t.Secret), minSecret)
		case t.Scope < ScopeRead || t.Scope > ScopeAll:
			return nil, fmt.Errorf("token %d has scope %v", i, t.Scope)
		}
		list[i] = credential{name: t.Name, hash: sha256.Sum256([]byte(t.Secret)), scope: t.Scope}
		if t.Name == "" {
			list[i].name = "token"
		}
	}
	return list, nil
}

var errNoCredential = errors.New("the control API needs Tokens, ClientCertificates or Authorize")

// Bearer returns the token of a request, "" if it has none.
func Bearer(r *http.Request) string {
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// identify returns who asks, and what they may do: the most that one of their credentials is good for. All tokens are compared, each in
// constant time.
func (a *API) identify(r *http.Request) (who string, scope Scope) {
	if a.opts.ClientCertificates && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		who, scope = "certificate "+r.TLS.VerifiedChains[0][0].Subject.CommonName, ScopeAll
	}
	if token := Bearer(r); token != "" && len(a.tokens) > 0 {
		hash := sha256.Sum256([]byte(token))
		for _, c := range a.tokens {
			if subtle.ConstantTimeCompare(hash[:], c.hash[:]) == 1 && c.scope > scope {
				who, scope = c.name, c.scope
			}
		}
	}
	if a.opts.Authorize != nil {
		if name, s := a.opts.Authorize(r); s > scope {
			who, scope = name, s
		}
	}
	return who, scope
}

// authorize returns who asks, or why they may not.
func (a *API) authorize(r *http.Request, needed Scope) (who string, err error) {
	who, scope := a.identify(r)
	switch {
	case scope == ScopeNone:
		return "", refuse(http.StatusUnauthorized, "unauthorized", "a valid credential is needed: Authorization: Bearer TOKEN")
	case scope < needed:
		return who, refuse(http.StatusForbidden, "forbidden", "this needs a credential of scope %v, this one has %v", needed, scope)
	}
	return who, nil
}
