package auth_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/sockeye-io/sockeye/server/auth"
)

// jwkOf is a key as a JWK set has it.
func jwkOf(t testing.TB, key any, kid string, private bool) jwkset.JWKMarshal {
	t.Helper()
	made, err := jwkset.NewJWKFromKey(key, jwkset.JWKOptions{Marshal: jwkset.JWKMarshalOptions{Private: private}, Metadata: jwkset.JWKMetadataOptions{KID: kid}})
	if err != nil {
		t.Fatal(err)
	}
	return made.Marshal()
}

func jwksOf(keys ...jwkset.JWKMarshal) []byte {
	return must(json.Marshal(jwkset.JWKSMarshal{Keys: keys}))
}

func certificate(t *testing.T, public, signer any) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "issuer"}, NotAfter: time.Now().Add(-time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, signer)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// TestKeyFiles shows each kind of file, and a token that it is for.
func TestKeyFiles(t *testing.T) {
	rsaPublic, otherPublic := &rsaKey().PublicKey, &otherRSA().PublicKey
	rs := func(t *testing.T) string { return sign(t, jwt.SigningMethodRS256, rsaKey(), in(time.Hour, "ann")) }
	rsOther := func(t *testing.T) string {
		return sign(t, jwt.SigningMethodRS256, otherRSA(), in(time.Hour, "ann"), "kid", "other")
	}
	es := func(t *testing.T) string {
		return sign(t, jwt.SigningMethodES256, p256(), in(time.Hour, "ann"), "kid", "ec")
	}
	hs := func(t *testing.T) string { return tokenFor(t, "ann", time.Hour) }
	ec, err := x509.MarshalECPrivateKey(p256())
	if err != nil {
		t.Fatal(err)
	}
	parameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}})
	for name, c := range map[string]struct {
		file   []byte
		tokens []func(*testing.T) string
		bad    func(*testing.T) string
	}{
		"public key":                       {publicPEM(rsaPublic), []func(*testing.T) string{rs}, rsOther},
		"public key of PKCS 1":             {pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(rsaPublic)}), []func(*testing.T) string{rs}, rsOther},
		"two public keys, text around":     {slices.Concat([]byte("# old\n"), publicPEM(rsaPublic), []byte("# new\r\n"), publicPEM(otherPublic)), []func(*testing.T) string{rs, rsOther}, es},
		"private key":                      {privatePEM(rsaKey()), []func(*testing.T) string{rs}, rsOther},
		"private key of PKCS 1":            {pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())}), []func(*testing.T) string{rs}, rsOther},
		"private key of openssl ecparam":   {append(parameters, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: ec})...), []func(*testing.T) string{es}, rs},
		"certificate, over for long":       {certificate(t, rsaPublic, rsaKey()), []func(*testing.T) string{rs}, rsOther},
		"certificate with its authority":   {slices.Concat(certificate(t, rsaPublic, otherRSA()), certificate(t, otherPublic, otherRSA())), []func(*testing.T) string{rs}, rsOther},
		"JWK set":                          {jwksOf(jwkOf(t, p256(), "ec", false), jwkOf(t, otherRSA(), "other", false)), []func(*testing.T) string{es, rsOther}, rs},
		"JWK set with a private key":       {jwksOf(jwkOf(t, p256(), "ec", true)), []func(*testing.T) string{es}, rsOther},
		"JWK set without ids":              {jwksOf(jwkOf(t, p256(), "", false), jwkOf(t, rsaKey(), "", false)), []func(*testing.T) string{es, rs}, rsOther},
		"JWK set with a secret":            {jwksOf(jwkOf(t, []byte(secret), "", true)), []func(*testing.T) string{hs}, rs},
		"JWK":                              {must(json.Marshal(jwkOf(t, rsaKey(), "", false))), []func(*testing.T) string{rs}, rsOther},
		"JWK behind a byte order mark":     {append([]byte("\xef\xbb\xbf"), must(json.Marshal(jwkOf(t, rsaKey(), "", false)))...), []func(*testing.T) string{rs}, rsOther},
		"secret":                           {[]byte(secret), []func(*testing.T) string{hs}, rs},
		"secret with white space":          {[]byte(secret + " \t\r\n\n"), []func(*testing.T) string{hs}, rs},
		"secret that is not UTF-8":         {append([]byte{0xff, 0xfe}, secret...), nil, hs},
		"secret in hexadecimal digits":     {[]byte(hex.EncodeToString([]byte(secret))), nil, hs},
		"secret in base64":                 {[]byte(base64.StdEncoding.EncodeToString([]byte(secret))), nil, hs},
		"secret with white space in front": {[]byte("\n" + secret), nil, hs},
		"set with one key of another kind": {[]byte(`{"keys":[{"kty":"new"},` + string(must(json.Marshal(jwkOf(t, rsaKey(), "", false)))) + `]}`), []func(*testing.T) string{rs}, rsOther},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuth(t, auth.Options{Keys: parseKeys(t, c.file)})
			for i, token := range c.tokens {
				if got := code(t, a, token(t)); got != "" {
					t.Errorf("token %d is refused with %q", i, got)
				}
			}
			if got := code(t, a, c.bad(t)); got != auth.CodeInvalid {
				t.Errorf("the bad token gives %q", got)
			}
		})
	}
}

// TestRefusedKeyFiles holds above all that no public key, in whatever form, is taken for an HMAC secret, which everybody would know.
func TestRefusedKeyFiles(t *testing.T) {
	public := publicPEM(&rsaKey().PublicKey)
	block, _ := pem.Decode(public)
	set := string(jwksOf(jwkOf(t, rsaKey(), "one", false)))
	withUse := jwkOf(t, rsaKey(), "", false)
	withUse.USE = "enc"
	withOps := jwkOf(t, rsaKey(), "", false)
	withOps.KEYOPS = []jwkset.KEYOPS{"encrypt"}
	small := &rsa.PublicKey{N: new(big.Int).Rsh(rsaKey().N, 1024), E: 65537}
	many := make([]jwkset.JWKMarshal, 101)
	for i := range many {
		many[i] = jwkOf(t, p256(), "", false)
	}
	for name, file := range map[string][]byte{
		"empty":                            {},
		"white space":                      []byte(strings.Repeat("\n", 100)),
		"secret of 31 bytes":               []byte(secret[1:] + "\n \n"),
		"DER":                              block.Bytes,
		"DER of PKCS 1":                    x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey),
		"DER of a private key":             must(x509.MarshalPKCS8PrivateKey(edKey())),
		"base64 of DER":                    []byte(base64.StdEncoding.EncodeToString(block.Bytes) + "\n"),
		"base64 of DER in lines":           bytes.ReplaceAll(bytes.TrimPrefix(public[:len(public)-25], []byte("-----BEGIN PUBLIC KEY-----\n")), []byte("-----END PUBLIC KEY-----"), nil),
		"base64 for URLs":                  []byte(base64.RawURLEncoding.EncodeToString(block.Bytes)),
		"base64 of DER cut off":            []byte(base64.StdEncoding.EncodeToString(block.Bytes)[:200]),
		"base64 of PEM":                    []byte(base64.StdEncoding.EncodeToString(public)),
		"base64 in quotes":                 []byte(`"` + base64.StdEncoding.EncodeToString(block.Bytes) + `"`),
		"hex of DER":                       []byte(hex.EncodeToString(block.Bytes) + "\n"),
		"hex of DER in capitals":           []byte("0x" + strings.ToUpper(hex.EncodeToString(block.Bytes))),
		"hex of DER of an elliptic curve":  []byte(hex.EncodeToString(must(x509.MarshalPKIXPublicKey(&p256().PublicKey)))),
		"hex with colons":                  []byte(strings.Trim(regexp.MustCompile("..").ReplaceAllString(hex.EncodeToString(block.Bytes), "$0:"), ":")),
		"PEM in UTF-16":                    utf16LE(string(public)),
		"PEM without its begin":            bytes.TrimPrefix(public, []byte("-----BEGIN PUBLIC KEY-----\n")),
		"SSH":                              []byte("ssh-rsa " + base64.StdEncoding.EncodeToString(block.Bytes) + " ann@example"),
		"SSH behind a comment":             []byte("# of ann\nssh-rsa " + base64.StdEncoding.EncodeToString(block.Bytes)),
		"SSH with options":                 []byte(`command="ls" ecdsa-sha2-nistp256 ` + base64.StdEncoding.EncodeToString(block.Bytes)),
		"SSH without its kind":             []byte(base64.StdEncoding.EncodeToString(append([]byte("\x00\x00\x00\x07ssh-rsa\x00\x00\x00\x03\x01\x00\x01\x00\x00\x01\x01"), rsaKey().N.Bytes()...))),
		"SSH of RFC 4716":                  []byte("---- BEGIN SSH2 PUBLIC KEY ----\n" + base64.StdEncoding.EncodeToString(block.Bytes) + "\n---- END SSH2 PUBLIC KEY ----\n"),
		"modulus of openssl":               []byte("Modulus=" + strings.ToUpper(rsaKey().N.Text(16))),
		"list of JWKs":                     []byte(`[` + set[len(`{"keys":[`):len(set)-2] + `]`),
		"JWK set with a comma too many":    []byte(set[:len(set)-2] + `,]}`),
		"JWK set cut off":                  []byte(set[:len(set)-2]),
		"JWK set behind a comment":         []byte("// the issuer's\n" + set),
		"JWK set as a string":              must(json.Marshal(set)),
		"JWK set in UTF-16":                utf16LE(set[:len(set)-2]),
		"JWK as YAML":                      []byte("kty: RSA\nn: " + base64.RawURLEncoding.EncodeToString(rsaKey().N.Bytes()) + "\ne: AQAB\n"),
		"base64 of a JWK set":              []byte(base64.StdEncoding.EncodeToString([]byte(set))),
		"what begins like JSON":            []byte("{" + secret),
		"what begins like a list":          []byte("[" + secret),
		"PEM cut off":                      public[:200],
		"PEM of something else":            pem.EncodeToMemory(&pem.Block{Type: "OPENSSH PRIVATE KEY", Bytes: block.Bytes}),
		"PEM with nonsense":                pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte(secret)}),
		"PEM of a secret":                  []byte("-----BEGIN SECRET-----\n" + secret + "\n-----END SECRET-----\n"),
		"RSA of 1024 bits":                 publicPEM(small),
		"P-224":                            publicPEM(must(generate(elliptic.P224()))),
		"JSON that is no set":              []byte(`{"client_secret":"` + secret + `"}`),
		"empty set":                        []byte(`{"keys":[]}`),
		"set of other kinds":               []byte(`{"keys":[{"kty":"new"}]}`),
		"set with a broken key":            []byte(`{"keys":[{"kty":"RSA","n":"!"}]}`),
		"set with a short secret":          jwksOf(jwkOf(t, []byte("short"), "", true)),
		"set with a key for encrypting":    jwksOf(withUse),
		"set with a key for other purpose": jwksOf(withOps),
		"set with 101 keys":                jwksOf(many...),
		"more than 1 MiB":                  bytes.Repeat([]byte("x"), 1<<20+1),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := auth.ParseKeys(file); err == nil {
				t.Error("taken")
			} else if strings.Contains(err.Error(), secret) {
				t.Errorf("the error shows the file: %v", err)
			}
		})
	}
}

// utf16LE is text as editors of Windows write it.
func utf16LE(text string) []byte {
	wide := new(bytes.Buffer)
	for _, unit := range utf16.Encode([]rune(text)) {
		wide.Write([]byte{byte(unit), byte(unit >> 8)})
	}
	return wide.Bytes()
}

func TestReadKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if _, err := auth.ReadKeys(path); err == nil {
		t.Error("a file that is not there is read")
	}
	if err := os.WriteFile(path, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keys, err := auth.ReadKeys(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := code(t, newAuth(t, auth.Options{Keys: keys}), tokenFor(t, "ann", time.Hour)); got != "" {
		t.Errorf("refused with %q", got)
	}
	if err := os.Truncate(path, 1<<30); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.ReadKeys(path); err == nil {
		t.Error("a file of 1 GiB is read")
	}
}

// TestSign makes tokens with every kind of key that can, which the same keys take.
func TestSign(t *testing.T) {
	for name, file := range map[string][]byte{
		"secret": []byte(secret), "rsa": privatePEM(rsaKey()), "p256": privatePEM(p256()), "p384": privatePEM(p384()),
		"ed25519": privatePEM(edKey()), "set": jwksOf(jwkOf(t, p256(), "one", true), jwkOf(t, edKey(), "two", true)),
	} {
		keys := parseKeys(t, file)
		if !keys.CanSign() {
			t.Errorf("%s: cannot sign", name)
			continue
		}
		token, expires, err := keys.Sign(auth.Grant{Subject: "ann", TTL: time.Minute, Audience: "chat", Issuer: "me", Claims: map[string]any{"sub": "bob", "role": "x"}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		claims, err := newAuth(t, auth.Options{Keys: keys, Audience: []string{"chat"}, Issuer: "me"}).Verify(t.Context(), token)
		if err != nil || claims.Subject != "ann" || !claims.ExpiresAt.Equal(expires) || time.Until(expires) > time.Minute {
			t.Errorf("%s: %+v, %v, %v", name, claims, expires, err)
		}
	}
	keys := parseKeys(t, publicPEM(&rsaKey().PublicKey))
	if _, _, err := keys.Sign(auth.Grant{Subject: "ann"}); err == nil || keys.CanSign() {
		t.Error("a public key signs")
	}
}
