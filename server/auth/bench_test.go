package auth_test

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/auth"
	"github.com/sockeye-io/sockeye/server/servertest"
)

// BenchmarkVerify verifies tokens that have not been seen before, and one that has.
func BenchmarkVerify(b *testing.B) {
	for _, c := range []struct {
		name   string
		file   []byte
		method jwt.SigningMethod
		key    any
	}{
		{"HS256", []byte(secret), jwt.SigningMethodHS256, []byte(secret)},
		{"RS256", publicPEM(&rsaKey().PublicKey), jwt.SigningMethodRS256, rsaKey()},
		{"ES256", publicPEM(&p256().PublicKey), jwt.SigningMethodES256, p256()},
		{"EdDSA", publicPEM(edKey().Public()), jwt.SigningMethodEdDSA, edKey()},
	} {
		keys := must(auth.ParseKeys(c.file))
		a := must(auth.New(auth.Options{Keys: keys, Logger: quiet()}))
		const many = 20_000 // more than are remembered
		tokens := make([]string, many)
		for i := range tokens {
			tokens[i] = must(jwt.NewWithClaims(c.method, jwt.MapClaims{"sub": fmt.Sprint("user ", i), "exp": time.Now().Add(time.Hour).Unix()}).SignedString(c.key))
		}
		verify := func(b *testing.B, token func(i int) string) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := a.Verify(context.Background(), token(i)); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.Run(c.name+"/new", func(b *testing.B) { verify(b, func(i int) string { return tokens[i%many] }) })
		b.Run(c.name+"/known", func(b *testing.B) { verify(b, func(int) string { return tokens[0] }) })
		_ = a.Close()
	}
}

// BenchmarkSocket tells what a socket keeps in memory: bytes/socket with and without a token, all of one connection.
func BenchmarkSocket(b *testing.B) {
	for _, protected := range []bool{false, true} {
		b.Run(fmt.Sprintf("protected %t", protected), func(b *testing.B) {
			const many = 900
			var total uint64
			for b.Loop() {
				total += measure(b, many, protected)
			}
			b.ReportMetric(float64(total)/float64(b.N)/many, "bytes/socket")
		})
	}
}

// measure connects sockets, each with a token of its own to a namespace of its own, and returns the bytes that are in use in the end.
func measure(b *testing.B, many int, protected bool) uint64 {
	srv := must(server.New(&server.Options{MaxAuth: 1 << 30, Logger: quiet()}))
	a := must(auth.New(auth.Options{Keys: must(auth.ParseKeys([]byte(secret))), Logger: quiet()}))
	defer a.Close()
	parent := srv.OfPattern(regexp.MustCompile("^/"))
	if protected {
		must(a.ProtectParent(parent))
	} else {
		parent.Use(func(context.Context, *server.Socket) error { return nil })
	}
	client := servertest.New(b, srv, nil).Dial(b, nil)
	join := func(i int) {
		token := must(jwt.NewWithClaims(jwt.SigningMethodHS256, in(time.Hour, fmt.Sprint("user ", i))).SignedString([]byte(secret)))
		client.Connect(fmt.Sprint("/", i), withToken(token))
	}
	join(0)
	before := inUse()
	for i := range many {
		join(i + 1)
	}
	after := inUse()
	runtime.KeepAlive(srv)
	return after - before
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
