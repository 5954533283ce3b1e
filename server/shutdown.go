package server

import (
	"context"
	"errors"
	"time"
)

// Shutdown ends the server: new requests are refused, every socket is closed with the reason "server shutting down",
// connections are closed as Session.SendAway of package engine does, when what is queued has been sent, for which there is a second,
// so that clients of all languages reconnect elsewhere by themselves; and handlers get
// until ctx ends to finish, disconnect hooks included. Then the adapters close. It returns the error of ctx if handlers
// are still running. Shutdown may be called more than once. Called by a callback it waits for that callback too, until ctx
// ends; Close does not.
func (srv *Server) Shutdown(ctx context.Context) error {
	srv.closing.Store(true)
	srv.cancel()
	srv.awaitDelivery(ctx)
	for _, n := range srv.all() {
		for _, s := range n.Sockets() {
			s.close(ReasonShutdown)
		}
	}
	engineErr := srv.engine.Close()
	if srv.opts.Forwarder != nil {
		engineErr = errors.Join(engineErr, srv.opts.Forwarder.Shutdown(ctx))
	}
	err := srv.goroutines.wait(ctx)
	srv.leave()
	for _, n := range srv.all() {
		n.open()
		n.closeAdapter()
	}
	srv.leaveCluster()
	if err == nil {
		err = srv.goroutines.wait(ctx) // for events of other nodes that came until the adapters closed
	}
	if err == nil {
		err = engineErr
	}
	return err
}

// deliveryTimeout bounds how long a server that ends waits until its sockets have got what was emitted.
const deliveryTimeout = 2 * time.Second

// awaitDelivery waits until what was emitted before has been delivered, where that waits for its place in a history.
func (srv *Server) awaitDelivery(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	for _, n := range srv.all() {
		n.open()
		if n.recovery == nil {
			continue
		}
		settled := make(chan struct{})
		n.recovery.history.Turn(func() { close(settled) })
		select {
		case <-settled:
		case <-ctx.Done():
		}
	}
}

// leaveTimeout bounds how long a server that ends waits until the cluster is left: until the other nodes have been told, and
// functions of OnNodeChange have returned, one of which may be what ends the server.
const leaveTimeout = 2 * time.Second

func (srv *Server) leaveCluster() {
	left := make(chan error, 1)
	go func() { left <- srv.cluster.Close() }()
	timer := time.NewTimer(leaveTimeout)
	defer timer.Stop()
	select {
	case err := <-left:
		if err != nil {
			srv.opts.Logger.Warn("the cluster was not left", "error", err)
		}
	case <-timer.C:
		srv.opts.Logger.Warn("the cluster was not left in time", "after", leaveTimeout)
	}
}

// Close is Shutdown without waiting for handlers.
func (srv *Server) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := srv.Shutdown(ctx); err != context.Canceled {
		return err
	}
	return nil
}
