package auth

import (
	"sync/atomic"

	"github.com/sockeye-io/sockeye/server"
)

// session is a socket that was let in.
type session struct {
	socket  *server.Socket // static
	claims  atomic.Pointer[Claims]
	revoked atomic.Bool
	// binding is set while the user's own room is joined, before anybody else knows the socket.
	binding bool

	// Guarded by subjects.mu.
	admitted uint64 // how many users had been disconnected when it was let in
	place    int    // in the list of its user

	// Guarded by live.mu.
	at     int64 // when something is to be done, in milliseconds since 1970
	index  int   // in live.heap, -1 outside
	warned bool  // the client was asked for a new token
}

// sessions is where sockets keep theirs.
var sessions server.State[*session]

// ClaimsOf returns what the token of a socket says; after a renewal, the new one. It is nil for a socket that no Auth has let in.
func ClaimsOf(s *server.Socket) *Claims {
	if session, ok := sessions.Load(s); ok {
		return session.claims.Load()
	}
	return nil
}

// Subject returns the user of a socket, "" for a socket that no Auth has let in.
func Subject(s *server.Socket) string {
	if c := ClaimsOf(s); c != nil {
		return c.Subject
	}
	return ""
}
