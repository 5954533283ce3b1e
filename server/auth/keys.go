package auth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"

	"github.com/MicahParks/jwkset"
	"github.com/MicahParks/keyfunc/v3"
	"github.com/golang-jwt/jwt/v5"
)

const (
	minSecret = 32 // bytes
	minRSA    = 2048
	maxRSA    = 8192
	maxKeys   = 100
)

// Keys verify the signatures of tokens. ParseKeys and ReadKeys make them of a file, FetchKeys of a JWK set behind a URL. All
// methods may be called concurrently.
type Keys struct {
	// Static after construction.
	set    *keySet
	find   keyfunc.Keyfunc
	remote *remote // nil unless the keys come from a URL
	signer *signer // nil unless there is a key that signs
}

// Close ends the fetching of keys, if there is any.
func (k *Keys) Close() error {
	if k.remote != nil {
		k.remote.close()
	}
	return nil
}

// CanSign reports whether Sign works: one of the keys is a secret or a private key.
func (k *Keys) CanSign() bool { return k.signer != nil }

// ReadKeys reads keys from a file, see ParseKeys.
func ReadKeys(path string) (*Keys, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxKeyFile {
		err = errTooLong
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	var k *Keys
	if err == nil {
		k, err = ParseKeys(data)
	}
	if err != nil {
		return nil, fmt.Errorf("read keys: %w", err)
	}
	return k, nil
}

func newKeys(set *keySet) (*Keys, error) {
	find, err := keyfunc.New(keyfunc.Options{Storage: set, UseWhitelist: []jwkset.USE{"", jwkset.UseSig}})
	return &Keys{set: set, find: find}, err
}

// keySet keeps the keys that are fit for verifying. It takes no set without any: whoever answers with one has gone wrong, and what
// was known before goes on.
type keySet struct {
	*jwkset.MemoryJWKSet
	// Static after construction.
	secrets  bool   // HMAC secrets are taken, too
	replaced func() // is called after a set was taken; nil if nobody wants to know

	version atomic.Uint64 // grows when keys may have gone
	named   atomic.Bool   // some key has an id
}

func newKeySet(secrets bool) *keySet {
	return &keySet{MemoryJWKSet: jwkset.NewMemoryStorage(), secrets: secrets}
}

// KeyReplaceAll takes the keys that are fit.
func (s *keySet) KeyReplaceAll(ctx context.Context, given []jwkset.JWK) error {
	if len(given) > maxKeys {
		return fmt.Errorf("there are %d keys, at most %d are taken", len(given), maxKeys)
	}
	var fit []jwkset.JWK
	var unfit error
	named := false
	for _, jwk := range given {
		if err := s.check(jwk); err != nil {
			unfit = err
			continue
		}
		fit = append(fit, jwk)
		named = named || jwk.Marshal().KID != ""
	}
	if len(fit) == 0 {
		return errors.Join(errors.New("there is no key for verifying"), unfit)
	}
	s.named.Store(named)
	err := s.MemoryJWKSet.KeyReplaceAll(ctx, fit)
	s.version.Add(1)
	if s.replaced != nil {
		s.replaced()
	}
	return err
}

// check returns why a key is not fit.
func (s *keySet) check(jwk jwkset.JWK) error {
	if use := jwk.Marshal().USE; use != "" && use != jwkset.UseSig {
		return fmt.Errorf("the use of the key is %q", use)
	}
	if ops := jwk.Marshal().KEYOPS; len(ops) > 0 && !slices.Contains(ops, jwkset.KeyOpsVerify) && !slices.Contains(ops, jwkset.KeyOpsSign) {
		return errors.New("the key is not for signatures")
	}
	return checkKey(jwk.Key(), s.secrets)
}

// checkKey returns why a key cannot verify, or should not.
func checkKey(key any, secrets bool) error {
	switch key := publicOf(key).(type) {
	case []byte:
		switch {
		case !secrets:
			return errors.New("an HMAC secret is nothing to be fetched")
		case len(key) < minSecret:
			return fmt.Errorf("an HMAC secret has %d bytes at least, not %d", minSecret, len(key))
		}
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
			return fmt.Errorf("an RSA key has %d to %d bits, not %d", minRSA, maxRSA, bits)
		}
	case *ecdsa.PublicKey, ed25519.PublicKey:
		if len(algorithmsOf(key)) == 0 {
			return errors.New("the curve of the key is not supported")
		}
	default:
		return fmt.Errorf("a key of type %T does not verify", key)
	}
	return nil
}

// publicOf returns the public key of a private one, and what it was given otherwise.
func publicOf(key any) any {
	if private, ok := key.(interface{ Public() crypto.PublicKey }); ok {
		return private.Public()
	}
	return key
}

// algorithmsOf lists what a key may be used with. An algorithm that belongs to another kind of key is never tried with it.
func algorithmsOf(key any) []string {
	switch key := publicOf(key).(type) {
	case []byte:
		return []string{"HS256", "HS384", "HS512"}
	case *rsa.PublicKey:
		return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	case *ecdsa.PublicKey:
		switch key.Curve.Params().BitSize {
		case 256:
			return []string{"ES256"}
		case 384:
			return []string{"ES384"}
		case 521:
			return []string{"ES512"}
		}
	case ed25519.PublicKey:
		return []string{"EdDSA"}
	}
	return nil
}

// algorithms is everything that is known.
var algorithms = []string{
	"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
}

// verifying returns the keys that may have signed a token.
func (k *Keys) verifying(token *jwt.Token) (any, error) {
	if _, ok := token.Header["crit"]; ok {
		return nil, errors.New("the token has critical headers, of which none is understood")
	}
	if !k.set.named.Load() { // the keys have no ids, whatever the tokens say
		delete(token.Header, jwkset.HeaderKID)
	}
	found, err := k.find.Keyfunc(token)
	if err != nil {
		return nil, err
	}
	candidates := []jwt.VerificationKey{found}
	if several, ok := found.(jwt.VerificationKeySet); ok {
		candidates = several.Keys
	}
	var fit jwt.VerificationKeySet
	for _, key := range candidates {
		if slices.Contains(algorithmsOf(key), token.Method.Alg()) {
			fit.Keys = append(fit.Keys, key)
		}
	}
	if len(fit.Keys) == 0 {
		return nil, fmt.Errorf("no key is for algorithm %s", token.Method.Alg())
	}
	return fit, nil
}

// empty reports whether no key is known yet.
func (k *Keys) empty() bool { return k.set.version.Load() == 0 }

var errTooLong = fmt.Errorf("keys are too long: at most %d bytes are read", maxKeyFile)

// trimSecret takes trailing white space off, which editors and shells add.
func trimSecret(data []byte) []byte { return bytes.TrimRight(data, " \t\r\n\v\f") }
