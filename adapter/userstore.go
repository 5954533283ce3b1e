package adapter

import (
	"context"
	"time"
)

// UserOp is what changes between one life of a node and one user, see UserChange.
type UserOp uint8

// Operations of a UserChange.
const (
	// UserHold: the life holds the user from now on. It ends the user's being away.
	UserHold UserOp = iota + 1
	// UserRelease: the life does not hold the user any more; if it was the last one, the user is away, in the care of this life.
	UserRelease
	// UserForget: the life does not hold the user any more, and the user's being away ends if it is in the care of this life.
	UserForget
)

// UserChange is one change of a directory of users.
type UserChange struct {
	Op         UserOp
	User, Life string
}

// UserOutcome is what came of a UserChange.
type UserOutcome struct {
	Holders []string // the other lives that hold the user, after the change
	// First belongs to UserHold: nobody held the user before, and nobody had it away. It is the same again when the change is
	// repeated because its answer was lost.
	First bool
	Last  bool // belongs to UserForget: nothing is left of the user
	// Away is the life in whose care the user was away, for UserHold, or is now, for UserRelease; "" if it was or is not.
	Away string
}

// UserEntry is what is kept of a user.
type UserEntry struct {
	Holders []string // lives
	Away    string   // the life in whose care the user is away; "" if it is not
	// Epoch is drawn when the first life enrols. "" says that the storage has lost everything, so that an empty entry means nothing.
	Epoch string
}

// UserStore keeps which lives of nodes hold which users, see Node.Life, for the whole cluster. All methods may be called
// concurrently. Errors wrap ErrClusterUnavailable if the storage cannot be reached.
type UserStore interface {
	// Apply makes changes, each in one step. With an error come the outcomes of the changes before the first that failed.
	Apply(ctx context.Context, namespace string, changes []UserChange) ([]UserOutcome, error)

	// Lookup returns what is kept of a user, in one round trip.
	Lookup(ctx context.Context, namespace, user string) (UserEntry, error)

	// Enrol notes on the roll that a life keeps users, and the name of its node. It returns the storage's epoch, which it draws
	// if there is none.
	Enrol(ctx context.Context, namespace, life, node string) (epoch string, err error)

	// Roll returns the lives on the roll with the names of their nodes, and the epoch.
	Roll(ctx context.Context, namespace string) (lives map[string]string, epoch string, err error)

	// Claim reports whether by may sweep a life: exactly one may, until ttl is over; the same one may claim again before.
	Claim(ctx context.Context, namespace, life, by string, ttl time.Duration) (bool, error)

	// Sweep removes everything of a life, at a pace that leaves room for others, and calls last with each user of whom nothing is
	// left. At the end it takes the life off the roll.
	Sweep(ctx context.Context, namespace, life string, last func(user string)) error
}

// ForgetfulUserStore is a UserStore that is empty when the node that keeps it ends: a node that starts may find nothing of users whose
// clients may still come back.
type ForgetfulUserStore interface {
	UserStore
	// Forgets does nothing.
	Forgets()
}
