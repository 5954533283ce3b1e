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
	PID string
	// Namespace is the socket's; "" if it is not known, as of what Node.js nodes have saved. Stores may be those of several.
	Namespace string
	Rooms     []string // the socket's own room included
	// Data is the socket's data. Without JSON it is an empty object.
	Data parser.Payload
	// Owner is whose the session is; "" if it is nobody's.
	Owner string
	// Offset is where a client goes on that has received nothing with an offset since; "" if that is not known.
	Offset string
	// Since is an offset before which the client has no right to anything; "" if that is Offset.
	Since string
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

// SessionKeeper is implemented by a SessionStore that outlives the nodes. The sessions of sockets that are connected are in it, too, in
// the name of their node, so that a client can go on whose node was killed, or does not know yet that its connection is lost.
type SessionKeeper interface {
	SessionStore

	// Take makes a session a holder's and returns it, nil if there is none. It stays where it is, so that the client can go on with it
	// again before its new holder has written it. Of several that want it, it is the last one's; the others learn that from Write.
	Take(ctx context.Context, pid string, holder NodeID) (*Session, error)

	// Write makes writes in their order and reports for each whether the session is its holder's: another node may have taken it.
	// After an error some may have been made.
	Write(ctx context.Context, writes []SessionWrite) (held []bool, err error)
}

// SessionWrite is what a node does with a session that it holds, or may have held.
type SessionWrite struct {
	Session *Session
	Holder  NodeID
	TTL     time.Duration
	Remove  bool // nobody is to go on with it
	Told    bool // SessionReaper.Reap is to return it when its time is over
}

// SessionReaper is implemented by a SessionKeeper that finds sessions with which nobody has gone on in their time, whatever has become of
// their holders.
type SessionReaper interface {
	SessionKeeper

	// Reap removes sessions that were written with Told and whose time is over, and returns them: each to one caller in the cluster. more
	// says that there are more. With an error come those that are removed already.
	Reap(ctx context.Context) (sessions []*Session, more bool, err error)
}
