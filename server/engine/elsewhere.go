package engine

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"time"
)

// elsewhere hands a request of a session that is not here, or not any more, to Options.Elsewhere. It reports false if that does
// not take it.
func (srv *Server) elsewhere(w http.ResponseWriter, r *http.Request, sid string) bool {
	if srv.cfg.Elsewhere == nil {
		return false
	}
	if r.Method == http.MethodPost && noLength(r) { // clients of HTTP say one in any case
		w.Header().Set("Connection", "close")
		answerEmpty(w, errNoLength.status)
		return true
	}
	r.Body = io.NopCloser(r.Body) // clients of HTTP close it, and takeRest has to see whether it was read
	return srv.cfg.Elsewhere(w, r, sid)
}

type clientKey struct{}

// ServeFor serves a request that another server has passed on: what Options.Elsewhere was asked about there, where the client's
// request went through CORS and the middlewares, which do not see it here. The client is the one that the other server names.
// Whoever calls it must know that the request comes from such a server.
func (srv *Server) ServeFor(client Peer, w http.ResponseWriter, r *http.Request) {
	early := mayBeUnread(w, r)
	srv.serve(w, r.WithContext(context.WithValue(r.Context(), clientKey{}, client)))
	if early {
		takeRest(w, r)
	}
}

// AnswerPoll answers the poll that waits for a session, if there is one, with a packet that says nothing: the client polls again, by
// another way perhaps. It reports whether there is such a session.
func (srv *Server) AnswerPoll(id string) bool {
	s := srv.lookup(id)
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pollingLocked(); p != nil {
		p.releaseLocked()
	}
	return true
}

// Peer returns who has sent a request, see TrustedProxies.Peer; for one that another server has passed on, whom that names.
// The host has the port of X-Forwarded-Port if it has none of its own.
func (srv *Server) Peer(r *http.Request) Peer {
	peer, port := srv.cfg.TrustedProxies.peerAndPort(r)
	if port != "" && !hasPort(peer.Host) {
		peer.Host += ":" + port
	}
	return peer
}

// Silence is how long a client may be silent: after that its session ends.
func (srv *Server) Silence() time.Duration { return srv.cfg.PingInterval + srv.cfg.PingTimeout }

// BodyTimeout is how long the body of a POST request may take to come.
func (srv *Server) BodyTimeout() time.Duration { return srv.cfg.HTTPRequestBodyTimeout }

// MaxSessions is how many sessions there may be, see Options.MaxSessions.
func (srv *Server) MaxSessions() int { return srv.cfg.MaxSessions }

// passedOn returns the client of a request that came through ServeFor.
func passedOn(r *http.Request) (client Peer, ok bool) {
	client, ok = r.Context().Value(clientKey{}).(Peer)
	return client, ok
}

// Hijack takes a connection over from the HTTP server, for good: no deadline is set any more. early is what the client has sent
// behind its request. A connection of NewListener comes without its wrapper.
func Hijack(w http.ResponseWriter) (conn net.Conn, early []byte, err error) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if n := buffered.Reader.Buffered(); n > 0 {
		peeked, _ := buffered.Reader.Peek(n)
		early = slices.Clone(peeked)
	}
	_ = conn.SetDeadline(time.Time{})
	return taken(conn), early, nil
}
