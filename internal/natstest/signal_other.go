//go:build !unix

package natstest

// Reload needs signals.
func (s *Server) Reload() { s.t.Fatal("signals are sent on Unix only") }

// Retire needs signals.
func (s *Server) Retire() { s.Reload() }
