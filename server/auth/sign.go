package auth

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// Grant is what a token says.
type Grant struct {
	Subject  string
	TTL      time.Duration  // from now to the token's end. Default 1 h
	Audience string         // "" for none
	Issuer   string         // "" for none
	Claims   map[string]any // further ones; those above go first
}

// signer is a key that signs.
type signer struct {
	key       any
	kid       string
	algorithm string
}

// Sign makes a token, and tells when it expires. It is for tools and demonstrations: who issues tokens in earnest is another program,
// and a server needs public keys only.
func (k *Keys) Sign(g Grant) (token string, expires time.Time, err error) {
	if k.signer == nil {
		return "", time.Time{}, errors.New("sign: the keys are public ones")
	}
	method := jwt.GetSigningMethod(k.signer.algorithm)
	if method == nil {
		return "", time.Time{}, fmt.Errorf("sign: algorithm %q is not known", k.signer.algorithm)
	}
	now := time.Now()
	expires = now.Add(cmp.Or(g.TTL, time.Hour)).Truncate(time.Second)
	claims := jwt.MapClaims{}
	maps.Copy(claims, g.Claims)
	claims["sub"], claims["iat"], claims["exp"] = g.Subject, now.Unix(), expires.Unix()
	for name, value := range map[string]string{"aud": g.Audience, "iss": g.Issuer} {
		if value != "" {
			claims[name] = value
		}
	}
	t := jwt.NewWithClaims(method, claims)
	if k.signer.kid != "" {
		t.Header[jwkset.HeaderKID] = k.signer.kid
	}
	token, err = t.SignedString(k.signer.key)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign: %w", err)
	}
	return token, expires, nil
}
