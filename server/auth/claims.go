package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// Claims are what a token that was verified says. They never change.
type Claims struct {
	Subject   string
	IssuedAt  time.Time // zero if the token does not say
	ExpiresAt time.Time // zero if it never does
	raw       string
}

// Raw returns all claims as a JSON object.
func (c *Claims) Raw() json.RawMessage { return json.RawMessage(c.raw) }

// Load decodes a claim into the variable that v points to. It reports whether there is one.
func (c *Claims) Load(name string, v any) (bool, error) {
	all, err := members([]byte(c.raw))
	if err != nil {
		return false, err // cannot be: it was read before
	}
	raw, ok := all[name]
	if !ok {
		return false, nil
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return true, fmt.Errorf("claim %q: %w", name, err)
	}
	return true, nil
}

// members reads a JSON object exactly: names are not folded, and none may come twice.
func members(text []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	first, err := dec.Token()
	if err != nil {
		return nil, err
	}
	if first != json.Delim('{') {
		return nil, errors.New("this is no object")
	}
	all := make(map[string]json.RawMessage)
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		key, _ := name.(string)
		if _, ok := all[key]; ok {
			return nil, errors.New("a name comes twice")
		}
		all[key] = value
	}
	_, err = dec.Token()
	return all, err
}

// tokenClaims are claims as package jwt asks for them.
type tokenClaims struct {
	raw           string
	exp, nbf, iat *jwt.NumericDate
	iss, sub      string
	aud           jwt.ClaimStrings
}

// UnmarshalJSON reads the claims that have a meaning here; each must be of its type.
func (c *tokenClaims) UnmarshalJSON(text []byte) error {
	all, err := members(text)
	if err != nil {
		return err
	}
	*c = tokenClaims{raw: string(text)}
	for name, to := range map[string]**jwt.NumericDate{"exp": &c.exp, "nbf": &c.nbf, "iat": &c.iat} {
		if raw, ok := all[name]; ok {
			if *to, err = date(raw); err != nil {
				return fmt.Errorf("claim %q: %w", name, err)
			}
		}
	}
	for name, to := range map[string]*string{"sub": &c.sub, "iss": &c.iss} {
		if raw, ok := all[name]; ok {
			if *to, err = stringOf(raw); err != nil {
				return fmt.Errorf("claim %q: %w", name, err)
			}
		}
	}
	if raw, ok := all["aud"]; ok {
		if err := json.Unmarshal(raw, &c.aud); err != nil {
			return fmt.Errorf("claim %q: %w", "aud", err)
		}
	}
	return nil
}

// stringOf decodes a string, and nothing else.
func stringOf(raw json.RawMessage) (s string, err error) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", errors.New("it is no string")
	}
	err = json.Unmarshal(raw, &s)
	return s, err
}

// lastDate is the end of the year 9999, in seconds since 1970.
const lastDate = 253402300799

// date decodes seconds since 1970.
func date(raw json.RawMessage) (*jwt.NumericDate, error) {
	seconds, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return nil, errors.New("it is no number")
	}
	if !(seconds >= 0 && seconds <= lastDate) {
		return nil, errors.New("it is no time")
	}
	whole, part := math.Modf(seconds)
	return &jwt.NumericDate{Time: time.Unix(int64(whole), int64(part*1e9))}, nil
}

// The methods of jwt.Claims.

func (c *tokenClaims) GetExpirationTime() (*jwt.NumericDate, error) { return c.exp, nil }
func (c *tokenClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.iat, nil }
func (c *tokenClaims) GetNotBefore() (*jwt.NumericDate, error)      { return c.nbf, nil }
func (c *tokenClaims) GetIssuer() (string, error)                   { return c.iss, nil }
func (c *tokenClaims) GetSubject() (string, error)                  { return c.sub, nil }
func (c *tokenClaims) GetAudience() (jwt.ClaimStrings, error)       { return c.aud, nil }

// claims returns what an application is to see.
func (c *tokenClaims) claims() *Claims {
	out := &Claims{Subject: c.sub, raw: c.raw}
	if c.iat != nil {
		out.IssuedAt = c.iat.Time
	}
	if c.exp != nil {
		out.ExpiresAt = c.exp.Time
	}
	return out
}

// maxSubject bounds subjects, in bytes, as the directory of users does.
const maxSubject = 256

// CheckSubject is what Options.CheckSubject is by default: it refuses subjects with control characters, and those that look like a
// socket id, because the user's sockets are in a room with that name, and each socket's id is a room.
func CheckSubject(subject string) error {
	switch {
	case isSocketID(subject):
		return errors.New("the subject looks like a socket id")
	case hasControl(subject):
		return errors.New("the subject has control characters")
	}
	return nil
}

// checkSubject refuses what is no user.
func checkSubject(subject string) error {
	switch {
	case subject == "":
		return errors.New("there is no subject")
	case len(subject) > maxSubject:
		return fmt.Errorf("the subject has %d bytes, at most %d are allowed", len(subject), maxSubject)
	case !utf8.ValidString(subject):
		return errors.New("the subject is not UTF-8")
	}
	return nil
}

func hasControl(s string) bool {
	for _, r := range s {
		if unicode.IsControl(r) {
			return true
		}
	}
	return false
}

// isSocketID reports whether s has the shape of a socket id: 20 characters of the alphabet of base64 for URLs.
func isSocketID(s string) bool {
	if len(s) != 20 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
