package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

const (
	// verifyPatience is how long a token waits for its turn.
	verifyPatience = 5 * time.Second
	// knownFor is how long a token that was verified is taken without looking at its signature again.
	knownFor = 5 * time.Minute
	// maxKnown bounds the tokens of one generation that are remembered.
	maxKnown = 4096
)

// verifier verifies tokens, as many at a time as there are processors.
type verifier struct {
	// Static after construction.
	opts   *Options
	keys   *Keys
	parser *jwt.Parser
	turns  chan struct{}

	mu sync.Mutex
	// Guarded by mu.
	young, old map[[sha256.Size]byte]known // by the hash of the token
}

// known is a token that was verified.
type known struct {
	claims  *Claims
	version uint64 // of the keys
	at      time.Time
}

func newVerifier(o *Options) *verifier {
	rules := []jwt.ParserOption{jwt.WithValidMethods(o.Algorithms), jwt.WithLeeway(o.Leeway), jwt.WithIssuedAt(), jwt.WithStrictDecoding()}
	if !o.AllowNoExpiry {
		rules = append(rules, jwt.WithExpirationRequired())
	}
	if len(o.Audience) > 0 {
		rules = append(rules, jwt.WithAudience(o.Audience...))
	}
	if o.Issuer != "" {
		rules = append(rules, jwt.WithIssuer(o.Issuer))
	}
	return &verifier{
		opts: o, keys: o.Keys, parser: jwt.NewParser(rules...), turns: make(chan struct{}, max(2, runtime.GOMAXPROCS(0))),
		young: make(map[[sha256.Size]byte]known),
	}
}

// verify returns the claims of a token, or why it is refused. It waits for keys that have to be fetched, and for its turn.
func (v *verifier) verify(ctx context.Context, token string) (*Claims, *Refusal) {
	if len(token) > v.opts.MaxToken {
		r := refuse(CodeTooLarge, nil)
		r.Data.MaxBytes = v.opts.MaxToken
		return nil, r
	}
	hash := sha256.Sum256([]byte(token))
	if claims := v.lookup(hash); claims != nil {
		if r := v.expired(claims); r != nil {
			return nil, r
		}
		return claims, nil
	}
	if v.keys.remote != nil && !v.fetch(ctx, token) {
		return nil, refuse(CodeUnavailable, errors.New("the key of the token cannot be fetched"))
	}
	ctx, cancel := context.WithTimeout(ctx, verifyPatience)
	defer cancel()
	select {
	case v.turns <- struct{}{}:
		defer func() { <-v.turns }()
	case <-ctx.Done():
		return nil, refuse(CodeUnavailable, errors.New("too many tokens are being verified"))
	}
	version := v.keys.set.version.Load()
	claims, r := v.parse(token)
	if r == nil {
		v.remember(hash, known{claims, version, time.Now()})
	}
	return claims, r
}

// fetch waits for the key of a token, if it may have to be fetched. It reports false if the key may exist and cannot be had.
func (v *verifier) fetch(ctx context.Context, token string) bool {
	header, _, _ := strings.Cut(token, ".")
	text, err := v.parser.DecodeSegment(header)
	if err != nil {
		return true
	}
	all, err := members(text)
	if err != nil {
		return true
	}
	if alg, err := stringOf(all["alg"]); err != nil || !slices.Contains(v.opts.Algorithms, alg) {
		return true // a token that is refused in any case asks for nothing
	}
	kid, err := stringOf(all[jwkset.HeaderKID])
	if err != nil && !v.keys.empty() {
		return true
	}
	// Keys without ids are tried whatever the token says, so that they do for it if the issuer cannot be asked.
	return v.keys.remote.await(ctx, kid) || !v.keys.empty() && !v.keys.set.named.Load()
}

// parse looks at the signature and at the claims.
func (v *verifier) parse(token string) (*Claims, *Refusal) {
	var found tokenClaims
	_, err := v.parser.ParseWithClaims(token, &found, v.keys.verifying)
	if err != nil {
		return nil, v.refusal(err, &found)
	}
	claims := found.claims()
	if err = checkSubject(claims.Subject); err == nil {
		err = v.opts.CheckSubject(claims.Subject)
	}
	if err == nil {
		err = v.checkLifetime(claims)
	}
	if err != nil {
		return nil, refuse(CodeInvalid, err)
	}
	if r := v.expired(claims); r != nil {
		return nil, r
	}
	return claims, nil
}

// refusal says why package jwt refuses. Expired is what nothing else is wrong with.
func (v *verifier) refusal(err error, found *tokenClaims) *Refusal {
	for _, other := range []error{
		jwt.ErrTokenMalformed, jwt.ErrTokenUnverifiable, jwt.ErrTokenSignatureInvalid, jwt.ErrTokenInvalidAudience, jwt.ErrTokenInvalidIssuer,
		jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenNotValidYet, jwt.ErrTokenRequiredClaimMissing,
	} {
		if errors.Is(err, other) {
			return refuse(CodeInvalid, err)
		}
	}
	if !errors.Is(err, jwt.ErrTokenExpired) {
		return refuse(CodeInvalid, err)
	}
	r := refuse(CodeExpired, nil)
	r.Data.ExpiredAt = found.exp.UnixMilli()
	return r
}

// expired refuses a token that was verified before and has expired meanwhile.
func (v *verifier) expired(c *Claims) *Refusal {
	end := v.endOf(c)
	if time.Now().Before(end.Add(v.opts.Leeway)) {
		return nil
	}
	r := refuse(CodeExpired, nil)
	r.Data.ExpiredAt = end.UnixMilli()
	return r
}

// endOf returns when a token ends. One that never expires by itself is taken as long as revocations are remembered, not longer.
func (v *verifier) endOf(c *Claims) time.Time {
	if c.ExpiresAt.IsZero() {
		return c.IssuedAt.Add(v.opts.MaxLifetime)
	}
	return c.ExpiresAt
}

func (v *verifier) checkLifetime(c *Claims) error {
	from := c.IssuedAt
	switch {
	case c.ExpiresAt.IsZero() && from.IsZero():
		return errors.New("a token that never expires has to tell when it was issued")
	case from.IsZero():
		from = time.Now()
	}
	if life := v.endOf(c).Sub(from); life > v.opts.MaxLifetime {
		return fmt.Errorf("the token lives for %v, at most %v are allowed", life, v.opts.MaxLifetime)
	}
	return nil
}

// lookup finds a token that was verified a short while ago, with keys that are still those of now.
func (v *verifier) lookup(hash [sha256.Size]byte) *Claims {
	version := v.keys.set.version.Load()
	v.mu.Lock()
	defer v.mu.Unlock()
	k, ok := v.young[hash]
	if !ok {
		k, ok = v.old[hash]
	}
	if !ok || k.version != version || time.Since(k.at) > knownFor {
		return nil
	}
	return k.claims
}

// remember keeps a token for the next attempt, and its former ones for a while.
func (v *verifier) remember(hash [sha256.Size]byte, k known) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.young) >= maxKnown {
		v.old, v.young = v.young, make(map[[sha256.Size]byte]known)
	}
	v.young[hash] = k
}
