package auth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/jwkset"
	"golang.org/x/time/rate"
)

// FetchOptions configure FetchKeys. The zero value works.
type FetchOptions struct {
	// Optional says that the keys need not be there at once: until they are, clients are refused as CodeUnavailable. By default
	// FetchKeys fails, so that a node that could let nobody in does not start.
	Optional bool

	// Interval is how often the keys are fetched anew. Default 10 min.
	Interval time.Duration

	// MinInterval is the least time between two fetches because of a token whose key is not known, as after a change of keys, or
	// of a forged one. Until it is over tokens with such keys are refused as CodeUnavailable. Default 10 s.
	MinInterval time.Duration

	// Timeout bounds one fetch. Default 5 s.
	Timeout time.Duration

	// AllowHTTP allows a URL without TLS on another host than this one. Whoever can change what travels there can make tokens.
	AllowHTTP bool

	// Client makes the requests. Default: one of its own, without cookies.
	Client *http.Client

	// Logger is told what goes wrong. Default: slog.Default().
	Logger *slog.Logger
}

// FetchKeys makes keys of a JWK set behind a URL. They are fetched anew now and then, and when a token names a key that is not known;
// while that fails, or what comes is no JWK set with keys for verifying, is longer than 1 MiB or has more than 100 keys, the former
// ones go on. HMAC secrets are not taken. Close ends the fetching.
func FetchKeys(address string, opts FetchOptions) (*Keys, error) {
	o, err := opts.settings(address)
	if err != nil {
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	r := &remote{set: newKeySet(false), opts: o}
	r.set.replaced = func() { r.broken.Store(false) }
	r.ctx, r.cancel = context.WithCancel(context.Background())
	first, err := jwkset.NewStorageFromHTTP(address, jwkset.HTTPClientStorageOptions{
		Client: o.Client, Ctx: r.ctx, HTTPTimeout: o.Timeout, NoErrorReturnFirstHTTPReq: o.Optional, RefreshErrorHandler: r.failed,
		RefreshInterval: o.Interval, Storage: r.set,
	})
	if err == nil {
		// It fetches what it does not find; when that may be is decided by await.
		r.client, err = jwkset.NewHTTPClient(jwkset.HTTPClientOptions{
			HTTPURLs: map[string]jwkset.Storage{address: first}, RefreshUnknownKID: rate.NewLimiter(rate.Inf, 1), RateLimitWaitMax: o.Timeout,
		})
	}
	var k *Keys
	if err == nil {
		k, err = newKeys(r.set)
	}
	if err != nil {
		r.cancel()
		return nil, fmt.Errorf("fetch keys: %w", err)
	}
	k.remote = r
	return k, nil
}

func (o FetchOptions) settings(address string) (FetchOptions, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return o, errors.New("the URL cannot be read")
	case u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return o, errors.New("the URL must begin with https://")
	case u.Scheme == "http" && !o.AllowHTTP && !isLoopback(u.Hostname()):
		return o, errors.New("the URL must begin with https://, or AllowHTTP be set")
	}
	for _, d := range []time.Duration{o.Interval, o.MinInterval, o.Timeout} {
		if d < 0 {
			return o, fmt.Errorf("a duration must not be negative, got %v", d)
		}
	}
	o.Interval = cmp.Or(o.Interval, 10*time.Minute)
	o.MinInterval = cmp.Or(o.MinInterval, 10*time.Second)
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	client := http.Client{Transport: http.DefaultTransport}
	if o.Client != nil {
		client = *o.Client
	}
	client.Transport = bounded{client.Transport}
	client.CheckRedirect = sameSecurity
	o.Client = &client
	return o, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// sameSecurity follows a few redirections, but none away from TLS.
func sameSecurity(next *http.Request, before []*http.Request) error {
	switch {
	case len(before) > 3:
		return errors.New("too many redirections")
	case before[0].URL.Scheme == "https" && next.URL.Scheme != "https":
		return errors.New("redirected to an address without TLS")
	}
	return nil
}

// bounded cuts answers off that are too long.
type bounded struct{ next http.RoundTripper }

// RoundTrip makes a request.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	next := b.next
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{&cutReader{resp.Body, maxKeyFile}, resp.Body}
	return resp, nil
}

// cutReader fails behind a number of bytes.
type cutReader struct {
	from io.Reader
	left int
}

// Read reads what is left.
func (c *cutReader) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLong
	}
	n, err := c.from.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// remote fetches keys.
type remote struct {
	// Static after construction.
	set     *keySet
	client  jwkset.Storage
	opts    FetchOptions
	ctx     context.Context // ends with close
	cancel  context.CancelFunc
	running sync.WaitGroup
	broken  atomic.Bool // the latest fetch has failed

	mu sync.Mutex
	// Guarded by mu.
	fetching chan struct{} // closed when the fetch that is under way is over; nil if there is none
	last     time.Time     // when the last one began
	closed   bool
}

func (r *remote) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.running.Wait()
}

func (r *remote) failed(_ context.Context, err error) {
	r.broken.Store(true)
	if r.ctx.Err() == nil {
		r.opts.Logger.Warn("keys for tokens cannot be fetched", "error", err, "known", r.set.version.Load() > 0)
	}
}

// await waits for the key with an id, if it is not known and may be looked for now, until the fetch is over. However many wait, there is
// one fetch. It reports whether the key is known in the end, or known not to be: the issuer was asked and has answered. While it must
// not be asked again so soon, nobody knows.
func (r *remote) await(ctx context.Context, kid string) bool {
	if r.knows(kid) {
		return true
	}
	asked := r.look(ctx, kid)
	return r.knows(kid) || asked && !r.broken.Load()
}

func (r *remote) knows(kid string) bool {
	_, err := r.set.KeyRead(r.ctx, kid)
	return err == nil
}

// look reports whether a fetch has ended that was begun for the key, or was under way.
func (r *remote) look(ctx context.Context, kid string) (asked bool) {
	r.mu.Lock()
	if r.fetching == nil {
		if r.closed || time.Since(r.last) < r.opts.MinInterval {
			r.mu.Unlock()
			return false
		}
		r.last, r.fetching = time.Now(), make(chan struct{})
		r.running.Go(func() { r.fetch(kid) })
	}
	done := r.fetching
	r.mu.Unlock()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// fetch asks for a key that is not known, which fetches all. What goes wrong is told to failed.
func (r *remote) fetch(kid string) {
	_, _ = r.client.KeyRead(r.ctx, kid)
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.fetching)
	r.fetching = nil
}
