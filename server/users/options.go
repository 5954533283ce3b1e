package users

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sockeye-io/sockeye/adapter"
	"github.com/sockeye-io/sockeye/server"
)

// Errors to compare with errors.Is.
var (
	// ErrOffline says that no node holds the user, and that it did not lose its last socket just now.
	ErrOffline = errors.New("user is offline")
	// ErrAway says that the user lost its last socket less than Options.Grace ago, or has a client that may still go on, or that the nodes
	// that hold it are not heard.
	ErrAway = errors.New("user is away")
	// ErrKept says that the user is away, and that its clients get what was sent if they come back in time, see server.Options.Recovery.
	// It is an ErrAway, too.
	ErrKept = fmt.Errorf("%w, and the message is kept for it", ErrAway)
	// ErrUserID says that an id is empty, longer than Options.MaxUser, or not UTF-8.
	ErrUserID = errors.New("illegal user id")
)

// Mixed says whether there are nodes in the cluster that do not keep this directory: Node.js servers, Sockeye servers without one.
type Mixed uint8

// Values of Options.Mixed.
const (
	// MixedAuto: the directory looks, every 5 s and when a node comes or goes. Until it knows there may be some.
	MixedAuto Mixed = iota
	// MixedOn: there may be some.
	MixedOn
	// MixedOff: there are none.
	MixedOff
)

// Options configure a Directory. Only Store is required.
type Options struct {
	// Store keeps the users of the cluster: NewMemoryStore for servers of one process, or that of an adapter.
	Store adapter.UserStore

	// Namespace whose sockets are bound. Default "/".
	Namespace string

	// Grace is how long a user without sockets is away before it is offline. Default 10 s; below 0: not at all. One whose client can go
	// on is away for as long as that, if it is longer.
	Grace time.Duration

	// RoomPrefix stands before the user's id in the name of the room that its sockets are in. Default "": the id is the room.
	RoomPrefix string

	// Mixed says whether there are nodes that do not keep the directory. Default MixedAuto.
	Mixed Mixed

	// MaxUser bounds ids, in bytes. Default 256.
	MaxUser int

	// CacheSize bounds how many users of other nodes are remembered with the nodes that hold them. Default 100,000; below 0: none.
	CacheSize int

	// OverAfter is how long a life on the store's roll may be no member of the cluster before it is swept, unless the node has
	// said good-bye or was replaced. Default 5 min, as in package membership.
	OverAfter time.Duration

	// Logger gets what an operator has to know. Default: slog.Default().
	Logger *slog.Logger
}

func (o Options) settings() (Options, error) {
	if o.Store == nil {
		return o, errors.New("no Store is given")
	}
	for _, d := range []struct {
		name string
		v    int64
	}{{"MaxUser", int64(o.MaxUser)}, {"OverAfter", int64(o.OverAfter)}} {
		if d.v < 0 {
			return o, fmt.Errorf("%s must not be negative, got %d", d.name, d.v)
		}
	}
	if o.Mixed > MixedOff {
		return o, fmt.Errorf("unknown value %d of Mixed", o.Mixed)
	}
	o.Namespace = cmp.Or(o.Namespace, "/")
	o.Grace = cmp.Or(o.Grace, 10*time.Second)
	o.MaxUser = cmp.Or(o.MaxUser, 256)
	o.CacheSize = cmp.Or(o.CacheSize, 100_000)
	o.OverAfter = cmp.Or(o.OverAfter, 5*time.Minute)
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o, nil
}

// failed says in an error what has failed.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// unavailable makes an error of a context that ended an ErrClusterUnavailable as well.
func unavailable(err error) error {
	if err == nil || errors.Is(err, server.ErrClusterUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", server.ErrClusterUnavailable, err)
}
