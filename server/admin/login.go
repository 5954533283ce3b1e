package admin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"

	"golang.org/x/crypto/bcrypt"

	"github.com/sockeye-io/sockeye/server"
)

// Refusals that pages show. A page asks for the password again when it gets the first, whose text it knows.
var (
	errCredentials = &server.ClientError{Message: "invalid credentials"}
	errTooMany     = &server.ClientError{Message: "too many attempts to log in, try again in a minute"}
)

// credentials are what a page gives when it connects: those of a session, or a name and a password.
type credentials struct {
	SessionID text `json:"sessionId"`
	Username  text `json:"username"`
	Password  text `json:"password"`
}

// text is a string, and "" for a value of any other type.
type text string

// UnmarshalJSON never fails.
func (t *text) UnmarshalJSON(raw []byte) error {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		*t = text(s)
	}
	return nil
}

// login lets a page in, or refuses it.
func (a *Admin) login(ctx context.Context, s *server.Socket) error {
	var c credentials
	if json.Unmarshal(s.Auth(), &c) != nil {
		c = credentials{} // no object
	}
	if a.knownSession(ctx, string(c.SessionID)) {
		return nil
	}
	if c.Username == "" && c.Password == "" {
		return errCredentials // a session that has ended: nobody has guessed
	}
	address := s.Handshake().Address
	err := a.checkPassword(ctx, address, string(c.Username), string(c.Password))
	if err != nil {
		a.refused.Add(1)
		level := slog.LevelWarn
		if errors.Is(err, errTooMany) {
			level = slog.LevelDebug // anybody can cause this at will
		}
		a.log.Log(ctx, level, "admin UI: a login was refused", "address", address, "error", err)
		return err
	}
	a.logins.Add(1)
	a.log.Info("admin UI: an operator has logged in", "address", address, "username", a.opts.Auth.Username, "socket", s.ID())
	if id, ok := a.newSession(ctx); ok {
		a.begun.Set(s, id)
	}
	return nil
}

// checkPassword returns the refusal for a name and password. Whether the name is right takes no other time than whether the
// password is.
func (a *Admin) checkPassword(ctx context.Context, address, username, password string) error {
	if !a.attempts.take(address) {
		return errTooMany
	}
	leave, ok := a.attempts.enter(ctx)
	if !ok {
		return errTooMany
	}
	defer leave()
	auth := a.opts.Auth
	named := subtle.ConstantTimeCompare([]byte(username), []byte(auth.Username)) == 1
	matches := bcrypt.CompareHashAndPassword([]byte(auth.PasswordHash), []byte(password)) == nil
	if !named || !matches {
		return errCredentials
	}
	a.attempts.refund(address)
	return nil
}

// Session ids are hexadecimal: 32 digits here, 16 in Node.
const (
	sessionBytes  = 16
	minSessionLen = 16
	maxSessionLen = 64
)

func validSessionID(id string) bool {
	if len(id) < minSessionLen || len(id) > maxSessionLen {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// knownSession asks the store. One that cannot be asked knows nobody, and the operator has to log in.
func (a *Admin) knownSession(ctx context.Context, id string) bool {
	if !validSessionID(id) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	known, err := a.opts.Store.SessionExists(ctx, id)
	if err != nil {
		a.log.Warn("admin UI: the sessions of pages cannot be read", "error", err)
	}
	return err == nil && known
}

// newSession makes a session. Without one the operator is in, but will have to log in again.
func (a *Admin) newSession(ctx context.Context) (id string, ok bool) {
	var random [sessionBytes]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read does not fail
	id = hex.EncodeToString(random[:])
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := a.opts.Store.SaveSession(ctx, id); err != nil {
		a.log.Warn("admin UI: the session of a page cannot be kept", "error", err)
		return "", false
	}
	return id, true
}
