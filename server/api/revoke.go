package api

import (
	"context"
	"net/http"
	"time"
)

// Revoker makes tokens of clients void; *auth.Auth is one. Its methods may be called concurrently.
type Revoker interface {
	// RevokeBefore makes the tokens of a user void that were issued before a time, on all nodes, and disconnects who has one. An
	// error says that nothing has happened.
	RevokeBefore(ctx context.Context, user string, before time.Time) error
	// DisconnectUser disconnects the sockets of the user that tokens name, on all nodes. An error says that those of this node are
	// gone, and that not all others were told.
	DisconnectUser(ctx context.Context, user string) error
}

// maxShift bounds how far from now the end of a revocation may be.
const maxShift = 366 * 24 * time.Hour

// errNoTokens is the answer where nobody knows what a token is.
var errNoTokens = refuse(http.StatusNotFound, "no_authentication", "this node verifies no tokens of clients")

// revocation says which tokens of a user are void: those that were issued until now.
type revocation struct {
	Ago   string `json:"ago,omitempty"`   // or longer ago than that
	Ahead string `json:"ahead,omitempty"` // or that much later, by the clock of the issuer
}

// before is the time until which tokens are void.
func (v *revocation) before() (time.Time, error) {
	ago, err := duration("ago", v.Ago, maxShift)
	if err != nil {
		return time.Time{}, err
	}
	ahead, err := duration("ahead", v.Ahead, maxShift)
	return time.Now().Add(ahead - ago).Truncate(time.Millisecond), err
}

// revokedAnswer says what is void now.
type revokedAnswer struct {
	User   string    `json:"user"`
	Before time.Time `json:"before"`
}

// revoke makes tokens of a user void.
func (a *API) revoke(ctx context.Context, r *http.Request, v revocation) (any, error) {
	user, err := a.subject(r)
	if err != nil {
		return nil, err
	}
	before, err := v.before()
	if err != nil {
		return nil, err
	}
	if err := a.opts.Revoker.RevokeBefore(ctx, user, before); err != nil {
		return nil, refuse(http.StatusServiceUnavailable, "unavailable", "nothing is revoked: %v", err)
	}
	return revokedAnswer{User: user, Before: before.UTC()}, nil
}

// disconnectUser disconnects whoever has a token of a user.
func (a *API) disconnectUser(ctx context.Context, r *http.Request, _ struct{}) (any, error) {
	user, err := a.subject(r)
	if err != nil {
		return nil, err
	}
	var d done
	if err := a.opts.Revoker.DisconnectUser(ctx, user); err != nil && d.lacks(err) != nil {
		d.Partial, d.Reason = true, "untold"
		a.log.Warn("not all nodes are told to disconnect a user", "error", err)
	}
	return d, nil
}

// subject is the user of a path, where users have tokens.
func (a *API) subject(r *http.Request) (string, error) {
	user := r.PathValue("user")
	if a.opts.Revoker == nil {
		return "", errNoTokens
	}
	return user, checkNames([]string{user})
}
