//go:build !linux && !darwin

package engine

import (
	"net"
	"syscall"
)

// rawConn returns nil: without it connections are read by plain reads and written by goroutines on demand.
func rawConn(net.Conn) syscall.RawConn { return nil }

func (c *wsConn) tryWrite(bufs [][]byte) ([][]byte, error) { return bufs, nil }

func (r *reader) fill(uintptr) bool { return true }
