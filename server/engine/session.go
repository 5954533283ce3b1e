package engine

// Session is stubbed for compile.
type Session struct{}

func (s *Session) ID() string                    { return "" }
func (s *Session) Transport() string             { return "" }
func (s *Session) Protocol() int                 { return 4 }
func (s *Session) Handshake() *Handshake         { return nil }
func (s *Session) Server() *Server               { return nil }
func (s *Session) Send(m *Message) error         { return nil }
func (s *Session) SendQueued(m *Message) error   { return nil }
func (s *Session) SendVolatile(m *Message) bool  { return true }
func (s *Session) Close()                        {}
func (s *Session) Discard()                      {}
func (s *Session) Fail(reason string, err error) {}
func (s *Session) Pause()                        {}
func (s *Session) Resume()                       {}
func (s *Session) Queued() int64                 { return 0 }
