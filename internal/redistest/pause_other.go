//go:build !unix

package redistest

// Pause needs signals.
func (s *Server) Pause() { s.t.Fatal("a process can be paused on Unix only") }

// Resume undoes Pause.
func (s *Server) Resume() {}
