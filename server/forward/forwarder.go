package forward

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"sync"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/internal/seldom"
	"github.com/sockeye-io/sockeye/server"
	"github.com/sockeye-io/sockeye/server/engine"
)

// Forwarder is a node's part of bringing requests to where their sessions are. It is a server.Forwarder.
type Forwarder struct {
	// Static after construction.
	opts     Options
	listener net.Listener
	address  string // what other nodes are told
	web      *http.Server
	proxy    *httputil.ReverseProxy
	client   *http.Transport
	peers    *peers
	windows  windows
	relays   *relays
	pointers *pointers
	arrivals arrivals
	polls    polls
	count    counters
	refused  seldom.Keyed
	unknown  seldom.Keyed

	// Static after Announce and Start.
	srv     *server.Server
	self    adapter.NodeID
	key     []byte // with which others sign
	engine  *engine.Server
	unwatch func()

	tasks sync.WaitGroup // what Shutdown waits for: the listener and relays that are being made
	once  sync.Once
}

var _ server.Forwarder = (*Forwarder)(nil)

// Listen opens the private listener. The Forwarder works once it is an option of a server, which shuts it down; one that does not
// get there must be closed. opts may be nil.
func Listen(opts *Options) (*Forwarder, error) {
	o, err := opts.settings()
	if err != nil {
		return nil, fmt.Errorf("private listener: %w", err)
	}
	listener, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("private listener: %w", err)
	}
	address, err := o.advertised(listener.Addr())
	if err != nil {
		_ = listener.Close()
		return nil, fmt.Errorf("private listener %s: %w", listener.Addr(), err)
	}
	f := &Forwarder{
		opts: o, listener: listener, address: address, peers: newPeers(o.ClusterSecret),
	}
	f.count.init()
	f.pointers = newPointers()
	f.relays = newRelays(&f.count)
	f.client = f.newTransport()
	f.proxy = f.newProxy()
	f.web = f.newWeb()
	return f, nil
}

// Address returns where other nodes reach the private listener, host:port.
func (f *Forwarder) Address() string { return f.address }

// Announce implements server.Forwarder.
func (f *Forwarder) Announce() (address string, key adapter.Secret) {
	if f.opts.ClusterSecret != "" {
		return f.address, ""
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // crypto/rand.Read does not fail
	key = adapter.Secret(hex.EncodeToString(random[:]))
	f.key = []byte(key)
	return f.address, key
}

// Start implements server.Forwarder.
func (f *Forwarder) Start(srv *server.Server) {
	f.srv, f.engine, f.self = srv, srv.Engine(), srv.Node().ID
	if f.opts.ClusterSecret != "" {
		f.key = deriveKey(f.opts.ClusterSecret, f.self)
	}
	f.unwatch = srv.OnNodeChange(f.nodeChanged)
	listener := f.listener
	if f.opts.TLS != nil {
		listener = tls.NewListener(listener, f.opts.TLS)
	}
	f.tasks.Go(func() {
		if err := f.web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			f.opts.Logger.Error("the private listener has failed: other nodes cannot pass requests on to this one", "address", f.address, "error", err)
		}
	})
	secret := "keys that the nodes tell each other over the broker"
	if f.opts.ClusterSecret != "" {
		secret = "the cluster secret"
	}
	f.opts.Logger.Info("requests of sessions on other nodes are forwarded", "listening", f.listener.Addr().String(), "advertised", f.address,
		"signedWith", secret, "tls", f.opts.TLS != nil, "handoverWindow", f.opts.HandoverWindow)
}

// nodeChanged is told what happens to other nodes.
func (f *Forwarder) nodeChanged(change adapter.NodeChange) {
	if f.peers.note(&change) {
		f.windows.rest(change.Node.ID)
	}
}

// Relays implements server.Forwarder. It includes those that are about to begin.
func (f *Forwarder) Relays() int {
	starting := f.count.starting.Load() // first: one that has begun meanwhile is counted as such
	return int(starting + f.count.relays.Load())
}

// EndRelay implements server.Forwarder: the session ends on its node, as if its client had gone, and then the websocket.
func (f *Forwarder) EndRelay() bool { return f.relays.endOne() }

// CutRelays implements server.Forwarder.
func (f *Forwarder) CutRelays() { f.relays.cut() }

// shutdownTime is how long other nodes may take for the answers that they are getting.
const shutdownTime = time.Second

// Shutdown implements server.Forwarder: it closes the websockets that are relayed, and the private listener.
func (f *Forwarder) Shutdown(ctx context.Context) error {
	var err error
	f.once.Do(func() { err = f.shutdown(ctx) })
	return err
}

// Close is Shutdown without waiting.
func (f *Forwarder) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := f.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (f *Forwarder) shutdown(ctx context.Context) error {
	if f.unwatch != nil {
		f.unwatch()
	}
	f.relays.close()
	ctx, cancel := context.WithTimeout(ctx, shutdownTime)
	defer cancel()
	f.endPolls(ctx)
	if err := f.web.Shutdown(ctx); err != nil {
		_ = f.web.Close() // what is still there waits for clients of other nodes
	}
	_ = f.listener.Close() // if it has never been served
	f.client.CloseIdleConnections()
	f.pointers.clear()
	f.tasks.Wait()
	return nil
}
