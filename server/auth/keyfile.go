package auth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/MicahParks/jwkset"
)

// maxKeyFile bounds files and answers with keys, in bytes.
const maxKeyFile = 1 << 20

// ParseKeys makes keys of the contents of a file: PEM blocks with public keys or private ones, of which the public ones are taken
// for verifying; one certificate, or several of which the first counts; a JWK set or a single JWK; or else an HMAC secret of 32 bytes
// at least, which is everything but trailing white space. What looks like a public key in a form that is not understood is refused:
// DER, SSH's, broken PEM or JSON, and the text of a key in base64 or hexadecimal digits. Taken for a secret it would let everybody
// sign who knows the key. A secret must therefore not begin with a brace or a bracket.
func ParseKeys(data []byte) (*Keys, error) {
	jwks, err := parseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("parse keys: %w", err)
	}
	set := newKeySet(true)
	if err := set.KeyReplaceAll(context.Background(), jwks); err != nil {
		return nil, fmt.Errorf("parse keys: %w", err)
	}
	k, err := newKeys(set)
	if err == nil {
		k.signer = signerOf(jwks)
	}
	return k, err
}

func parseKeys(data []byte) ([]jwkset.JWK, error) {
	text := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	switch {
	case len(data) > maxKeyFile:
		return nil, errTooLong
	case bytes.Contains(data, []byte("-----BEGIN")):
		return parsePEM(data)
	case bytes.HasPrefix(text, []byte("{")) && json.Valid(text):
		return parseJWKs(text)
	case isPublicKey(data):
		return nil, errors.New("a public key in this form cannot be read; convert it to PEM")
	}
	secret := trimSecret(data)
	if len(secret) < minSecret {
		return nil, fmt.Errorf("this is no PEM, no JWK set, and too short for an HMAC secret: it has %d bytes, %d are needed", len(secret), minSecret)
	}
	return bare(bytes.Clone(secret))
}

// bare makes a list of keys without ids.
func bare(keys ...any) ([]jwkset.JWK, error) {
	var list []jwkset.JWK
	for _, key := range keys {
		if err := checkKey(key, true); err != nil {
			return nil, err
		}
		jwk, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Marshal: jwkset.JWKMarshalOptions{Private: true}})
		if err != nil {
			return nil, err
		}
		list = append(list, jwk)
	}
	return list, nil
}

// parsePEM reads all keys, or the first certificate.
func parsePEM(data []byte) ([]jwkset.JWK, error) {
	var keys []any
	certified := false
	for rest := data; len(keys) < maxKeys; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			if certified { // of who has issued the first one: he does not sign tokens
				continue
			}
			certified = true
		}
		if block.Type == "EC PARAMETERS" { // openssl writes it in front of the key
			continue
		}
		key, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no PEM block that can be read")
	}
	return bare(keys...)
}

func parseBlock(block *pem.Block) (key any, err error) {
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = cert.PublicKey
		}
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a PEM block %q is no key that can be read", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("PEM block %q: %w", block.Type, err)
	}
	return key, nil
}

// parseJWKs reads a set, or one key. Kinds that are not known are left out.
func parseJWKs(text []byte) ([]jwkset.JWK, error) {
	var set struct {
		jwkset.JWKSMarshal
		KTY json.RawMessage `json:"kty"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("JWK set: %w", err)
	}
	if set.KTY != nil && len(set.Keys) == 0 {
		set.Keys = make([]jwkset.JWKMarshal, 1)
		if err := json.Unmarshal(text, &set.Keys[0]); err != nil {
			return nil, fmt.Errorf("JWK: %w", err)
		}
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("there are %d keys, at most %d are taken", len(set.Keys), maxKeys)
	}
	var list []jwkset.JWK
	for _, m := range set.Keys {
		jwk, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{Private: true}, jwkset.JWKValidateOptions{})
		switch {
		case errors.Is(err, jwkset.ErrUnsupportedKey):
		case err != nil:
			return nil, fmt.Errorf("JWK set: %w", err)
		default:
			list = append(list, jwk)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("the JSON object is no JWK set with keys that are known")
	}
	return list, nil
}

// signerOf picks the first key that can sign.
func signerOf(jwks []jwkset.JWK) *signer {
	for _, jwk := range jwks {
		switch key := jwk.Key().(type) {
		case []byte, *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
			algorithm := jwk.Marshal().ALG.String()
			if algorithm == "" {
				algorithm = algorithmsOf(key)[0]
			}
			return &signer{key: key, kid: jwk.Marshal().KID, algorithm: algorithm}
		}
	}
	return nil
}
