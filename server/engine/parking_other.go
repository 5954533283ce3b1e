//go:build !linux

package engine

import (
	"net"
	"net/http"
	"time"
)

// Elsewhere than on Linux nothing is parked.

type lot struct{}

func newLot(net.Addr) *lot { return nil }

type parkable struct{ lot *lot }

type seat struct{}

func (*seat) resume() {}

func parkableConn(http.ResponseWriter, *http.Request) *pollConn { return nil }

func (*pollConn) parkTime() time.Duration { return 0 }

func (*pollConn) park(http.ResponseWriter, *http.Request, parkedRequest) *seat { return nil }

func (c *pollConn) handOver() bool { return false }

func (c *pollConn) evicted() bool { return false }

func (c *pollConn) readParkable(p []byte) (int, error) { return c.readNoting(p) }
