package auth_test

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/sockeye-io/sockeye/server/auth"
)

// code verifies a token and returns why it is refused, "" if it is not.
func code(t *testing.T, a *auth.Auth, token string) auth.Code {
	t.Helper()
	claims, err := a.Verify(t.Context(), token)
	var r *auth.Refusal
	switch {
	case err == nil && claims.Subject == "":
		t.Error("a token without a subject was taken")
	case err == nil:
		return ""
	case !errors.As(err, &r):
		t.Errorf("error %v is no refusal", err)
		return ""
	}
	return r.Data.Code
}

// TestAlgorithms signs with each algorithm, and tries each token with the keys of all others.
func TestAlgorithms(t *testing.T) {
	rsaPublic := &rsaKey().PublicKey
	kinds := []struct {
		name    string
		file    []byte
		key     any
		methods []jwt.SigningMethod
	}{
		{"secret", []byte(secret + "\n"), []byte(secret), []jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512}},
		{"rsa", publicPEM(rsaPublic), rsaKey(), []jwt.SigningMethod{
			jwt.SigningMethodRS256, jwt.SigningMethodRS384, jwt.SigningMethodRS512, jwt.SigningMethodPS256, jwt.SigningMethodPS384, jwt.SigningMethodPS512}},
		{"p256", publicPEM(&p256().PublicKey), p256(), []jwt.SigningMethod{jwt.SigningMethodES256}},
		{"p384", publicPEM(&p384().PublicKey), p384(), []jwt.SigningMethod{jwt.SigningMethodES384}},
		{"p521", publicPEM(&p521().PublicKey), p521(), []jwt.SigningMethod{jwt.SigningMethodES512}},
		{"ed25519", publicPEM(edKey().Public()), edKey(), []jwt.SigningMethod{jwt.SigningMethodEdDSA}},
	}
	auths := make(map[string]*auth.Auth)
	for _, kind := range kinds {
		auths[kind.name] = newAuth(t, auth.Options{Keys: parseKeys(t, kind.file)})
	}
	for _, kind := range kinds {
		for _, method := range kind.methods {
			token := sign(t, method, kind.key, in(time.Hour, "ann"))
			for name, a := range auths {
				want := auth.CodeInvalid
				if name == kind.name {
					want = ""
				}
				if got := code(t, a, token); got != want {
					t.Errorf("%s with keys of kind %s: %q, want %q", method.Alg(), name, got, want)
				}
			}
		}
	}
}

// TestAttacks shows tokens that nobody may take.
func TestAttacks(t *testing.T) {
	rsaPublic := publicPEM(&rsaKey().PublicKey)
	asymmetric := newAuth(t, auth.Options{Keys: parseKeys(t, rsaPublic)})
	symmetric := newAuth(t, auth.Options{})
	hs := func(claims jwt.MapClaims, header ...string) string {
		return sign(t, jwt.SigningMethodHS256, []byte(secret), claims, header...)
	}
	with := func(name string, value any) jwt.MapClaims {
		claims := in(time.Hour, "ann")
		claims[name] = value
		return claims
	}
	without := func(name string) jwt.MapClaims {
		claims := in(time.Hour, "ann")
		delete(claims, name)
		return claims
	}
	good := hs(in(time.Hour, "ann"))
	parts := strings.Split(good, ".")
	none := sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, in(time.Hour, "ann"))
	for name, c := range map[string]struct {
		a     *auth.Auth
		token string
		want  auth.Code
	}{
		"in order":                          {symmetric, good, ""},
		"none":                              {symmetric, none, auth.CodeInvalid},
		"none against a public key":         {asymmetric, none, auth.CodeInvalid},
		"None in other letters":             {symmetric, encode(`{"alg":"nOnE","typ":"JWT"}`) + "." + parts[1] + ".", auth.CodeInvalid},
		"no algorithm":                      {symmetric, encode(`{"typ":"JWT"}`) + "." + parts[1] + "." + parts[2], auth.CodeInvalid},
		"signature cut off":                 {symmetric, parts[0] + "." + parts[1] + ".", auth.CodeInvalid},
		"signature of another":              {symmetric, parts[0] + "." + parts[1] + "." + strings.Split(hs(in(time.Hour, "bob")), ".")[2], auth.CodeInvalid},
		"claims of another":                 {symmetric, parts[0] + "." + strings.Split(hs(in(time.Hour, "bob")), ".")[1] + "." + parts[2], auth.CodeInvalid},
		"padded":                            {symmetric, good + "=", auth.CodeInvalid},
		"four parts":                        {symmetric, good + ".x", auth.CodeInvalid},
		"two parts":                         {symmetric, parts[0] + "." + parts[1], auth.CodeInvalid},
		"white space around":                {symmetric, " " + good, auth.CodeInvalid},
		"empty":                             {symmetric, "", auth.CodeInvalid},
		"HMAC with the public key as PEM":   {asymmetric, sign(t, jwt.SigningMethodHS256, rsaPublic, in(time.Hour, "ann")), auth.CodeInvalid},
		"HMAC with the PEM without its end": {asymmetric, sign(t, jwt.SigningMethodHS256, []byte(strings.TrimSpace(string(rsaPublic))), in(time.Hour, "ann")), auth.CodeInvalid},
		"another RSA key":                   {asymmetric, sign(t, jwt.SigningMethodRS256, otherRSA(), in(time.Hour, "ann")), auth.CodeInvalid},
		"key in the header":                 {asymmetric, sign(t, jwt.SigningMethodRS256, otherRSA(), in(time.Hour, "ann"), "jwk", jwk(&otherRSA().PublicKey)), auth.CodeInvalid},
		"key behind a URL in the header":    {asymmetric, sign(t, jwt.SigningMethodRS256, otherRSA(), in(time.Hour, "ann"), "jku", "http://127.0.0.1/keys"), auth.CodeInvalid},
		"critical header":                   {symmetric, hs(in(time.Hour, "ann"), "crit", "b64"), auth.CodeInvalid},
		"kid that is a path":                {symmetric, hs(in(time.Hour, "ann"), "kid", "../../../../dev/null"), ""}, // the file has one key, whatever it is called
		"kid that is a path, empty secret":  {symmetric, sign(t, jwt.SigningMethodHS256, []byte(""), in(time.Hour, "ann"), "kid", "/dev/null"), auth.CodeInvalid},
		"kid that is a query":               {asymmetric, sign(t, jwt.SigningMethodHS256, []byte("x"), in(time.Hour, "ann"), "kid", "' UNION SELECT 'x"), auth.CodeInvalid},
		"expired":                           {symmetric, hs(in(-time.Minute, "ann")), auth.CodeExpired},
		"expired within the leeway":         {symmetric, hs(in(-10*time.Second, "ann")), ""},
		"expired and forged":                {symmetric, sign(t, jwt.SigningMethodHS256, []byte("another secret"), in(-time.Minute, "ann")), auth.CodeInvalid},
		"not yet valid":                     {symmetric, hs(with("nbf", time.Now().Add(time.Minute).Unix())), auth.CodeInvalid},
		"valid since just now":              {symmetric, hs(with("nbf", time.Now().Unix())), ""},
		"issued in the future":              {symmetric, hs(with("iat", time.Now().Add(time.Minute).Unix())), auth.CodeInvalid},
		"never expires":                     {symmetric, hs(without("exp")), auth.CodeInvalid},
		"expiry is null":                    {symmetric, hs(with("exp", nil)), auth.CodeInvalid},
		"expiry is a string":                {symmetric, hs(with("exp", "tomorrow")), auth.CodeInvalid},
		"expiry is a numeric string":        {symmetric, hs(with("exp", "99999999999")), auth.CodeInvalid},
		"expiry is huge":                    {symmetric, hs(with("exp", 1e300)), auth.CodeInvalid},
		"expiry is negative":                {symmetric, hs(with("exp", -1)), auth.CodeInvalid},
		"lives for ten years":               {symmetric, hs(in(10*365*24*time.Hour, "ann")), auth.CodeInvalid},
		"lives for ten years, does not say since when": {symmetric, hs(jwt.MapClaims{"sub": "ann", "exp": time.Now().AddDate(10, 0, 0).Unix()}), auth.CodeInvalid},
		"no subject":                          {symmetric, hs(without("sub")), auth.CodeInvalid},
		"subject is a number":                 {symmetric, hs(with("sub", 7)), auth.CodeInvalid},
		"subject is a list":                   {symmetric, hs(with("sub", []string{"ann"})), auth.CodeInvalid},
		"subject is an object":                {symmetric, hs(with("sub", map[string]string{"id": "ann"})), auth.CodeInvalid},
		"subject is null":                     {symmetric, hs(with("sub", nil)), auth.CodeInvalid},
		"subject is empty":                    {symmetric, hs(with("sub", "")), auth.CodeInvalid},
		"subject of 256 bytes":                {symmetric, hs(with("sub", strings.Repeat("é", 128))), ""},
		"subject of 257 bytes":                {symmetric, hs(with("sub", strings.Repeat("x", 257))), auth.CodeInvalid},
		"subject is a socket id":              {symmetric, hs(with("sub", "AbCdEfGhIjKlMnOpQr-_")), auth.CodeInvalid},
		"subject of 20 characters":            {symmetric, hs(with("sub", "ann.marie@example.rg")), ""},
		"subject with a line feed":            {symmetric, hs(with("sub", "ann\nbob")), auth.CodeInvalid},
		"subject twice":                       {symmetric, forge(`{"sub":"ann","sub":"bob","exp":` + later() + `}`), auth.CodeInvalid},
		"subject in other letters":            {symmetric, forge(`{"SUB":"ann","exp":` + later() + `}`), auth.CodeInvalid},
		"subject and another in capitals":     {symmetric, forge(`{"sub":"ann","Sub":"bob","exp":` + later() + `}`), ""},
		"expiry twice":                        {symmetric, forge(`{"sub":"ann","exp":1,"exp":` + later() + `}`), auth.CodeInvalid},
		"claims are null":                     {symmetric, forge(`null`), auth.CodeInvalid},
		"claims are a list":                   {symmetric, forge(`[{"sub":"ann"}]`), auth.CodeInvalid},
		"claims are a string":                 {symmetric, forge(`"ann"`), auth.CodeInvalid},
		"claims are cut off":                  {symmetric, forge(`{"sub":"ann"`), auth.CodeInvalid},
		"something behind the claims":         {symmetric, forge(`{"sub":"ann","exp":` + later() + `} {}`), auth.CodeInvalid},
		"audience is an object":               {symmetric, hs(with("aud", map[string]string{})), auth.CodeInvalid},
		"issuer is a number":                  {symmetric, hs(with("iss", 7)), auth.CodeInvalid},
		"8 KiB":                               {symmetric, strings.Repeat("x", 8<<10), auth.CodeInvalid},
		"more than 8 KiB":                     {symmetric, strings.Repeat("x", 8<<10+1), auth.CodeTooLarge},
		"more than 8 KiB, otherwise in order": {symmetric, hs(with("pad", strings.Repeat("x", 8<<10))), auth.CodeTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if got := code(t, c.a, c.token); got != c.want {
				t.Errorf("refused with %q, want %q", got, c.want)
			}
		})
	}
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func later() string { return string(must(json.Marshal(time.Now().Add(time.Hour).Unix()))) }

// forge signs claims that no library would write.
func forge(claims string) string {
	text := encode(`{"alg":"HS256"}`) + "." + encode(claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(must(jwt.SigningMethodHS256.Sign(text, []byte(secret))))
}

func jwk(key *rsa.PublicKey) string {
	return `{"kty":"RSA","n":"` + base64.RawURLEncoding.EncodeToString(key.N.Bytes()) + `","e":"AQAB"}`
}

func TestAudienceAndIssuer(t *testing.T) {
	a := newAuth(t, auth.Options{Audience: []string{"chat", "games"}, Issuer: "https://login.example.org"})
	for name, c := range map[string]struct {
		aud, iss any
		want     auth.Code
	}{
		"right":             {"chat", "https://login.example.org", ""},
		"one of several":    {[]string{"mail", "games"}, "https://login.example.org", ""},
		"other audience":    {"mail", "https://login.example.org", auth.CodeInvalid},
		"part of it":        {"cha", "https://login.example.org", auth.CodeInvalid},
		"no audience":       {nil, "https://login.example.org", auth.CodeInvalid},
		"empty audience":    {"", "https://login.example.org", auth.CodeInvalid},
		"other issuer":      {"chat", "https://login.example.com", auth.CodeInvalid},
		"issuer with slash": {"chat", "https://login.example.org/", auth.CodeInvalid},
		"no issuer":         {"chat", nil, auth.CodeInvalid},
	} {
		claims := in(time.Hour, "ann")
		for name, v := range map[string]any{"aud": c.aud, "iss": c.iss} {
			if v != nil {
				claims[name] = v
			}
		}
		if got := code(t, a, sign(t, jwt.SigningMethodHS256, []byte(secret), claims)); got != c.want {
			t.Errorf("%s: refused with %q, want %q", name, got, c.want)
		}
	}
	claims := in(-time.Hour, "ann")
	claims["aud"] = "mail"
	if got := code(t, a, sign(t, jwt.SigningMethodHS256, []byte(secret), claims)); got != auth.CodeInvalid {
		t.Errorf("expired and for another audience: %q, want invalid: a new one would be refused, too", got)
	}
}

func TestAlgorithmsCanBeNarrowed(t *testing.T) {
	a := newAuth(t, auth.Options{Algorithms: []string{"HS512"}})
	if got := code(t, a, tokenFor(t, "ann", time.Hour)); got != auth.CodeInvalid {
		t.Errorf("HS256: %q", got)
	}
	if got := code(t, a, sign(t, jwt.SigningMethodHS512, []byte(secret), in(time.Hour, "ann"))); got != "" {
		t.Errorf("HS512: %q", got)
	}
}

// TestRememberedTokenExpires holds that a token which was verified before is not taken for longer than it lives.
func TestRememberedTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{})
		token := tokenFor(t, "ann", time.Minute)
		for range 2 {
			if got := code(t, a, token); got != "" {
				t.Fatalf("refused with %q", got)
			}
		}
		time.Sleep(91 * time.Second)
		_, err := a.Verify(t.Context(), token)
		var r *auth.Refusal
		if !errors.As(err, &r) || r.Data.Code != auth.CodeExpired || r.Data.ExpiredAt != time.Now().Add(-31*time.Second).UnixMilli() {
			t.Errorf("refused with %+v", r)
		}
	})
}

// TestNoExpiry holds that a token without an expiry is taken for as long as revocations are kept, so that none outlives its own.
func TestNoExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuth(t, auth.Options{AllowNoExpiry: true, MaxLifetime: time.Hour})
		issued := time.Now()
		token := forge(fmt.Sprintf(`{"sub":"ann","iat":%d}`, issued.Unix()))
		if got := code(t, a, forge(`{"sub":"ann"}`)); got != auth.CodeInvalid {
			t.Errorf("a token that does not tell when it was issued: %q", got)
		}
		time.Sleep(time.Hour - time.Second)
		if got := code(t, a, token); got != "" {
			t.Errorf("refused with %q", got)
		}
		time.Sleep(32 * time.Second) // it was verified a short while ago
		for range 2 {
			_, err := a.Verify(t.Context(), token)
			var r *auth.Refusal
			if !errors.As(err, &r) || r.Data.Code != auth.CodeExpired || r.Data.ExpiredAt != issued.Add(time.Hour).UnixMilli() {
				t.Errorf("a token that is too old: %v", err)
			}
			time.Sleep(10 * time.Minute)
		}
	})
}

func TestClaims(t *testing.T) {
	a := newAuth(t, auth.Options{AllowNoExpiry: true, MaxLifetime: 100 * 365 * 24 * time.Hour})
	claims, err := a.Verify(t.Context(), forge(`{"sub":"ann","roles":["admin"],"iat":1700000000.5}`))
	if err != nil {
		t.Fatal(err)
	}
	if !claims.ExpiresAt.IsZero() || !claims.IssuedAt.Equal(time.UnixMilli(1700000000500)) {
		t.Errorf("times are %v and %v", claims.IssuedAt, claims.ExpiresAt)
	}
	var roles []string
	if ok, err := claims.Load("roles", &roles); !ok || err != nil || len(roles) != 1 || roles[0] != "admin" {
		t.Errorf("roles %q, %v, %v", roles, ok, err)
	}
	if ok, err := claims.Load("Roles", &roles); ok || err != nil {
		t.Errorf("a claim in other letters is found: %v, %v", ok, err)
	}
	if ok, err := claims.Load("sub", new(int)); !ok || err == nil {
		t.Errorf("a claim of another type: %v, %v", ok, err)
	}
	if string(claims.Raw()) != `{"sub":"ann","roles":["admin"],"iat":1700000000.5}` {
		t.Errorf("raw claims are %s", claims.Raw())
	}
}
