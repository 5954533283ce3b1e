//go:build !linux

package engine

import (
	"net"
	"syscall"
)

// poller stands for the poller of Linux; elsewhere connections are read by goroutines.
type poller struct{}

func newPoller(*tasks, *workers, bool) *poller { return nil }

func (*poller) adopt(conn net.Conn) (link, syscall.RawConn) { return conn, rawConn(conn) }

func (*poller) add(*wsConn) bool { return false }
func (*poller) remove(*wsConn)   {}
