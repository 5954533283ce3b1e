package main

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bounds of a NATS server inside a node.
const (
	// natsMaxPayload is the longest message between nodes, in bytes.
	natsMaxPayload = 8 << 20
	// natsMaxPending is how much may wait for this node itself, in bytes: more cuts it off for a moment. From three quarters of it on,
	// also of what waits for one other node, who publishes is slowed down.
	natsMaxPending = 64 << 20
	// natsWriteDeadline is how long this node may take nothing of what waits for it, natsRouteDeadline how long another node may take
	// for what waits for that: then its route is cut, and what waits is lost to it. It is what bounds that memory, since routes have no
	// bound in bytes. It is short because all nodes are slowed down until then.
	natsWriteDeadline = 10 * time.Second
	natsRouteDeadline = 3 * time.Second
	// natsPing is how often a silent route is asked; after two questions without an answer it is cut.
	natsPing = 10 * time.Second
	// natsStart is how long a server may take to open its ports, natsLook the time between two looks whether it cannot.
	natsStart = 10 * time.Second
	natsLook  = 100 * time.Millisecond
	// natsSettle is how long a node that ends waits at most until the other ones have what JetStream keeps.
	natsSettle = 10 * time.Second

	// natsKeep bounds what clients get that come back, and their sessions, each, in bytes, natsStore what JetStream writes to files.
	natsKeep  = 64 << 20
	natsStore = 64 << 20
	// natsReplicas is on how many nodes that is, natsStreams in how many streams.
	natsReplicas = 3
	natsStreams  = 2

	natsRouteUser      = "sockeye"
	minNATSRouteSecret = 16 // bytes
)

// embedOptions are what the flags of a node say of the server in it.
type embedOptions struct {
	name   string // of the cluster, the same on all nodes
	addr   string
	routes []string
	secret string    // "" for none
	tls    *tlsFiles // of both ends of a route, nil without TLS
	log    *slog.Logger

	jetStream bool
	node      string // the same after a restart; of use with JetStream
	store     string // directory; "" for one that goes with the server
}

// embedOptions reads the secret and checks what can be checked without listening.
func (f *nodeFlags) embedOptions(node brokerUser, log *slog.Logger) (*embedOptions, error) {
	secret, err := f.routeSecret()
	if err != nil {
		return nil, err
	}
	if secret == "" && node.files == nil {
		if checkLoopback(f.NATSEmbed) != nil {
			return nil, fmt.Errorf("--nats-embed %s is not a loopback address: routes from elsewhere need --nats-route-secret, --cluster-secret or --peer-tls-cert, "+
				"else whoever reaches it is part of the cluster", f.NATSEmbed)
		}
	}
	o := &embedOptions{
		name: cmp.Or(f.Key, "sockeye"), addr: f.NATSEmbed, routes: f.NATSRoutes, secret: secret, tls: node.files, log: log,
		node: node.name, store: f.NATSStoreDir,
	}
	o.jetStream = node.recovery && o.hasOthers()
	_, err = o.server()
	return o, err
}

// routeSecret is what the servers of the nodes tell each other. It goes over the network, so what stands for itself elsewhere is not sent.
func (f *nodeFlags) routeSecret() (string, error) {
	secret := f.NATSRouteSecret
	if f.NATSRouteSecretFile != "" {
		text, err := readBounded(f.NATSRouteSecretFile)
		if err != nil {
			return "", fmt.Errorf("--nats-route-secret-file: %w", err)
		}
		if secret = strings.TrimSpace(string(text)); secret == "" {
			return "", fmt.Errorf("--nats-route-secret-file: %s is empty", f.NATSRouteSecretFile)
		}
	}
	switch {
	case secret == "" && f.ClusterSecret != "":
		mac := hmac.New(sha256.New, []byte(f.ClusterSecret))
		mac.Write([]byte("routes of nats"))
		return hex.EncodeToString(mac.Sum(nil)), nil
	case secret != "" && len(secret) < minNATSRouteSecret:
		return "", fmt.Errorf("--nats-route-secret has %d bytes, at least %d are needed", len(secret), minNATSRouteSecret)
	}
	return secret, nil
}

// hasOthers reports whether the routes lead to more than this node.
func (o *embedOptions) hasOthers() bool {
	for _, text := range o.routes {
		if u, err := url.Parse(strings.TrimSpace(text)); err == nil && u.Host != o.addr {
			return true
		}
	}
	return false
}

// replicas is on how many nodes JetStream keeps everything.
func (o *embedOptions) replicas() int { return max(1, min(len(o.routes), natsReplicas)) }

// jetStreamIn has the server keep what clients get that come back, in its memory. What JetStream has to remember of the other servers it
// writes to files. It finds a majority among as many servers as there are routes, and knows a server by its name: a node that comes
// with another one after a restart is one more.
func (o *embedOptions) jetStreamIn(opts *natsserver.Options, dir string) {
	sum := sha256.Sum256([]byte(o.node))
	opts.ServerName = hex.EncodeToString(sum[:12]) // names of nodes may have spaces
	opts.NoSystemAccount = false
	opts.JetStream, opts.StoreDir = true, dir
	opts.JetStreamMaxMemory, opts.JetStreamMaxStore = 2*natsKeep, natsStore
}

// server turns the options into those of the server.
func (o *embedOptions) server() (*natsserver.Options, error) {
	host, port, err := hostPort(o.addr)
	if err != nil {
		return nil, fmt.Errorf("--nats-embed: %w", err)
	}
	routes, err := o.urls()
	if err != nil {
		return nil, fmt.Errorf("--nats-routes: %w", err)
	}
	opts := &natsserver.Options{
		// The library opens no routes without a port for clients: it is a free one of this machine, for whoever knows the token, so for
		// nobody.
		Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, Authorization: rand.Text(),
		NoSigs: true, NoSystemAccount: true, DisableShortFirstPing: true, MaxClosedClients: 16, MaxConn: 16,
		MaxPayload: natsMaxPayload, MaxPending: natsMaxPending, WriteDeadline: natsWriteDeadline,
		// An attempt that fails is told once; then it is an hour until the next word.
		ConnectErrorReports: 3600, ReconnectErrorReports: 3600,
		Routes: routes,
		Cluster: natsserver.ClusterOpts{
			Name: o.name, Host: host, Port: port,
			NoAdvertise: true, // of the port for clients
			PoolSize:    1,    // one connection between two servers keeps the order of messages
			Compression: natsserver.CompressionOpts{Mode: natsserver.CompressionOff},
			AuthTimeout: 5, PingInterval: natsPing, MaxPingsOut: 2, ConnectBackoff: false,
			WriteDeadline: natsRouteDeadline, WriteTimeout: natsserver.WriteTimeoutPolicyClose,
		},
	}
	if o.secret != "" {
		opts.Cluster.Username, opts.Cluster.Password = natsRouteUser, o.secret
	}
	if o.tls != nil {
		opts.Cluster.TLSConfig, opts.Cluster.TLSTimeout = o.tls.both(), 5
	}
	return opts, nil
}

// urls are the addresses of the routes with the secret in them.
func (o *embedOptions) urls() ([]*url.URL, error) {
	var list []*url.URL
	for _, text := range o.routes {
		u, err := url.Parse(strings.TrimSpace(text))
		if wrong := new(url.Error); errors.As(err, &wrong) { // which has the text in it
			return nil, wrong.Err
		}
		switch {
		case u.Scheme != "nats" && u.Scheme != "nats-route" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
			return nil, fmt.Errorf("want addresses such as nats://a:6222, got %s", u.Redacted())
		case u.User != nil:
			return nil, errors.New("the addresses have no users: --nats-route-secret is for all")
		case u.Port() == "":
			return nil, fmt.Errorf("%s has no port", u.Redacted())
		}
		if o.secret != "" {
			u.User = url.UserPassword(natsRouteUser, o.secret)
		}
		list = append(list, u)
	}
	return list, nil
}

func hostPort(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, err
	}
	if port, err = strconv.Atoi(text); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%q is no port", text)
	}
	if port == 0 {
		port = natsserver.RANDOM_PORT
	}
	return cmp.Or(host, "0.0.0.0"), port, nil
}

// embedded is a NATS server in this process, connected with those of the other nodes.
type embedded struct {
	// Static after construction.
	srv       *natsserver.Server
	token     string // of its clients
	temporary string // directory that goes with it; "" if there is none
	has       int    // how many streams it has when it has everything; 0 if other nodes may have them
}

// start opens the port for routes, and does not wait for the other nodes.
func (o *embedOptions) start() (*embedded, error) {
	opts, err := o.server()
	if err != nil {
		return nil, err
	}
	e := new(embedded)
	if o.jetStream {
		dir := o.store
		if dir == "" {
			if dir, err = os.MkdirTemp("", "sockeye-nats-"); err != nil {
				return nil, fmt.Errorf("make a directory for the nats server, see --nats-store-dir: %w", err)
			}
			e.temporary = dir
		}
		o.jetStreamIn(opts, dir)
		if len(o.routes) <= natsReplicas {
			e.has = natsStreams
		}
	}
	srv, err := natsserver.NewServer(opts)
	if err != nil {
		e.forget()
		return nil, fmt.Errorf("nats server: %w", err)
	}
	e.srv, e.token = srv, opts.Authorization
	log := &natsLog{log: o.log, fatal: make(chan error, 1)}
	srv.SetLoggerV2(log, o.log.Enabled(context.Background(), slog.LevelDebug), false, false)
	srv.Start()
	if err := log.awaitReady(srv); err != nil {
		e.close()
		return nil, fmt.Errorf("--nats-embed: %w", err)
	}
	o.log.Info("nats server takes routes", "addr", srv.ClusterAddr().String(), "secret", o.secret != "", "tls", o.tls != nil)
	return e, nil
}

// awaitReady waits until a server takes connections, and no longer than until it says that it cannot.
func (l *natsLog) awaitReady(srv *natsserver.Server) error {
	deadline := time.Now().Add(natsStart)
	for {
		select {
		case err := <-l.fatal:
			return err
		default:
		}
		switch {
		case srv.ReadyForConnections(natsLook):
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("not ready after %v", natsStart)
		}
	}
}

// alone reports whether no other node is connected.
func (e *embedded) alone() bool { return e.srv.NumRoutes() == 0 }

// incomplete returns why this server does not have all of what JetStream keeps; nil if it has.
func (e *embedded) incomplete() error {
	if !e.srv.JetStreamEnabled() {
		return nil
	}
	// A server that does not know yet what it is to have is healthy.
	if info, err := e.srv.Jsz(nil); err == nil && info.Streams < e.has {
		return fmt.Errorf("not all is here that clients get who come back: %d of %d streams", info.Streams, e.has)
	}
	if health := e.srv.Healthz(nil); health.Error != "" {
		return fmt.Errorf("not all is here that clients get who come back: %s", health.Error)
	}
	return nil
}

// close ends the server when what its client has published is on its way.
func (e *embedded) close() {
	e.settle()
	e.srv.Shutdown()
	e.srv.WaitForShutdown()
	e.forget()
}

// settle waits until the other nodes have of JetStream's streams what this one has: one that was restarted a moment ago has nothing of
// them, and if all are restarted one after the other somebody has to have everything at any time.
func (e *embedded) settle() {
	if !e.srv.JetStreamEnabled() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), natsSettle)
	defer cancel()
	conn, err := nats.Connect("", nats.InProcessServer(e.srv), nats.Token(e.token), nats.NoReconnect())
	if err != nil {
		return
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return
	}
	look := time.NewTicker(natsLook)
	defer look.Stop()
	for !e.alone() && !settled(ctx, js) {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// settled reports whether all replicas that can be reached are complete.
func settled(ctx context.Context, js jetstream.JetStream) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	names := js.StreamNames(ctx)
	for name := range names.Name() {
		stream, err := js.Stream(ctx, name)
		if err != nil || stream.CachedInfo().Cluster == nil {
			return false
		}
		for _, r := range stream.CachedInfo().Cluster.Replicas {
			if !r.Current && !r.Offline {
				return false
			}
		}
	}
	return names.Err() == nil
}

// forget removes what was written for this server alone.
func (e *embedded) forget() {
	if e.temporary != "" {
		_ = os.RemoveAll(e.temporary) // what stays is some kilobytes among temporary files
	}
}

// both is for either end of a connection: each handshake takes what the files said last, but for the authorities of listeners
// elsewhere, which are those of the start.
func (t *tlsFiles) both() *tls.Config {
	config := t.server()
	config.RootCAs, config.ClientCAs, config.ClientAuth = t.current().RootCAs, t.current().ClientCAs, t.base.ClientAuth
	config.Certificates = slices.Clone(t.current().Certificates)
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &t.current().Certificates[0], nil
	}
	return config
}
