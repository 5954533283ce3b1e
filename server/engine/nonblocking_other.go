//go:build !linux && !darwin

package engine

import (
	"net"
	"syscall"
)

// rawConn returns nil: without it connections are read by plain reads and written by goroutines on demand.
func rawConn(net.Conn) syscall.RawConn { return nil }

func (b *batch) tryWrite(syscall.RawConn) error { return nil }

func (b *batch) write(uintptr) bool { return true }

func (r *reader) fill(uintptr) bool { return true }

func (b *readBatch) tryRead(uintptr) bool { return true }
