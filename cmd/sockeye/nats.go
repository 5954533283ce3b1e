package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/adapter/natsadapter"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/admin"
)

// natsAdapter is the value of --adapter for NATS.
const natsAdapter = "nats"

// natsFlags say where NATS is, and who this program is there.
type natsFlags struct {
	NATS          []string `name:"nats" secret:"url" placeholder:"URL" help:"NATS that connects the nodes: nats:// or tls://, with user:password@ if need be; one server of a cluster is enough, several let a node start while one is away."`
	NATSToken     string   `name:"nats-token" secret:"whole" placeholder:"TEXT" help:"Token for NATS, better given as SOCKEYE_NATS_TOKEN."`
	NATSNKeyFile  string   `name:"nats-nkey-file" type:"existingfile" help:"File with the seed of an NKey for NATS."`
	NATSCredsFile string   `name:"nats-creds-file" type:"existingfile" help:"File with credentials for NATS, as nsc makes it."`
	NATSTLSCA     string   `name:"nats-tls-ca" type:"existingfile" help:"PEM file of the authority that has signed the certificate of NATS; by default those of the system are trusted."`
	NATSTLSCert   string   `name:"nats-tls-cert" type:"existingfile" help:"PEM file of the certificate that NATS asks for."`
	NATSTLSKey    string   `name:"nats-tls-key" type:"existingfile" help:"PEM file of its private key."`
}

// credentials lists the flags that need --nats: of a server in the node there is nothing to say.
func (f *natsFlags) credentials() []flag {
	return []flag{
		{"--nats-token", f.NATSToken != ""},
		{"--nats-nkey-file", f.NATSNKeyFile != ""},
		{"--nats-creds-file", f.NATSCredsFile != ""},
		{"--nats-tls-ca", f.NATSTLSCA != ""},
		{"--nats-tls-cert", f.NATSTLSCert != ""},
		{"--nats-tls-key", f.NATSTLSKey != ""},
	}
}

func (f *natsFlags) checkNATS() error {
	for _, flag := range f.credentials() {
		if flag.given && len(f.NATS) == 0 {
			return fmt.Errorf("%s needs --nats", flag.name)
		}
	}
	users := 0
	for _, flag := range f.credentials()[:3] {
		if flag.given {
			users++
		}
	}
	switch {
	case users > 1:
		return errors.New("only one of --nats-token, --nats-nkey-file and --nats-creds-file is possible")
	case (f.NATSTLSCert == "") != (f.NATSTLSKey == ""):
		return errors.New("--nats-tls-cert and --nats-tls-key need each other")
	}
	for _, text := range f.NATS {
		u, err := url.Parse(strings.TrimSpace(text))
		switch wrong := new(url.Error); {
		case errors.As(err, &wrong): // which has the text in it
			return fmt.Errorf("--nats: %w", wrong.Err)
		case u.Scheme != "nats" && u.Scheme != "tls" || u.Host == "":
			return errors.New("--nats takes URLs that begin with nats:// or tls://")
		case u.User != nil && u.User.Username() != "" && !hasPassword(u):
			return errors.New("--nats: a user needs a password, and a token belongs to --nats-token")
		}
	}
	return nil
}

func hasPassword(u *url.URL) bool {
	_, ok := u.User.Password()
	return ok
}

// natsNodeFlags say how a node uses NATS, and have a server of it run inside the node.
type natsNodeFlags struct {
	NATSEmbed           string        `name:"nats-embed" placeholder:"HOST:PORT" help:"Run a NATS server inside this node, which takes the routes of the other nodes here: an address that they reach, and clients never. The cluster needs no other broker then."`
	NATSRoutes          []string      `name:"nats-routes" secret:"url" placeholder:"URL" help:"Where the nodes have --nats-embed, such as nats://a:6222, the same list on all of them: a node leaves itself out, one other node that runs is enough to find all, and nobody waits for any."`
	NATSRouteSecret     string        `name:"nats-route-secret" secret:"whole" placeholder:"TEXT" help:"Secret of at least 16 bytes without which no route is taken, the same on all nodes; better given as SOCKEYE_NATS_ROUTE_SECRET or in a file. By default it follows from --cluster-secret. Without one, and without --peer-tls-cert, --nats-embed must be a loopback address."`
	NATSRouteSecretFile string        `name:"nats-route-secret-file" type:"existingfile" help:"File with that secret."`
	NATSReplicas        int           `name:"nats-replicas" help:"With --connection-state-recovery and --nats: on how many servers of NATS is what clients get that come back, 1 to 5; 3 by default if there are several."`
	NATSStoreDir        string        `name:"nats-store-dir" type:"path" help:"With --connection-state-recovery and --nats-embed: directory for what the NATS server in this node has to remember of the others, some kilobytes; by default one for temporary files, which goes with the node."`
	NATSAnswerTimeout   time.Duration `name:"nats-answer-timeout" help:"How long NATS may owe an answer before it counts as down and the connection as dead; 3s by default."`
}

func (f *natsNodeFlags) flags() []flag {
	return []flag{
		{"--nats-embed", f.NATSEmbed != ""},
		{"--nats-routes", len(f.NATSRoutes) > 0},
		{"--nats-route-secret", f.NATSRouteSecret != ""},
		{"--nats-route-secret-file", f.NATSRouteSecretFile != ""},
		{"--nats-store-dir", f.NATSStoreDir != ""},
		{"--nats-replicas", f.NATSReplicas != 0},
		{"--nats-answer-timeout", f.NATSAnswerTimeout != 0},
	}
}

// checkNATSNode also knows whether there is NATS elsewhere.
func (f *natsNodeFlags) checkNATSNode(elsewhere bool) error {
	if f.NATSAnswerTimeout < 0 {
		return fmt.Errorf("--nats-answer-timeout must be positive, got %v", f.NATSAnswerTimeout)
	}
	if f.NATSEmbed == "" {
		for _, flag := range f.flags()[1:5] {
			if flag.given {
				return fmt.Errorf("%s needs --nats-embed", flag.name)
			}
		}
		return nil
	}
	switch {
	case f.NATSReplicas != 0:
		return errors.New("--nats-replicas needs --nats: with --nats-embed there are 3 if there are as many nodes")
	case elsewhere:
		return errors.New("--nats-embed and --nats exclude each other: NATS is inside the nodes or elsewhere")
	case f.NATSRouteSecret != "" && f.NATSRouteSecretFile != "":
		return errors.New("only one of --nats-route-secret and --nats-route-secret-file is possible")
	}
	_, _, err := hostPort(f.NATSEmbed)
	if err != nil {
		return fmt.Errorf("--nats-embed: %w", err)
	}
	return nil
}

// natsServers are the addresses of the servers.
func (f *natsFlags) natsServers() []string { return trimmed(f.NATS) }

// natsConnection is how connections to these servers are made.
func (f *natsFlags) natsConnection() ([]nats.Option, error) {
	var opts []nats.Option
	switch {
	case f.NATSToken != "":
		opts = append(opts, nats.Token(f.NATSToken))
	case f.NATSNKeyFile != "":
		key, err := nats.NkeyOptionFromSeed(f.NATSNKeyFile)
		if err != nil {
			return nil, fmt.Errorf("--nats-nkey-file: %w", err)
		}
		opts = append(opts, key)
	case f.NATSCredsFile != "":
		opts = append(opts, nats.UserCredentials(f.NATSCredsFile))
	}
	if f.NATSTLSCA != "" {
		opts = append(opts, nats.RootCAs(f.NATSTLSCA))
	}
	if f.NATSTLSCert != "" {
		opts = append(opts, nats.ClientCert(f.NATSTLSCert, f.NATSTLSKey))
	}
	var trial nats.Options
	for _, opt := range opts {
		if err := opt(&trial); err != nil { // some read their files now
			return nil, fmt.Errorf("--nats: %w", err)
		}
	}
	return opts, nil
}

// natsPlace describes where the client connects to, without user and password.
func (f *natsFlags) natsPlace() string {
	var places []string
	for _, text := range f.NATS {
		if u, err := url.Parse(strings.TrimSpace(text)); err == nil {
			places = append(places, u.Scheme+"://"+u.Host)
		}
	}
	return strings.Join(places, ",")
}

// natsBroker is NATS between the nodes, elsewhere or in them.
type natsBroker struct {
	// Static after construction.
	nodes  *natsadapter.Builder
	store  *natsadapter.UserStore
	inside *embedded // nil for NATS elsewhere
	others bool      // the flags name other nodes than this one
}

// natsOptions are those of the adapter but for the connection.
func (f *nodeFlags) natsOptions(log *slog.Logger) *natsadapter.Options {
	return &natsadapter.Options{
		Prefix: f.Key, NodeOverAfter: f.NodeOverAfter, QueueLimit: f.QueueLimit, QueueAge: f.QueueAge, AnswerTimeout: f.NATSAnswerTimeout,
		RecoveryReplicas: f.NATSReplicas,
		Logger:           log,
	}
}

// openNATS makes the adapter, and starts the server that it talks to if that is in this process.
func (f *nodeFlags) openNATS(node brokerUser, log *slog.Logger) (broker, error) {
	if f.NATSEmbed != "" {
		return f.openEmbedded(node, log)
	}
	connection, err := f.natsConnection()
	if err != nil {
		return nil, err
	}
	opts := f.natsOptions(log.With("nats", f.natsPlace()))
	opts.Servers, opts.Connect = f.natsServers(), connection
	return newNATSBroker(opts)
}

func (f *nodeFlags) openEmbedded(node brokerUser, log *slog.Logger) (broker, error) {
	o, err := f.embedOptions(node, log)
	if err != nil {
		return nil, err
	}
	opts := f.natsOptions(log.With("nats", "embedded"))
	opts.RecoveryInMemory, opts.RecoveryMaxBytes, opts.RecoveryReplicas = true, natsKeep, o.replicas()
	if node.recovery && !o.hasOthers() {
		log.Warn("recovery is off, clients that come back start anew: with --nats-embed it takes --nats-routes to other nodes")
	}
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	inside, err := o.start()
	if err != nil {
		return nil, err
	}
	opts.Connect = []nats.Option{nats.InProcessServer(inside.srv), nats.Token(inside.token)}
	b, err := newNATSBroker(opts)
	if err != nil {
		inside.close()
		return nil, err
	}
	b.inside, b.others = inside, o.hasOthers()
	return b, nil
}

func newNATSBroker(opts *natsadapter.Options) (*natsBroker, error) {
	if err := opts.Validate(); err != nil {
		return nil, err
	}
	store, err := natsadapter.NewUserStore(&natsadapter.UserStoreOptions{
		Servers: opts.Servers, Connect: opts.Connect, Prefix: opts.Prefix, AnswerTimeout: opts.AnswerTimeout, Logger: opts.Logger,
	})
	if err != nil {
		return nil, err
	}
	return &natsBroker{nodes: natsadapter.New(opts), store: store}, nil
}

// checkNATSBroker says what openNATS would refuse, and neither listens nor connects.
func (f *nodeFlags) checkNATSBroker(node brokerUser, log *slog.Logger) error {
	opts := f.natsOptions(log)
	if f.NATSEmbed != "" {
		if _, err := f.embedOptions(node, log); err != nil {
			return err
		}
		return opts.Validate()
	}
	connection, err := f.natsConnection()
	if err != nil {
		return err
	}
	opts.Servers, opts.Connect = f.natsServers(), connection
	return opts.Validate()
}

// natsAddress is a host:port that this machine reaches on the way to the other nodes; "" if none is known.
func (f *nodeFlags) natsAddress() string {
	if host, _, err := net.SplitHostPort(f.NATSEmbed); err == nil && host != "" && !net.ParseIP(host).IsUnspecified() {
		return f.NATSEmbed
	}
	for _, text := range append(f.natsServers(), f.NATSRoutes...) {
		if u, err := url.Parse(strings.TrimSpace(text)); err == nil && u.Host != "" {
			return net.JoinHostPort(u.Hostname(), portOr(u, "4222"))
		}
	}
	return ""
}

func (b *natsBroker) builder() server.AdapterBuilder { return b.nodes }

func (b *natsBroker) ready(ctx context.Context) error { return b.nodes.Ready(ctx) }

func (b *natsBroker) health() brokerHealth {
	s := b.nodes.Stats()
	h := brokerHealth{s.State, s.Since, s.Reason}
	switch { // none is a reason to send clients elsewhere
	case h.reason != nil || b.inside == nil:
	case b.others && b.inside.alone():
		h.reason = errors.New("no other node is connected")
	default:
		h.reason = b.inside.incomplete()
	}
	return h
}

func (b *natsBroker) users() adapter.UserStore { return b.store }

func (b *natsBroker) revocations() adapter.RevocationStore { return b.store.Revocations() }

func (b *natsBroker) adminStore() admin.Store { return b.store.AdminSessions(nil) }

func (b *natsBroker) close() error {
	err := b.store.Close()
	if b.inside != nil {
		b.inside.close()
	}
	return err
}

// accessNATS connects a command to a cluster on NATS.
func (f *clusterFlags) accessNATS(ctx context.Context, log *slog.Logger) (*access, error) {
	opts, err := f.natsConnection()
	if err != nil {
		return nil, usageError{err}
	}
	if deadline, ok := ctx.Deadline(); ok { // of the attempts with all servers together
		opts = append(opts, nats.Timeout(time.Until(deadline)/time.Duration(len(f.NATS))))
	}
	ignored := func(*nats.Conn, *nats.Subscription, error) {} // the emitter returns what it was told
	memory := &natsadapter.UserStoreOptions{Servers: f.natsServers(), Connect: slices.Clone(opts), Prefix: f.Key, Logger: log}
	opts = append(opts, nats.Name("sockeye"), nats.NoReconnect(), nats.ErrorHandler(ignored))
	conn, err := nats.Connect(strings.Join(f.natsServers(), ","), opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to nats: %w", err)
	}
	closed := func() error {
		conn.Close()
		return nil
	}
	revoke := func(ctx context.Context, r adapter.Revocation, keep time.Duration) error {
		store, err := natsadapter.NewRevocationStore(memory)
		if err != nil {
			return err
		}
		return errors.Join(store.Revoke(ctx, r, keep), store.Close())
	}
	return &access{natsadapter.NewEmitter(conn, &natsadapter.EmitterOptions{Prefix: f.Key}), revoke, closed}, nil
}
