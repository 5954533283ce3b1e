package natstest

import (
	"os"

	"github.com/sockeye-io/sockeye/internal/freeze"
)

// Freeze stops the process without closing anything: the kernel still accepts connections for it. It returns when nothing of it runs.
func (s *Server) Freeze() { s.running(freeze.Stop) }

// Thaw undoes Freeze.
func (s *Server) Thaw() { s.running(freeze.Continue) }

// running does something with the process.
func (s *Server) running(do func(*os.Process) error) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		s.t.Fatalf("nats-server at %s is not running", s.Addr)
	}
	if err := do(s.cmd.Process); err != nil {
		s.t.Fatalf("nats-server: %v", err)
	}
}
