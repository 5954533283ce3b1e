//go:build !unix

package natstest

// Freeze cannot be done here, nor can the others.
func (s *Server) Freeze() { s.t.Skip("processes cannot be stopped here") }

// Thaw undoes Freeze.
func (s *Server) Thaw() { s.Freeze() }

// Reload has the server read its configuration again.
func (s *Server) Reload() { s.Freeze() }

// Retire has the server send its clients away and end.
func (s *Server) Retire() { s.Freeze() }
