//go:build !linux && !darwin

package engine

import (
	"net"
	"sync/atomic"
)

// NewListener returns l; on Linux its connections are such that the poller can watch those that carry TLS.
func NewListener(l net.Listener) net.Listener { return l }

// pollConn is a connection of NewListener's listener, where there is a poller.
type pollConn struct {
	net.Conn
	noWait atomic.Bool
}

func taken(conn net.Conn) net.Conn { return conn }

func pollable(link) *pollConn { return nil }

func isNotReady(error) bool { return false }
