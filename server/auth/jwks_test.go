package auth_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sockeye-io/sockeye/server/auth"
)

const jwksURL = "https://login.example.org/keys"

// issuer answers requests for a JWK set, in memory.
type issuer struct {
	mu sync.Mutex
	// Guarded by mu.
	status   int
	body     []byte
	endless  bool // bytes follow the body until nobody reads any more
	slow     time.Duration
	err      error
	requests int
	read     int // bytes of the answers that were read
}

func (i *issuer) set(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status, i.endless, i.slow, i.err = http.StatusOK, false, 0, nil
	f()
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests
}

// RoundTrip answers as the test has set it.
func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.requests++
	slow, err, status, body, endless := i.slow, i.err, i.status, io.Reader(bytes.NewReader(i.body)), i.endless
	i.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	if err != nil {
		return nil, err
	}
	if endless {
		body = io.MultiReader(body, spaces{i})
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(body), Request: r}, nil
}

// spaces never end.
type spaces struct{ i *issuer }

func (s spaces) Read(p []byte) (int, error) {
	for n := range p {
		p[n] = ' '
	}
	s.i.mu.Lock()
	defer s.i.mu.Unlock()
	s.i.read += len(p)
	return len(p), nil
}

// world is an issuer whose keys an Auth fetches.
func world(t *testing.T, opts auth.FetchOptions, f func(t *testing.T, i *issuer, a *auth.Auth)) {
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{status: http.StatusOK, body: jwksOf(jwkOf(t, rsaKey(), "one", false))}
		if opts.Optional {
			i.err = errors.New("nobody answers")
		}
		opts.Client, opts.Logger = &http.Client{Transport: i}, quiet()
		keys, err := auth.FetchKeys(jwksURL, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer keys.Close()
		f(t, i, newAuth(t, auth.Options{Keys: keys}))
	})
}

func one(t *testing.T, user string) string {
	return sign(t, jwt.SigningMethodRS256, rsaKey(), in(time.Hour, user), "kid", "one")
}

func two(t *testing.T, user string) string {
	return sign(t, jwt.SigningMethodES256, p256(), in(time.Hour, user), "kid", "two")
}

// TestRotation has the issuer change its keys: many tokens with the new one come at once, and cause one request.
func TestRotation(t *testing.T) {
	world(t, auth.FetchOptions{}, func(t *testing.T, i *issuer, a *auth.Auth) {
		if got := code(t, a, one(t, "ann")); got != "" {
			t.Fatalf("refused with %q", got)
		}
		time.Sleep(11 * time.Second)
		i.set(func() {
			i.body, i.slow = jwksOf(jwkOf(t, rsaKey(), "one", false), jwkOf(t, p256(), "two", false)), time.Second
		})
		before := i.count()
		var coming sync.WaitGroup
		for n := range 50 {
			token := two(t, fmt.Sprint("user ", n))
			coming.Go(func() {
				if got := code(t, a, token); got != "" {
					t.Errorf("refused with %q", got)
				}
			})
		}
		if got := code(t, a, one(t, "bob")); got != "" { // whose key is known waits for nobody
			t.Errorf("refused with %q", got)
		}
		coming.Wait()
		if got := i.count() - before; got != 1 {
			t.Errorf("%d requests were made", got)
		}
		// A key that the issuer takes back is taken no more, not even for tokens that were verified before.
		i.set(func() { i.body = jwksOf(jwkOf(t, p256(), "two", false)) })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := code(t, a, one(t, "ann")); got != auth.CodeInvalid {
			t.Errorf("a key that is gone: %q", got)
		}
		if got := code(t, a, two(t, "ann")); got != "" {
			t.Errorf("refused with %q", got)
		}
	})
}

// TestUnknownKeys holds that forged tokens do not have the issuer asked again and again.
func TestUnknownKeys(t *testing.T) {
	world(t, auth.FetchOptions{}, func(t *testing.T, i *issuer, a *auth.Auth) {
		before, start, asked := i.count(), time.Now(), 0
		for n := range 2000 {
			time.Sleep(10 * time.Millisecond)
			token := sign(t, jwt.SigningMethodHS256, []byte("x"), in(time.Hour, "ann"), "kid", fmt.Sprint("../", n))
			switch got := code(t, a, token); got {
			case auth.CodeInvalid: // the issuer was asked
				asked++
			case auth.CodeUnavailable: // nobody knows until it may be asked again
			default:
				t.Fatalf("%q", got)
			}
		}
		if got, most := i.count()-before, int(time.Since(start)/(10*time.Second))+1; got > most {
			t.Errorf("%d requests were made, at most %d are allowed", got, most)
		} else if got != asked {
			t.Errorf("%d tokens were refused for good, %d requests were made", asked, got)
		}
		before = i.count()
		time.Sleep(11 * time.Second)
		none := sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, in(time.Hour, "ann"), "kid", "new")
		if got := code(t, a, none); got != auth.CodeInvalid || i.count() != before {
			t.Errorf("an unsigned token: %q, %d requests", got, i.count()-before)
		}
	})
}

// TestNewKeyBehindForgedToken has the issuer change its keys right after a forged token has caused a request. Who has a token with the
// new key is told to come again, and is let in then.
func TestNewKeyBehindForgedToken(t *testing.T) {
	world(t, auth.FetchOptions{}, func(t *testing.T, i *issuer, a *auth.Auth) {
		forged := sign(t, jwt.SigningMethodRS256, otherRSA(), in(time.Hour, "eve"), "kid", "none")
		if got := code(t, a, forged); got != auth.CodeInvalid {
			t.Errorf("the forged token: %q", got)
		}
		i.set(func() { i.body = jwksOf(jwkOf(t, rsaKey(), "one", false), jwkOf(t, p256(), "two", false)) })
		if got := code(t, a, two(t, "ann")); got != auth.CodeUnavailable {
			t.Errorf("the new key: %q, want that the client comes again", got)
		}
		time.Sleep(11 * time.Second)
		if got := code(t, a, two(t, "ann")); got != "" {
			t.Errorf("the new key is refused with %q", got)
		}
	})
}

// TestKeysWithoutIDs holds that tokens may name a key although those of the issuer have no names, however often they come.
func TestKeysWithoutIDs(t *testing.T) {
	world(t, auth.FetchOptions{}, func(t *testing.T, i *issuer, a *auth.Auth) {
		i.set(func() { i.body = jwksOf(jwkOf(t, rsaKey(), "", false)) })
		time.Sleep(11 * time.Minute)
		for n := range 3 {
			if got := code(t, a, one(t, fmt.Sprint("user ", n))); got != "" {
				t.Errorf("token %d is refused with %q", n, got)
			}
		}
	})
}

// TestBadAnswers holds that keys which were known go on, whatever the issuer answers, and that it costs a bounded time and memory.
func TestBadAnswers(t *testing.T) {
	good := jwksOf(jwkOf(t, p256(), "two", false))
	for name, answer := range map[string]func(i *issuer){
		"nobody there":  func(i *issuer) { i.err = errors.New("connection refused") },
		"an error page": func(i *issuer) { i.status, i.body = http.StatusBadGateway, good },
		"not JSON":      func(i *issuer) { i.body = []byte("<html>") },
		"no set":        func(i *issuer) { i.body = []byte(`{"error":"try later"}`) },
		"null":          func(i *issuer) { i.body = []byte("null") },
		"an empty set":  func(i *issuer) { i.body = []byte(`{"keys":[]}`) },
		"a broken key": func(i *issuer) {
			i.body = []byte(`{"keys":[{"kty":"EC","kid":"two","crv":"P-256","x":"AA","y":"AA"}]}`)
		},
		"a secret": func(i *issuer) { i.body = jwksOf(jwkOf(t, []byte(secret), "two", true)) },
		"a small key": func(i *issuer) {
			i.body = []byte(`{"keys":[{"kty":"RSA","kid":"two","e":"AQAB","n":"` + strings.Repeat("A", 170) + `"}]}`)
		},
		"101 keys": func(i *issuer) {
			i.body = []byte(`{"keys":[` + strings.Repeat(string(must(json1(t)))+",", 100) + string(must(json1(t))) + `]}`)
		},
		"huge":              func(i *issuer) { i.body = []byte(`{"keys":[],"pad":"` + strings.Repeat("x", 2<<20) + `"}`) },
		"endless":           func(i *issuer) { i.body, i.endless = []byte(`{"keys":[`), true },
		"no end in sight":   func(i *issuer) { i.slow = time.Hour },
		"cut off":           func(i *issuer) { i.body = good[:len(good)-5] },
		"the wrong content": func(i *issuer) { i.body = []byte(`{"keys":"` + secret + `"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			world(t, auth.FetchOptions{}, func(t *testing.T, i *issuer, a *auth.Auth) {
				i.set(func() { answer(i) })
				start := time.Now()
				if got := code(t, a, two(t, "ann")); got != auth.CodeUnavailable { // it may be in order: nobody knows
					t.Errorf("the new key: %q", got)
				}
				if d := time.Since(start); d > 5*time.Second {
					t.Errorf("the attempt took %v", d)
				}
				if i.count() != 2 {
					t.Errorf("%d requests were made", i.count())
				}
				time.Sleep(31 * time.Minute) // the keys are fetched anew in vain
				if got := code(t, a, one(t, "bob")); got != "" {
					t.Errorf("the old key is refused with %q", got)
				}
				var read int
				i.set(func() { read = i.read })
				if read > 8<<20 {
					t.Errorf("%d bytes were read", read)
				}
				i.set(func() { i.body = good })
				time.Sleep(10 * time.Minute)
				if got := code(t, a, two(t, "ann")); got != "" {
					t.Errorf("in the end the new key is refused with %q", got)
				}
			})
		})
	}
}

func json1(t *testing.T) ([]byte, error) {
	set := jwksOf(jwkOf(t, p256(), "two", false))
	return set[len(`{"keys":[`) : len(set)-len(`]}`)], nil
}

// TestSlowAnswers holds that a slow issuer keeps nobody waiting whose key is known.
func TestSlowAnswers(t *testing.T) {
	world(t, auth.FetchOptions{}, func(t *testing.T, i *issuer, a *auth.Auth) {
		time.Sleep(11 * time.Second)
		i.set(func() { i.slow = time.Hour })
		var waiting sync.WaitGroup
		for n := range 100 {
			token := two(t, fmt.Sprint("user ", n))
			waiting.Go(func() {
				if got := code(t, a, token); got != auth.CodeUnavailable {
					t.Errorf("the new key: %q", got)
				}
			})
		}
		synctest.Wait()
		start := time.Now()
		if got := code(t, a, one(t, "ann")); got != "" || time.Since(start) != 0 {
			t.Errorf("refused with %q after %v", got, time.Since(start))
		}
		waiting.Wait()
	})
}

func TestStartsWithoutIssuer(t *testing.T) {
	world(t, auth.FetchOptions{Optional: true}, func(t *testing.T, i *issuer, a *auth.Auth) {
		if got := code(t, a, one(t, "ann")); got != auth.CodeUnavailable {
			t.Errorf("%q", got)
		}
		i.set(func() {})
		time.Sleep(11 * time.Second)
		if got := code(t, a, one(t, "ann")); got != "" {
			t.Errorf("refused with %q", got)
		}
	})
}

func TestFetchKeysRefuses(t *testing.T) {
	dead := &http.Client{Transport: &issuer{err: errors.New("nobody answers")}}
	for name, c := range map[string]struct {
		url  string
		opts auth.FetchOptions
	}{
		"nobody there":      {jwksURL, auth.FetchOptions{Client: dead}},
		"no URL":            {"keys.json", auth.FetchOptions{}},
		"no TLS":            {"http://login.example.org/keys", auth.FetchOptions{}},
		"a file":            {"file:///etc/passwd", auth.FetchOptions{}},
		"no host":           {"https:///keys", auth.FetchOptions{}},
		"negative interval": {jwksURL, auth.FetchOptions{Interval: -1}},
	} {
		if keys, err := auth.FetchKeys(c.url, c.opts); err == nil {
			t.Errorf("%s: taken", name)
			_ = keys.Close()
		}
	}
}

// TestRedirections holds that keys are not fetched from an address without TLS to which one with TLS has sent.
func TestRedirections(t *testing.T) {
	for target, wanted := range map[string]bool{"https://other.example.org/keys": true, "http://other.example.org/keys": false} {
		keys, err := auth.FetchKeys(jwksURL, auth.FetchOptions{Client: &http.Client{Transport: redirection{target, jwksOf(jwkOf(t, p256(), "two", false))}}, Logger: quiet()})
		if (err == nil) != wanted {
			t.Errorf("%s: %v", target, err)
		}
		if err == nil {
			_ = keys.Close()
		}
	}
}

// redirection sends to another address, which answers.
type redirection struct {
	target string
	body   []byte
}

func (d redirection) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.String() == d.target {
		return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(d.body)), Request: r}, nil
	}
	return &http.Response{StatusCode: http.StatusFound, Header: http.Header{"Location": {d.target}}, Body: http.NoBody, Request: r}, nil
}
