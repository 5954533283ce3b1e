package engine

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/internal/memlimit"
	"github.com/sockeye-io/sockeye/internal/websocket"
)

// Names of the transports, as in the "transport" query parameter.
const (
	TransportPolling   = "polling"
	TransportWebSocket = "websocket"
)

// Options configures a Server. Nil and the zero value mean the defaults of the Node server; New copies what it needs
// and changes nothing.
type Options struct {
	// Path is the prefix of the URLs that the server answers. Default "/engine.io". A trailing slash is added unless
	// DisableTrailingSlash is set.
	Path                 string
	DisableTrailingSlash bool

	// PingInterval is the time between a pong and the next ping. Default 25 s. This duration and the next two must be
	// from 1 ms to 12 days.
	PingInterval time.Duration
	// PingTimeout is how long a pong may take before the session ends. Default 20 s.
	PingTimeout time.Duration
	// UpgradeTimeout is how long an upgrade from polling to websocket may take. Default 10 s.
	UpgradeTimeout time.Duration

	// MaxHTTPBufferSize is the largest body of a POST request and the largest websocket message, in bytes. Default
	// 1,000,000, at most 1 GiB. A longer POST is answered 413 and ends the session, a longer websocket message ends the
	// connection.
	MaxHTTPBufferSize int64
	// HTTPRequestBodyTimeout is how long the body of a POST request may take to arrive; a later one is answered 408 and ends
	// the session. Whoever raises MaxHTTPBufferSize for clients on slow lines raises this too. Default 30 s, from 1 ms to 12
	// days. It needs a ResponseWriter that can set deadlines (http.ResponseController).
	HTTPRequestBodyTimeout time.Duration
	// MaxBufferedChunks is in how many pieces of fewer than 512 bytes the body of a POST request may come; one of more pieces
	// is answered 413 and ends the session. Pieces are what net/http reads at once: of chunks that arrive together it makes
	// one. Default 10,000.
	MaxBufferedChunks int

	// MaxPollPackets is how many packets the answer to a poll may have; what is queued beyond them waits for the next poll. Python's
	// client (python-engineio) ends when an answer has more than 16. An event and its attachments are one packet each, and are
	// not parted: an event with more attachments goes out by itself. Default 0: no bound.
	MaxPollPackets int

	// Transports lists what clients may use. Default polling and websocket.
	Transports []string
	// DisableUpgrades keeps polling sessions on polling: no upgrade is offered in the handshake.
	DisableUpgrades bool

	// PerMessageDeflate enables compression on websocket connections. Nil, the default, means none.
	PerMessageDeflate *PerMessageDeflate
	// HTTPCompression tunes the compression of polling answers. Nil means on, from 1024 bytes.
	HTTPCompression *HTTPCompression

	// Cookie, when not nil, is set on the first polling answer of each session, with the session id as value.
	Cookie *Cookie
	// CORS is the cross-origin policy, for polling answers, preflight requests and websocket handshakes alike. Nil, the
	// default as in Node, means no policy: no CORS headers, and websocket connections are accepted from any origin.
	CORS *CORS

	// TrustedProxies may say in headers who asks, which decides what Handshake.Address and Handshake.Secure return. Default
	// none: the connection's other end is the client, whatever headers say.
	TrustedProxies TrustedProxies

	// AllowRequest decides about handshakes (not about later requests of a session), on every transport, before anything is
	// allocated for the session: limits belong here. The text of a *Refusal is told to the client; any other error only as
	// "Forbidden". It may block; it runs on the request's goroutine.
	AllowRequest func(*http.Request) error
	// SessionContext says what goes on from the request that opens a session to the session, its sockets and their handlers,
	// whose contexts have the values of the context that it returns. That one must be derived from ctx, which is empty: what is
	// derived from the request's own context would keep the whole request as long as the session. [KeepValues] makes such a
	// function. It is called once for each session, after AllowRequest and every middleware, and an error refuses as
	// AllowRequest's does: who is there can be verified here, once for all transports. It may block; nil keeps nothing.
	SessionContext func(ctx context.Context, r *http.Request) (context.Context, error)
	// Observe chooses who observes a new session, nil for nobody, before its Handler is asked for. It must not block. It may end
	// the session, with Session.Fail.
	// Without it observing costs nothing.
	Observe func(*Session) Observer

	// Elsewhere is asked about requests with the id of a session that is not here, or has moved (see Server.Release). It reports
	// whether it has answered; otherwise, and without it, the client is told that the session is unknown. It may pass the request on
	// to the server that has the session, which serves it with Server.ServeFor.
	Elsewhere func(w http.ResponseWriter, r *http.Request, sid string) bool
	// HoldYoung says how long the first POST requests of a new polling session may wait for its upgrade, which may come to another
	// server; see Server.Release. Default: not at all.
	HoldYoung func(*http.Request) time.Duration

	// InitialPacket is sent to every client right after the handshake.
	InitialPacket *Message

	// OutboxLimit is what a client may owe, in bytes that are queued for it, while it takes nothing: beyond it the session ends
	// if nothing was taken for 5 s. The message that crosses the limit is always accepted. Default 1 MiB.
	OutboxLimit int64
	// OutboxMax is what a client may owe, in bytes, however fast it takes; beyond it the session ends. The message that crosses
	// it is always accepted. At least OutboxLimit. Default 64 MiB, or OutboxLimit if that is more, or half of OutboxTotal if that is less.
	OutboxMax int64
	// OutboxTotal bounds the bytes queued on the whole server, a message shared by many sessions counted once. Beyond
	// it the sessions with the longest backlogs end. Default 256 MiB, or a quarter of the process's memory if that is less;
	// at least OutboxMax. The process's memory is what GOMEMLIMIT, its container or else the machine allows.
	OutboxTotal int64
	// InputTotal bounds the memory of the whole server, in bytes, for input that cannot be let go yet: unfinished websocket
	// messages, bodies of POST requests, and what the layer above holds (see Session.HoldInput). Beyond it those sessions end,
	// that have held most for longest; never one that holds no more than half of the budget divided
	// by the number of sessions. Default 256 MiB, or 32 times MaxHTTPBufferSize if that is more, or a quarter of the process's
	// memory if that is less; at least 8 times MaxHTTPBufferSize.
	InputTotal int64
	// StateTotal bounds the memory of the whole server, in bytes, for what sessions keep as long as they live: themselves,
	// their handshakes, and what the layer above keeps (see Session.KeepState). Where it is used up, sessions end from which
	// nothing has come, and then those that keep far more than the others (over 64 KiB and twice their average); if there are none,
	// what would be added is refused, a new session with 503. Default a quarter of the process's memory.
	StateTotal int64
	// MaxSessions bounds the sessions. Beyond it those end from which nothing has come in a second; if there are none, a new one
	// is refused with 503. Default 1,000,000.
	MaxSessions int
	// MaxHandshakeSize bounds what is kept of the request that opens a session, URL and headers, in bytes; a larger one is
	// refused with 431. Default 16 KiB, which Node's HTTP server allows a header.
	MaxHandshakeSize int
	// MaxHalfOpen and MaxIdle bound the connections of the HTTP server in front, if that tells Server.ConnState of them: those on
	// which no request has come yet, and those between two requests. Beyond a bound those are closed that have waited longest.
	// Default 10,000 and 50,000, or less in small memory: as many as fit in a sixteenth and a quarter of the process's memory, at
	// 16 KiB each, and at least 100.
	MaxHalfOpen, MaxIdle int

	// ReadMode is how websocket connections are read, and whether polls that wait may be parked. Default ReadAuto.
	ReadMode ReadMode

	// Logger gets warnings; nil means slog.Default() at the time of New.
	Logger *slog.Logger

	// OnConnectionError is told about each refused request. It runs on the request's goroutine.
	OnConnectionError func(*ConnectionError)
	// OnInitialHeaders may change the headers of the first answer of a session, OnHeaders those of every answer (the
	// 101 of a websocket handshake included). They run on the request's goroutine.
	OnInitialHeaders, OnHeaders func(http.Header, *http.Request)
}

// ReadMode is how the bytes of idle websocket connections are waited for.
type ReadMode string

const (
	// ReadAuto is ReadPoller where that is possible.
	ReadAuto ReadMode = "auto"
	// ReadPoller lets a poller watch the connections: an idle one has no goroutine. It needs Linux and plain TCP or Unix
	// connections, or TLS ones of NewListener's listener; others are read as in ReadGoroutine. A wrapper around such a
	// connection that leaves its bytes as they are may have a method PassThrough() net.Conn that returns it. The server duplicates
	// the socket and closes the net.Conn, so that nobody else can use it; the wrapper is closed with the session.
	ReadPoller ReadMode = "poller"
	// ReadHot is ReadPoller with a goroutine that waits without telling the scheduler of it, and that handles what has come itself:
	// packets are decoded there, and what is given to Session.ContinueQuick runs there. With little load a message then costs less
	// processor time, because fewer threads have to be woken. Handler.OnText and OnBinary must not block; when one does, another
	// goroutine takes over after 2 to 4 ms. Each server needs a P of its own: the program sets GOMAXPROCS to one more than the
	// processors that it is to use. With GOMAXPROCS 1 and on other systems it is ReadPoller. It is an experiment: each call that blocks costs
	// the other connections these milliseconds.
	ReadHot ReadMode = "hot"
	// ReadGoroutine has a goroutine for each connection, and those of net/http for each poll that waits.
	ReadGoroutine ReadMode = "goroutine"
)

// PerMessageDeflate configures RFC 7692 compression of websocket messages.
type PerMessageDeflate struct {
	// Threshold is the size in bytes from which messages are compressed. Default 1024.
	Threshold int
	// Level is the compression level, 1 to 9. Default 1.
	Level int
	// ServerContextTakeover and ClientContextTakeover allow a compression context to live as long as the connection,
	// for better ratios at up to 32 KB of memory per connection and direction. Default off.
	ServerContextTakeover, ClientContextTakeover bool
	// ServerMaxWindowBits and ClientMaxWindowBits bound the window, 8 to 15. Default: what the client asks for.
	ServerMaxWindowBits, ClientMaxWindowBits int
}

// HTTPCompression configures gzip and deflate for polling answers.
type HTTPCompression struct {
	// Disabled turns compression off.
	Disabled bool
	// Threshold is the body size in bytes from which answers are compressed. Default 1024.
	Threshold int
	// Level is the compression level, 1 to 9. Default 6.
	Level int
}

const (
	defaultPath           = "/engine.io"
	defaultPingInterval   = 25 * time.Second
	defaultPingTimeout    = 20 * time.Second
	defaultUpgradeTimeout = 10 * time.Second
	defaultBodyTimeout    = 30 * time.Second
	defaultMaxBuffer      = 1_000_000
	defaultMaxChunks      = 10_000
	maxBuffer             = 1 << 30
	defaultOutboxLimit    = 1 << 20
	defaultOutboxMax      = 64 << 20
	defaultOutboxTotal    = 256 << 20
	defaultInputTotal     = 256 << 20
	defaultMaxSessions    = 1_000_000
	defaultMaxHandshake   = 16 << 10
	minStateTotal         = 1 << 20
	defaultMaxHalfOpen    = 10_000
	defaultMaxIdle        = 50_000
	defaultThreshold      = 1024
	defaultHTTPLevel      = 6

	// maxDuration keeps PingInterval + PingTimeout within what a JavaScript timer can wait, 2^31-1 ms: a browser given
	// more disconnects at once.
	maxDuration = 12 * 24 * time.Hour
)

// settings is Options with the defaults filled in and everything derived once.
type settings struct {
	Options
	compression HTTPCompression
	cookie      *cookieWriter
	cors        *corsPolicy
	websocket   websocket.Config
	deflate     *websocket.DeflateOptions
	// The framing of websocket connections by revision, and of those whose clients asked for texts only.
	messages, texts [newestRevision + 1]*messageFraming
	kinds           []*transportKind          // of Transports, in the order of transportKinds
	upgrades        map[*transportKind]string // what a session that starts there may move to, in JSON
}

func newSettings(opts *Options) (*settings, error) {
	cfg := &settings{}
	if opts != nil {
		cfg.Options = *opts
	}
	cfg.TrustedProxies = slices.Clone(cfg.TrustedProxies)
	for _, step := range []func() error{cfg.setPath, cfg.setLimits, cfg.setTransports, cfg.setCompression, cfg.setOrigin} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	var shared *websocket.Deflate
	if cfg.deflate != nil {
		shared = cfg.deflate.Shared()
	}
	for number, rev := range revisions {
		if spoken(number) != nil {
			cfg.messages[number] = newMessageFraming(rev.messages, shared)
			cfg.texts[number] = newMessageFraming(rev.texts, shared)
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	cfg.cors.warnCredentials(cfg.Logger)
	return cfg, nil
}

func (cfg *settings) setPath() error {
	if cfg.Path == "" {
		cfg.Path = defaultPath
	}
	if !strings.HasPrefix(cfg.Path, "/") {
		return fmt.Errorf("path %q must start with a slash", cfg.Path)
	}
	cfg.Path = strings.TrimSuffix(cfg.Path, "/")
	if !cfg.DisableTrailingSlash {
		cfg.Path += "/"
	}
	return nil
}

func (cfg *settings) setLimits() error {
	switch cfg.ReadMode {
	case "":
		cfg.ReadMode = ReadAuto
	case ReadAuto, ReadPoller, ReadHot, ReadGoroutine:
	default:
		return fmt.Errorf("read mode %q is none of auto, poller, hot, goroutine", cfg.ReadMode)
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"ping interval", &cfg.PingInterval, defaultPingInterval},
		{"ping timeout", &cfg.PingTimeout, defaultPingTimeout},
		{"upgrade timeout", &cfg.UpgradeTimeout, defaultUpgradeTimeout},
		{"HTTP request body timeout", &cfg.HTTPRequestBodyTimeout, defaultBodyTimeout},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
		if *d.value < time.Millisecond || *d.value > maxDuration {
			return fmt.Errorf("%s %v must be from 1ms to %v", d.name, *d.value, maxDuration)
		}
	}
	if err := cmp.Or(
		size("maximum HTTP buffer size", &cfg.MaxHTTPBufferSize, defaultMaxBuffer),
		size("maximum of sessions", &cfg.MaxSessions, defaultMaxSessions),
		size("maximum handshake size", &cfg.MaxHandshakeSize, defaultMaxHandshake),
	); err != nil {
		return err
	}
	if cfg.MaxBufferedChunks == 0 {
		cfg.MaxBufferedChunks = defaultMaxChunks
	}
	if cfg.MaxBufferedChunks < 0 {
		return fmt.Errorf("maximum number of buffered chunks %d must not be negative", cfg.MaxBufferedChunks)
	}
	if cfg.MaxPollPackets < 0 {
		return fmt.Errorf("maximum number of packets of a poll %d must not be negative", cfg.MaxPollPackets)
	}
	if cfg.MaxHTTPBufferSize > maxBuffer {
		return fmt.Errorf("maximum HTTP buffer size %d must not be more than 1 GiB", cfg.MaxHTTPBufferSize)
	}
	if err := cfg.setBudgets(memlimit.Bytes() / 4); err != nil {
		return err
	}
	cfg.websocket = websocket.Config{MaxMessageSize: cfg.MaxHTTPBufferSize}
	return nil
}

// setBudgets sets what the whole server may use. A budget that was not chosen follows a share of the process's memory.
func (cfg *settings) setBudgets(share int64) error {
	if err := cmp.Or(
		cfg.setOutbox(share),
		size("input total", &cfg.InputTotal,
			max(8*cfg.MaxHTTPBufferSize, min(max(defaultInputTotal, 32*cfg.MaxHTTPBufferSize), share))),
		size("state total", &cfg.StateTotal, max(minStateTotal, share)),
		size("maximum of half-open connections", &cfg.MaxHalfOpen, fitting(defaultMaxHalfOpen, share/4)),
		size("maximum of idle connections", &cfg.MaxIdle, fitting(defaultMaxIdle, share)),
	); err != nil {
		return err
	}
	// The buffer of a message may be twice as long as the message, and what is decoded comes beside it; both must fit in half
	// of the budget.
	if cfg.InputTotal/8 < cfg.MaxHTTPBufferSize {
		return fmt.Errorf("input total %d must be at least 8 times the maximum HTTP buffer size %d",
			cfg.InputTotal, cfg.MaxHTTPBufferSize)
	}
	return nil
}

// fitting returns a number of connections, or less if those do not fit in a budget.
func fitting(most int, budget int64) int {
	return int(max(100, min(int64(most), budget/connCost)))
}

// size checks a number and fills its default in.
func size[T int | int64](name string, value *T, def T) error {
	if *value < 0 {
		return fmt.Errorf("%s %d must not be negative", name, *value)
	}
	if *value == 0 {
		*value = def
	}
	return nil
}

// setOutbox lets each default give way to what was chosen, so that one client may owe less than all of them.
func (cfg *settings) setOutbox(share int64) error {
	limit, most, total := &cfg.OutboxLimit, &cfg.OutboxMax, &cfg.OutboxTotal
	if err := cmp.Or(
		size("outbox total", total, max(*limit, *most, defaultOutboxLimit, min(defaultOutboxTotal, share))),
		size("outbox maximum", most, max(*limit, min(defaultOutboxMax, *total/2))),
		size("outbox limit", limit, min(defaultOutboxLimit, *most)),
	); err != nil {
		return err
	}
	if *limit > *most || *most > *total {
		return fmt.Errorf("outbox limit %d must not exceed the maximum %d, nor that the total %d", *limit, *most, *total)
	}
	return nil
}

func (cfg *settings) setTransports() error {
	if len(cfg.Transports) == 0 {
		cfg.Transports = []string{TransportPolling, TransportWebSocket}
	}
	cfg.Transports = slices.Clone(cfg.Transports)
	for _, name := range cfg.Transports {
		if !slices.ContainsFunc(transportKinds[:], func(k *transportKind) bool { return k.name == name }) {
			return fmt.Errorf("unknown transport %q, want %q or %q", name, TransportPolling, TransportWebSocket)
		}
	}
	for _, kind := range transportKinds {
		if slices.Contains(cfg.Transports, kind.name) {
			cfg.kinds = append(cfg.kinds, kind)
		}
	}
	cfg.upgrades = make(map[*transportKind]string)
	for _, kind := range cfg.kinds {
		cfg.upgrades[kind] = cfg.upgradesOf(kind)
	}
	return nil
}

func (cfg *settings) setCompression() error {
	if cfg.HTTPCompression != nil {
		cfg.compression = *cfg.HTTPCompression
	}
	c := &cfg.compression
	if c.Threshold == 0 {
		c.Threshold = defaultThreshold
	}
	if c.Level == 0 {
		c.Level = defaultHTTPLevel
	}
	if c.Threshold < 0 {
		return fmt.Errorf("HTTP compression threshold %d must not be negative", c.Threshold)
	}
	if c.Level < 1 || c.Level > 9 {
		return fmt.Errorf("HTTP compression level %d must be from 1 to 9", c.Level)
	}
	return cfg.setDeflate()
}

func (cfg *settings) setDeflate() error {
	d := cfg.PerMessageDeflate
	if d == nil {
		return nil
	}
	switch {
	case d.Threshold < 0:
		return fmt.Errorf("per-message deflate threshold %d must not be negative", d.Threshold)
	case d.Level < 0 || d.Level > 9:
		return fmt.Errorf("per-message deflate level %d must be from 1 to 9", d.Level)
	}
	for _, bits := range []int{d.ServerMaxWindowBits, d.ClientMaxWindowBits} {
		if bits != 0 && (bits < 8 || bits > 15) {
			return fmt.Errorf("per-message deflate window of %d bits must be from 8 to 15", bits)
		}
	}
	cfg.deflate = &websocket.DeflateOptions{
		Threshold:             d.Threshold,
		Level:                 d.Level,
		ServerContextTakeover: d.ServerContextTakeover,
		ClientContextTakeover: d.ClientContextTakeover,
		ServerMaxWindowBits:   d.ServerMaxWindowBits,
		ClientMaxWindowBits:   d.ClientMaxWindowBits,
	}
	return nil
}

func (cfg *settings) setOrigin() (err error) {
	if cfg.Cookie != nil {
		if cfg.cookie, err = newCookieWriter(cfg.Cookie); err != nil {
			return err
		}
	}
	if cfg.CORS != nil {
		if cfg.cors, err = newCORSPolicy(cfg.CORS); err != nil {
			return err
		}
	}
	return nil
}

// CORS is the cross-origin policy, with the semantics of the npm package cors. At most one of Origin, Origins with
// OriginPatterns, ReflectOrigin and OriginFunc may be used; with none of them any origin is allowed ("*"). Over websocket an
// origin whose host and port are those of the request itself, or those that trusted proxies say were asked for, is always
// allowed, whatever its scheme; "null" has no host.
type CORS struct {
	// Origin is one origin that is announced whatever the request says, or "*".
	Origin string
	// Origins and OriginPatterns list allowed origins; the request's own is announced if it matches one of them.
	Origins        []string
	OriginPatterns []*regexp.Regexp
	// ReflectOrigin allows every origin by announcing the request's own; unlike "*" it may go with Credentials.
	ReflectOrigin bool
	// OriginFunc decides for each request. It gets the Origin header, "" without one. It may block.
	OriginFunc func(r *http.Request, origin string) bool

	// Strict refuses requests of foreign origins on every transport, with 403. Without it, as in the reference, a page of a foreign
	// origin may send polling requests, whose answers its browser keeps from it.
	Strict bool

	// Methods answers preflight requests. Default GET, HEAD, PUT, PATCH, POST, DELETE.
	Methods []string
	// AllowedHeaders answers preflight requests. Default: what the request asks for.
	AllowedHeaders []string
	// ExposedHeaders is announced on every answer. Default none.
	ExposedHeaders []string
	// Credentials allows cookies and client certificates. With the origin "*" browsers heed it for no page that sends some, in
	// npm cors too; New warns of it.
	Credentials bool
	// MaxAge is how long a preflight answer may be cached, in whole seconds. 0 leaves the header out; a negative value
	// announces 0.
	MaxAge time.Duration
	// PreflightContinue passes preflight requests on instead of answering them.
	PreflightContinue bool
	// OptionsSuccessStatus is the status of a preflight answer. Default 204.
	OptionsSuccessStatus int
}
