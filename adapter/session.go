package adapter

import (
	"context"
	"time"

	"github.com/sockeye-io/sockeye/server/parser"
)

// Session is what a node remembers of a socket that has lost its connection, so that the client can go on with it on any
// node of the cluster.
type Session struct {
	SocketID string
	// PID is the secret by which the client finds its session again.
	PID   string
	Rooms []string // the socket's own room included
	// Data is the socket's data. Without JSON it is an empty object.
	Data parser.Payload
}

// SessionStore keeps sessions for the whole cluster. All methods may be called concurrently.
type SessionStore interface {
	// Save stores a session in the place of the one with the same PID, for the given time.
	Save(ctx context.Context, s *Session, ttl time.Duration) error

	// Load returns a session, nil when there is none or its time is over. The session stays where it is.
	Load(ctx context.Context, pid string) (*Session, error)

	// Delete removes a session and reports whether it was there: of several nodes that want to go on with one session,
	// that node may for which Delete returns true.
	Delete(ctx context.Context, pid string) (bool, error)
}
