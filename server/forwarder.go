package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
)

// Forwarder brings requests to the nodes that have their sessions, so that a load balancer need not be sticky. Package forward
// has one. It belongs to one server.
type Forwarder interface {
	// Announce is called once, by New. It returns where other nodes reach the forwarder, and the key with which they sign requests, ""
	// if they know it otherwise.
	Announce() (address string, key adapter.Secret)
	// Start is called once, when the server is complete.
	Start(srv *Server)
	// Elsewhere and HoldYoung are options of the engine, see EngineOptions.
	Elsewhere(w http.ResponseWriter, r *http.Request, sid string) bool
	HoldYoung(r *http.Request) time.Duration
	// Relays counts the websockets of sessions on other nodes that come through this one. EndRelay ends one of them in an orderly way,
	// and reports whether there was one that did not end already; CutRelays ends all of them at once. While the server drains no new one
	// may begin.
	Relays() int
	EndRelay() bool
	CutRelays()
	// Shutdown ends what the forwarder does for other nodes, once the server's own sessions have been closed.
	Shutdown(ctx context.Context) error
}

var errTwoAddresses = errors.New("NodeAddress and Forwarder exclude each other: the forwarder tells its address")

// useForwarder has the engine ask the forwarder.
func (o *Options) useForwarder() error {
	if o.Forwarder == nil {
		return nil
	}
	if o.NodeAddress != "" {
		return errTwoAddresses
	}
	o.Engine.Elsewhere, o.Engine.HoldYoung = o.Forwarder.Elsewhere, o.Forwarder.HoldYoung
	return nil
}
