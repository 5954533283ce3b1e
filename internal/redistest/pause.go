package redistest

import (
	"os"

	"github.com/sockeye-io/sockeye/internal/freeze"
)

// Pause stops the process without closing anything: the kernel still accepts connections for it. It returns when nothing of it runs.
func (s *Server) Pause() { s.running(freeze.Stop) }

// Resume undoes Pause.
func (s *Server) Resume() { s.running(freeze.Continue) }

// running does something with the process.
func (s *Server) running(do func(*os.Process) error) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		s.t.Fatalf("redis-server at %s is not running", s.Addr)
	}
	if err := do(s.cmd.Process); err != nil {
		s.t.Fatalf("redis-server: %v", err)
	}
}
