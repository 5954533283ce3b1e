package auth_test

import (
	"errors"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sockeye-io/sockeye/server/auth"
)

// fuzzed takes tokens that are signed with secret.
func fuzzed(f *testing.F) *auth.Auth {
	f.Helper()
	keys, err := auth.ParseKeys([]byte(secret))
	if err != nil {
		f.Fatal(err)
	}
	a, err := auth.New(auth.Options{Keys: keys, Logger: quiet()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = a.Close() })
	return a
}

// FuzzToken verifies whatever comes as a token: what is taken has a subject, and nobody but the holder of the secret has made it.
func FuzzToken(f *testing.F) {
	exp := time.Now().Add(time.Hour).Unix()
	hs, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "ann", "exp": exp}).SignedString([]byte("another secret, also 32 bytes long"))
	if err != nil {
		f.Fatal(err)
	}
	rs, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"sub": "ann", "exp": exp}).SignedString(rsaKey())
	if err != nil {
		f.Fatal(err)
	}
	for _, token := range []string{"", "..", hs, rs, encode(`{"alg":"none"}`) + "." + encode(`{"sub":"ann"}`) + ".", encode(`{"alg":"HS256","kid":["x"]}`) + "." + encode("null") + ".AA"} {
		f.Add(token)
	}
	a := fuzzed(f)
	f.Fuzz(func(t *testing.T, token string) {
		_, err := a.Verify(t.Context(), token)
		var r *auth.Refusal
		if !errors.As(err, &r) || r.Data.Code == "" {
			t.Errorf("%q is taken: %v", token, err)
		}
	})
}

// FuzzClaims signs whatever comes as claims: what is taken has a subject that a user can have, and an expiry.
func FuzzClaims(f *testing.F) {
	for _, claims := range []string{
		`{"sub":"ann","exp":` + later() + `}`, `{"sub":"ann","sub":"bob"}`, `null`, `[]`, `{"exp":1e999}`, `{"sub":"\ud800","exp":253402300799}`,
		`{"sub":"ann","exp":` + later() + `,"aud":["a",1]}`, `{"sub":"ann","iat":0,"exp":` + later() + `.25}`,
	} {
		f.Add(claims)
	}
	a := fuzzed(f)
	f.Fuzz(func(t *testing.T, claims string) {
		c, err := a.Verify(t.Context(), forge(claims))
		if err != nil {
			return
		}
		if c.Subject == "" || len(c.Subject) > 256 || !utf8.ValidString(c.Subject) || auth.CheckSubject(c.Subject) != nil {
			t.Errorf("%s: the subject is %q", claims, c.Subject)
		}
		if c.ExpiresAt.IsZero() || time.Until(c.ExpiresAt) > 366*24*time.Hour || time.Until(c.ExpiresAt) < -time.Minute {
			t.Errorf("%s: it expires at %v", claims, c.ExpiresAt)
		}
		var sub string
		if ok, err := c.Load("sub", &sub); !ok || err != nil || sub != c.Subject {
			t.Errorf("%s: the claim is %q, %v, %v", claims, sub, ok, err)
		}
	})
}

// FuzzKeys reads whatever comes as a file of keys. What is taken does not take unsigned tokens.
func FuzzKeys(f *testing.F) {
	for _, file := range [][]byte{
		[]byte(secret), publicPEM(&p256().PublicKey), privatePEM(edKey()), jwksOf(jwkOf(f, edKey(), "one", true)), []byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"Ag"}]}`),
		[]byte(`{"kty":"oct","k":"AAAA"}`), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), []byte("ssh-ed25519 AAAA"),
	} {
		f.Add(file)
	}
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"sub": "ann"}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		keys, err := auth.ParseKeys(file)
		if err != nil {
			return
		}
		a, err := auth.New(auth.Options{Keys: keys, Logger: quiet()})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		if _, err := a.Verify(t.Context(), none); err == nil {
			t.Errorf("%q takes an unsigned token", file)
		}
	})
}

// FuzzAuthObject has a client send whatever object it likes.
func FuzzAuthObject(f *testing.F) {
	for _, object := range []string{`{}`, `{"token":"x"}`, `{"token":"x","token":"y"}`, `{"token":{"token":"x"}}`, `[]`, `null`, `{"token":"\ud800"}`, `{"token":`} {
		f.Add(object)
	}
	f.Fuzz(func(t *testing.T, object string) {
		token, err := auth.TokenOf([]byte(object))
		if token != "" && err != nil {
			t.Errorf("%q: both %q and %v", object, token, err)
		}
	})
}
