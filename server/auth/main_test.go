package auth_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/auth"
	"github.com/sockeye-io/sockeye/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "0123456789abcdef0123456789abcdef"

// Keys that tests sign with, made once.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	otherRSA = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	p256     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	p384     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	p521     = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	edKey    = sync.OnceValue(func() ed25519.PrivateKey {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return must(key, err)
	})
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// publicPEM is a public key as a file has it.
func publicPEM(key any) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(key))})
}

func privatePEM(key any) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))})
}

func parseKeys(t *testing.T, data []byte) *auth.Keys {
	t.Helper()
	keys, err := auth.ParseKeys(data)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func secretKeys(t *testing.T) *auth.Keys { return parseKeys(t, []byte(secret)) }

// sign makes a token with whatever it is given.
func sign(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims, header ...string) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	for i := 0; i < len(header); i += 2 {
		token.Header[header[i]] = header[i+1]
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// in returns claims of a user that expire after some time.
func in(ttl time.Duration, user string) jwt.MapClaims {
	now := time.Now()
	return jwt.MapClaims{"sub": user, "iat": now.Unix(), "exp": now.Add(ttl).Unix()}
}

// tokenFor makes a token that newAuth's keys take.
func tokenFor(t *testing.T, user string, ttl time.Duration) string {
	t.Helper()
	return sign(t, jwt.SigningMethodHS256, []byte(secret), in(ttl, user))
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newAuth(t *testing.T, opts auth.Options) *auth.Auth {
	t.Helper()
	if opts.Keys == nil {
		opts.Keys = secretKeys(t)
	}
	if opts.Logger == nil {
		opts.Logger = quiet()
	}
	a, err := auth.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return a
}

// serve starts a server whose namespace / is protected.
func serve(t *testing.T, a *auth.Auth) (*server.Server, *servertest.Server) {
	t.Helper()
	srv, err := server.New(&server.Options{Hooks: []server.Hooks{a.Hooks()}, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Protect(srv.Of("/"), nil); err != nil {
		t.Fatal(err)
	}
	return srv, servertest.New(t, srv, &servertest.Options{Timeout: 24 * time.Hour})
}

// withToken is an auth object.
func withToken(token any) map[string]any { return map[string]any{"token": token} }

// expectCode compares the code of a refusal.
func expectCode(t *testing.T, refusal *server.ClientError, want auth.Code) map[string]any {
	t.Helper()
	data, _ := refusal.Data.(map[string]any)
	if data["code"] != string(want) {
		t.Errorf("refused with %q %v, want code %q", refusal.Message, refusal.Data, want)
	}
	return data
}

// generate makes the public key of a curve.
func generate(curve elliptic.Curve) (*ecdsa.PublicKey, error) {
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return nil, err
	}
	return &key.PublicKey, nil
}
