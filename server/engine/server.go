package engine

import (
	"net/http"
	"sync"
)

// Handler stub.
type Handler interface {
	OnText(data []byte)
	OnBinary(data []byte)
	OnClose(reason string, err error)
}

type Server struct {
	cfg                          *settings
	originRefused, foreignCookie sync.Once
}

func (srv *Server) isUpgrade(r *http.Request) bool                                    { return false }
func (srv *Server) refuse(w http.ResponseWriter, r *http.Request, e *ConnectionError) {}

func New(opts *Options, accept func(*Session) Handler) (*Server, error) {
	_, err := newSettings(opts)
	return &Server{}, err
}
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {}
func (srv *Server) Matches(r *http.Request) bool                     { return true }
func (srv *Server) Use(middleware func(http.Handler) http.Handler)   {}
func (srv *Server) Len() int                                         { return 0 }
func (srv *Server) Stats() Stats                                     { return Stats{} }
func (srv *Server) Sessions() []*Session                             { return nil }
func (srv *Server) Close() error                                     { return nil }
