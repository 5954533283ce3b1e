package auth

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/sockeye-io/sockeye/server"
)

// Renewed is what acknowledges EventRenew.
type Renewed struct {
	ExpiresAt int64 `json:"expiresAt,omitempty"` // milliseconds since 1970; absent if the token never expires
}

// renewal is the argument of EventRenew: a token, or an object with one.
type renewal struct{ token string }

// UnmarshalJSON accepts both forms.
func (r *renewal) UnmarshalJSON(text []byte) error {
	if !bytes.HasPrefix(text, []byte("{")) {
		return json.Unmarshal(text, &r.token)
	}
	all, err := members(text)
	if err == nil && all["token"] != nil {
		err = json.Unmarshal(all["token"], &r.token)
	}
	return err
}

// renew takes a new token for a socket. It must be one of the same user; else, and if it is refused, the socket stays until the old one
// ends.
func (a *Auth) renew(ctx context.Context, s *server.Socket, in renewal) (Renewed, error) {
	session, ok := sessions.Load(s)
	if !ok {
		return Renewed{}, server.ErrDisconnected
	}
	if in.token == "" {
		r := refuse(CodeMissing, nil)
		a.counts.refuse(r)
		return Renewed{}, r
	}
	claims, r := a.verify(ctx, in.token)
	if r == nil && claims.Subject != session.claims.Load().Subject {
		r = refuse(CodeSubject, nil)
		a.counts.refuse(r)
	}
	if r != nil {
		return Renewed{}, r
	}
	if !a.live.renew(session, claims) {
		return Renewed{}, server.ErrDisconnected
	}
	if a.revoked.has(claims) { // in between
		a.revoke(session)
		return Renewed{}, refuse(CodeRevoked, nil)
	}
	a.counts.renewed.Add(1)
	if claims.ExpiresAt.IsZero() {
		return Renewed{}, nil
	}
	return Renewed{claims.ExpiresAt.UnixMilli()}, nil
}
