package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/internal/httpserve"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
	"github.com/sockeye-io/sockeye/server/limits"
	"github.com/sockeye-io/sockeye/server/proxyprotocol"
	"github.com/sockeye-io/sockeye/server/users"
)

// serveCommand holds the flags of `sockeye serve`. Engine options carry Node's names in kebab case; every flag can be
// given as SOCKEYE_<NAME> too.
type serveCommand struct {
	Config string `group:"Node" type:"existingfile" placeholder:"FILE" help:"YAML or JSON file with values of these flags under their names, such as ping-interval: 10s. The command line and the environment come before it."`

	Addr string `group:"Node" default:":3000" help:"Address to listen on, host:port; port 0 takes a free one."`
	App  string `group:"Node" default:"chat" enum:"chat,conformance,engine,bench" help:"What the node does: chat, conformance, engine or bench."`

	tlsFlags `group:"TLS"`

	Path               string          `group:"Connections" help:"Path of the protocol, /socket.io by default, /engine.io for the engine app."`
	AddTrailingSlash   bool            `group:"Connections" default:"true" negatable:"" help:"Append a slash to the path."`
	PingInterval       time.Duration   `group:"Connections" default:"25s" help:"Time between two heartbeats."`
	PingTimeout        time.Duration   `group:"Connections" default:"20s" help:"How long to wait for the answer to a heartbeat."`
	UpgradeTimeout     time.Duration   `group:"Connections" default:"10s" help:"How long an upgrade of the transport may take."`
	ConnectTimeout     time.Duration   `group:"Connections" default:"45s" help:"How long a client may stay without joining a namespace."`
	Recovery           time.Duration   `group:"Connections" name:"connection-state-recovery" placeholder:"DURATION" help:"How long after the end of its connection a client may go on with its socket and get what it has missed, for example 2m; not at all by default."`
	MaxHTTPBufferSize  int64           `group:"Connections" name:"max-http-buffer-size" default:"1000000" help:"Largest message in bytes."`
	BodyTimeout        time.Duration   `group:"Connections" name:"http-request-body-timeout" default:"30s" help:"How long the body of a polling request may take to arrive."`
	MaxBufferedChunks  int             `group:"Connections" default:"10000" help:"In how many small pieces the body of a polling request may come."`
	MaxPollPackets     int             `group:"Connections" default:"0" help:"How many packets the answer to a poll may have, 0 for no bound; 16 is what Python's client takes."`
	Transports         []string        `group:"Connections" default:"polling,websocket" enum:"polling,websocket" help:"Transports to offer."`
	AllowUpgrades      bool            `group:"Connections" default:"true" negatable:"" help:"Let polling clients upgrade."`
	InitialPacket      string          `group:"Connections" help:"Text message that follows the handshake of every session."`
	Cookie             string          `group:"Connections" help:"Name of a cookie that carries the session id; none by default."`
	PerMessageDeflate  bool            `group:"Connections" negatable:"" help:"Compress websocket messages."`
	DeflateThreshold   int             `group:"Connections" default:"1024" help:"Smallest websocket message to compress, in bytes."`
	HTTPCompression    bool            `group:"Connections" name:"http-compression" default:"true" negatable:"" help:"Compress polling answers."`
	HTTPThreshold      int             `group:"Connections" name:"http-compression-threshold" default:"1024" help:"Smallest polling answer to compress, in bytes."`
	ReadMode           engine.ReadMode `group:"Connections" default:"auto" enum:"auto,hot,poller,goroutine" help:"How idle websocket connections wait: auto, hot (no goroutine each, and messages are handled where they are read; Linux), poller (no goroutine each; Linux) or goroutine. auto is poller where that is possible."`
	CORSOrigin         []string        `group:"Pages of other origins" name:"cors-origin" help:"Allowed origins, or *; governs CORS headers and the Origin check of websockets."`
	CORSReflectOrigin  bool            `group:"Pages of other origins" name:"cors-reflect-origin" help:"Allow every origin by announcing the request's own, which works with credentials too; Node's origin: true."`
	CORSMethods        []string        `group:"Pages of other origins" name:"cors-methods" help:"Methods that a preflight allows."`
	CORSAllowedHeaders []string        `group:"Pages of other origins" name:"cors-allowed-headers" help:"Request headers that a preflight allows."`
	CORSExposedHeaders []string        `group:"Pages of other origins" name:"cors-exposed-headers" help:"Response headers that scripts may read."`
	CORSCredentials    bool            `group:"Pages of other origins" name:"cors-credentials" help:"Allow cookies from allowed origins."`
	CORSMaxAge         time.Duration   `group:"Pages of other origins" name:"cors-max-age" help:"How long a browser may keep a preflight answer."`

	TrustedProxies trustedProxies `group:"Proxies" placeholder:"PREFIX,..." help:"Proxies that may say for whom they ask, in X-Forwarded-For, -Proto, -Host or Forwarded: addresses and prefixes such as 127.0.0.1,10.0.0.0/8."`
	ProxyProtocol  bool           `group:"Proxies" help:"Connections of --trusted-proxies begin with a header of the PROXY protocol, version 1 or 2, which tells the client's address: for balancers that work on TCP."`

	ServeClient                 bool          `group:"Connections" default:"true" negatable:"" help:"Serve the client bundles."`
	CleanupEmptyChildNamespaces bool          `group:"Connections" help:"Remove dynamic namespaces when their last socket leaves."`
	AckTimeout                  time.Duration `group:"Connections" default:"10s" help:"How long to wait for an acknowledgement."`

	boundFlags `group:"Bounds"`

	limitFlags `group:"Limits"`

	authFlags `group:"Authentication"`

	nodeFlags `group:"Cluster"`

	adminFlags `group:"Operators"`

	adminUIFlags `group:"Operators"`

	drainFlags `group:"Node"`

	NodeName string `group:"Node" help:"Name of this node for operators, other nodes and the chat, another one on each node and the same after a restart; host name and port by default."`

	LogFormat       string        `group:"Logs" default:"text" enum:"text,json" help:"Log lines as text or json."`
	LogLevel        slog.Level    `group:"Logs" default:"info" help:"Lowest level to log: debug, info, warn or error."`
	ShutdownTimeout time.Duration `group:"Node" default:"10s" help:"How long handlers may go on at the end, when the last connection has been closed."`
}

// Help is what --help says besides the flags.
func (*serveCommand) Help() string {
	return `Every flag is also an environment variable: --ping-interval is SOCKEYE_PING_INTERVAL.

Examples:
  sockeye serve
      The chat on http://localhost:3000.
  sockeye serve --addr :443 --tls-cert chain.pem --tls-key key.pem
      The same with TLS.
  sockeye serve --redis redis://redis.internal --adapter sharded --node-name chat-1
      A node of a cluster.
  sockeye serve --addr 127.0.0.1:3001 --trusted-proxies 127.0.0.1
      Behind nginx on this machine, which tells who asks.
  sockeye serve --auth jwt --jwks-url https://login.example.org/keys --jwt-audience chat
      A chat for those who have a token.
  sockeye serve --app bench
      What sockeye bench runs against.`
}

// app is what one value of --app starts: the handler of every request, how to end it, and what operators look at.
type app struct {
	handler   http.Handler
	engine    *engine.Server
	server    *server.Server   // nil for the engine app
	directory *users.Directory // of the chat, else nil
	guard     *guard           // of the chat, nil if everybody may use it
	cluster   *cluster         // what connects it to other nodes, or nil
	life      life             // how far Run has come with it
	limits    *limits.Limits
	metrics   *nodeMetrics // nil without --admin-addr
	control   *control     // what operators of the cluster may do with it; set by Run
	shutdown  func(context.Context) error
}

// Run serves until ctx ends, then shuts down cleanly.
func (c *serveCommand) Run(ctx context.Context, out *streams) error {
	log := c.logger(out.stderr)
	limitMemory(log)
	defer c.addProcessor()()
	certificate, err := c.certificate()
	if err != nil {
		return usageError{err}
	}
	secured, auth, err := c.adminCredentials(log)
	if err != nil {
		return usageError{err}
	}
	node, err := c.newApp(log)
	if err != nil {
		return usageError{err}
	}
	c.logStart(log)
	notify := notifier(log)
	defer context.AfterFunc(ctx, func() {
		node.life.stop()
		notify(stopping)
	})()
	defer startReloader(log, notify, certificate, secured, node.cluster.certificate())()
	if node.control, err = newControl(node, auth, log); err != nil {
		return errors.Join(err, c.stop(node))
	}
	defer node.control.stop()
	operators, err := startAdmin(c.AdminAddr, c.adminHandlers(node), secured, log)
	if err != nil {
		return errors.Join(err, c.stop(node))
	}
	defer operators.stop()
	listener, err := c.listen(ctx, node, certificate)
	if err != nil {
		return errors.Join(err, c.stop(node))
	}
	if isTerminal(out.stdout) {
		own, _ := net.InterfaceAddrs() // without them the node's own machine is shown
		c.announce(out.stdout, listener.Addr(), own)
	}
	web := httpserve.Server{
		Handler: node.handler, ConnState: node.engine.ConnState, Log: log, About: []any{"app", c.App}, Values: ctx, Drain: c.drainer(node, log), Shutdown: node.shutdown, Timeout: c.ShutdownTimeout,
	}
	node.life.start()
	notify(ready)
	defer startWatchdog(log, notify)()
	return web.Serve(ctx, listener)
}

// listen opens the address, after the other nodes can be reached if that is required.
func (c *serveCommand) listen(ctx context.Context, node *app, certificate *tlsFiles) (net.Listener, error) {
	if node.cluster != nil && c.Required {
		if err := node.cluster.ready(ctx); err != nil {
			return nil, err
		}
	}
	listener, err := httpserve.Listen(ctx, c.Addr)
	if err != nil {
		if errors.As(err, new(*net.AddrError)) || errors.As(err, new(*net.DNSError)) {
			return nil, usageError{err}
		}
		return nil, fmt.Errorf("%w; --addr chooses another address", err)
	}
	if c.ProxyProtocol {
		listener = proxyprotocol.NewListener(listener, server.TrustedProxies(c.TrustedProxies))
	}
	listener = server.NewListener(listener)
	if certificate != nil {
		listener = tls.NewListener(listener, certificate.server())
	}
	return listener, nil
}

// stop ends an app that does not serve yet.
func (c *serveCommand) stop(node *app) error {
	deadline, cancel := context.WithTimeout(context.Background(), c.ShutdownTimeout)
	defer cancel()
	return node.shutdown(deadline)
}

// Validate refuses values that the program would otherwise take for something else. It is called by the flag parser.
func (c *serveCommand) Validate() error {
	switch {
	case c.MaxHTTPBufferSize <= 0:
		return fmt.Errorf("--max-http-buffer-size must be positive, got %d", c.MaxHTTPBufferSize)
	case c.MaxBufferedChunks <= 0:
		return fmt.Errorf("--max-buffered-chunks must be positive, got %d", c.MaxBufferedChunks)
	case c.MaxPollPackets < 0:
		return fmt.Errorf("--max-poll-packets must not be negative, got %d", c.MaxPollPackets)
	case c.DeflateThreshold < 0:
		return fmt.Errorf("--deflate-threshold must not be negative, got %d", c.DeflateThreshold)
	case c.HTTPThreshold < 0:
		return fmt.Errorf("--http-compression-threshold must not be negative, got %d", c.HTTPThreshold)
	case c.ProxyProtocol && len(c.TrustedProxies) == 0:
		return errors.New("--proxy-protocol needs --trusted-proxies, whose connections begin with a header")
	case c.ShutdownTimeout <= 0:
		return fmt.Errorf("--shutdown-timeout must be positive, got %v", c.ShutdownTimeout)
	case !c.hasCORS() && (c.CORSCredentials || c.CORSMaxAge != 0 ||
		len(c.CORSMethods)+len(c.CORSAllowedHeaders)+len(c.CORSExposedHeaders) > 0):
		return errors.New("the other --cors flags need --cors-origin or --cors-reflect-origin")
	case c.App == "engine" && c.kind() != "":
		return fmt.Errorf("%s is for Socket.IO; the engine app has no cluster", c.kind().chosenBy())
	}
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return fmt.Errorf("--addr: %w", err)
	}
	if err := c.validateTLS(); err != nil {
		return err
	}
	if err := c.validateAdmin(c.kind()); err != nil {
		return err
	}
	if err := c.validateAdminUI(c.App); err != nil {
		return err
	}
	if err := c.drainFlags.validateDrain(); err != nil {
		return err
	}
	if err := c.limitFlags.validateLimits(); err != nil {
		return err
	}
	if err := c.validateAuth(c.App); err != nil {
		return err
	}
	return c.nodeFlags.validate()
}

func (c *serveCommand) logger(w io.Writer) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func (c *serveCommand) newApp(log *slog.Logger) (*app, error) {
	switch c.App {
	case "engine":
		return c.engineApp(log)
	case "conformance":
		return c.socketApp(log, "none", without(registerConformance))
	case "bench":
		return c.benchApp(log)
	default:
		return c.chatApp(log)
	}
}

// engineOptions turns the flags into the engine's options.
func (c *serveCommand) engineOptions(log *slog.Logger, path string) engine.Options {
	if c.Path != "" {
		path = c.Path
	}
	opts := engine.Options{
		Path:                   path,
		DisableTrailingSlash:   !c.AddTrailingSlash,
		PingInterval:           c.PingInterval,
		PingTimeout:            c.PingTimeout,
		UpgradeTimeout:         c.UpgradeTimeout,
		ReadMode:               c.ReadMode,
		MaxHTTPBufferSize:      c.MaxHTTPBufferSize,
		HTTPRequestBodyTimeout: c.BodyTimeout,
		MaxBufferedChunks:      c.MaxBufferedChunks,
		MaxPollPackets:         c.MaxPollPackets,
		Transports:             c.Transports,
		DisableUpgrades:        !c.AllowUpgrades,
		TrustedProxies:         engine.TrustedProxies(c.TrustedProxies),
		HTTPCompression:        &engine.HTTPCompression{Disabled: !c.HTTPCompression, Threshold: c.HTTPThreshold},
		Logger:                 log,
	}
	if c.InitialPacket != "" {
		opts.InitialPacket = engine.NewMessage([]byte(c.InitialPacket))
	}
	if c.Cookie != "" {
		opts.Cookie = &engine.Cookie{Name: c.Cookie}
	}
	if c.PerMessageDeflate {
		opts.PerMessageDeflate = &engine.PerMessageDeflate{Threshold: c.DeflateThreshold}
	}
	if c.hasCORS() {
		opts.CORS = c.cors()
	}
	c.boundFlags.engine(&opts)
	return opts
}

func (c *serveCommand) hasCORS() bool { return len(c.CORSOrigin) > 0 || c.CORSReflectOrigin }

func (c *serveCommand) cors() *engine.CORS {
	return &engine.CORS{
		ReflectOrigin:  c.CORSReflectOrigin,
		Origins:        trimmed(c.CORSOrigin),
		Methods:        trimmed(c.CORSMethods),
		AllowedHeaders: trimmed(c.CORSAllowedHeaders),
		ExposedHeaders: trimmed(c.CORSExposedHeaders),
		Credentials:    c.CORSCredentials,
		MaxAge:         c.CORSMaxAge,
	}
}

func trimmed(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strings.TrimSpace(v)
	}
	return out
}
