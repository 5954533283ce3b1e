//go:build unix

package natstest

import (
	"os"
	"syscall"
)

// Reload has the server read its configuration again.
func (s *Server) Reload() { s.signal(syscall.SIGHUP) }

// Retire has the server send its clients away and end.
func (s *Server) Retire() { s.signal(syscall.SIGUSR2) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	s.running(func(p *os.Process) error { return p.Signal(sig) })
}
