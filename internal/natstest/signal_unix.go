//go:build unix

package natstest

import "syscall"

// Freeze stops the process without closing anything: the kernel still accepts connections for it.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

// Reload has the server read its configuration again.
func (s *Server) Reload() { s.signal(syscall.SIGHUP) }

// Retire has the server send its clients away and end.
func (s *Server) Retire() { s.signal(syscall.SIGUSR2) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		s.t.Fatalf("nats-server at %s is not running", s.Addr)
	}
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("signal nats-server: %v", err)
	}
}
