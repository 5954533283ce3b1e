package admin

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/sockeye-io/sockeye/server"
)

// Mode says how much a page is told.
type Mode string

// Modes of Node's option of this name.
const (
	// Production: numbers of each server, every two seconds.
	Production Mode = "production"
	// Development: everything that happens to each socket too, and the list of all sockets.
	Development Mode = "development"
)

// Options configure what Instrument adds to a server. Auth or NoAuth is required; else the zero value works.
type Options struct {
	// Auth says who may log in.
	Auth *BasicAuth

	// NoAuth lets in everybody who reaches the server: what auth: false is in Node. It excludes Auth.
	NoAuth bool

	// Namespace that pages connect to. Default "/admin".
	Namespace string

	// ReadOnly takes away what changes anything: pages can only watch.
	ReadOnly bool

	// ServerID names this server in pages. It must be another one on each node. Default: the server's NodeName.
	ServerID string

	// Store keeps the sessions of pages that have logged in, so that they need no password to come back. Default: a MemoryStore of
	// this server. Nodes of a cluster share one, such as redisadapter.NewAdminStore.
	Store Store

	// Mode says how much pages are told. Default Production.
	Mode Mode

	// MaxSockets bounds the list of all sockets that a page gets in Development: namespaces that would exceed it are left out.
	// Default 10,000.
	MaxSockets int

	// Logger is told who logs in and what operators do. Default: slog.Default().
	Logger *slog.Logger
}

// BasicAuth is a name with a password.
type BasicAuth struct {
	Username string
	// PasswordHash is the bcrypt hash of the password, in any of the forms $2a$, $2b$ and $2y$, with a cost of 14 at most, which
	// takes about a second. Only the first 72 bytes of a password count.
	PasswordHash string
}

// maxCost bounds what one attempt to log in may cost.
const maxCost = 14

const (
	defaultNamespace  = "/admin"
	defaultMaxSockets = 10_000
)

// complete returns the options with every field filled in.
func (o *Options) complete(srv *server.Server) (Options, error) {
	if o == nil {
		o = new(Options)
	}
	c := *o
	c.Namespace = cmp.Or(c.Namespace, defaultNamespace)
	c.ServerID = cmp.Or(c.ServerID, srv.Node().Name)
	c.Mode = cmp.Or(c.Mode, Production)
	c.MaxSockets = cmp.Or(c.MaxSockets, defaultMaxSockets)
	if c.Store == nil {
		c.Store = NewMemoryStore(nil)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	switch {
	case c.Auth == nil && !c.NoAuth:
		return c, errors.New("instrument: Auth is missing; NoAuth lets everybody in")
	case c.Auth != nil && c.NoAuth:
		return c, errors.New("instrument: Auth and NoAuth exclude each other")
	case c.Mode != Production && c.Mode != Development:
		return c, fmt.Errorf("instrument: Mode %q is neither %q nor %q", c.Mode, Production, Development)
	case c.MaxSockets < 0:
		return c, fmt.Errorf("instrument: MaxSockets must be positive, got %d", c.MaxSockets)
	}
	if c.Auth == nil {
		return c, nil
	}
	auth := *c.Auth // the caller's may change
	c.Auth = &auth
	return c, auth.check()
}

func (b *BasicAuth) check() error {
	if b.Username == "" {
		return errors.New("instrument: Auth.Username is empty")
	}
	cost, err := bcrypt.Cost([]byte(b.PasswordHash))
	if err != nil || !strings.HasPrefix(b.PasswordHash, "$2") {
		return errors.New("instrument: Auth.PasswordHash is no bcrypt hash") // the value is a secret
	}
	if cost > maxCost {
		return fmt.Errorf("instrument: Auth.PasswordHash has the cost %d, above %d an attempt takes too long", cost, maxCost)
	}
	return nil
}

// Features that pages are told of.
const (
	featureEmit       = "EMIT"
	featureJoin       = "JOIN"
	featureLeave      = "LEAVE"
	featureDisconnect = "DISCONNECT"

	// For all sockets of a room or namespace.
	featureManyJoin       = "MJOIN"
	featureManyLeave      = "MLEAVE"
	featureManyDisconnect = "MDISCONNECT"

	featureAggregates = "AGGREGATED_EVENTS"
	featureAllEvents  = "ALL_EVENTS"
)

// features lists what pages can do with this server.
func (o *Options) features() []string {
	var list []string
	if !o.ReadOnly {
		list = append(list, featureEmit, featureJoin, featureLeave, featureDisconnect,
			featureManyJoin, featureManyLeave, featureManyDisconnect)
	}
	list = append(list, featureAggregates)
	if o.Mode == Development {
		list = append(list, featureAllEvents)
	}
	return list
}

// Times.
const (
	sampleInterval = time.Second     // of the aggregates, whose timestamps are whole seconds
	samplesPerStat = 2               // Node's 2 s between two server_stats
	storeTimeout   = 3 * time.Second // for one question to the Store
	listTimeout    = 5 * time.Second // for the list of all sockets
)
