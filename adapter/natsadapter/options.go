package natsadapter

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sockeye-io/sockeye/adapter/internal/defaults"
)

const (
	defaultPrefix = "sockeye"

	defaultRecoveryMaxLen   = 10_000
	defaultRecoveryMaxBytes = 256 << 20
	defaultRecoveryMaxAge   = time.Hour

	maxPrefix = 100 // bytes
)

// Options configure New. The zero value means a server at nats://127.0.0.1:4222.
type Options struct {
	// Servers are the addresses of the NATS servers, such as "nats://a:4222". One of them is enough, since it tells of the others of
	// its cluster; with more a node starts although one is away. They may have credentials in them. Default: nats.DefaultURL.
	Servers []string

	// Connect has what else a connection needs: nats.UserInfo, nats.Token, nats.NkeyOptionFromSeed, nats.UserCredentials,
	// nats.RootCAs, nats.Secure, or nats.InProcessServer for a server in this process. How connections are watched and made anew, the
	// handlers, and buffers are the adapter's.
	Connect []nats.Option

	// Prefix begins all subjects, <prefix>.ns.> and so on. All nodes of a cluster have the same, and two clusters on one NATS not.
	// It is made of letters, digits, - and _, in parts with dots between them, 100 bytes at most. Default: "sockeye".
	Prefix string

	// Logger gets one record for each change of state and for each kind of trouble. Default: slog.Default().
	Logger *slog.Logger

	// OnStateChange is told each change of the connection's state; reason is nil unless the state is Down. Calls come
	// one at a time and in order on a goroutine of their own, so that a call that blocks delays later calls only. At most
	// 64 changes wait for it, beyond that the oldest are skipped.
	OnStateChange func(state State, reason error)

	// QueueLimit bounds what one server has for the other nodes and NATS has not taken yet, in bytes: while NATS is away, and
	// in a burst. What exceeds it is refused with adapter.ErrQueueFull and counted. Default: 64 MiB.
	QueueLimit int

	// QueueAge is how long a message waits for NATS at most. One that is older is dropped and counted. Volatile messages, questions
	// and answers to them are not kept: while NATS is away they are refused, and they never wait for longer than two seconds.
	// Default: 30 s.
	QueueAge time.Duration

	// AnswerTimeout is how long NATS may owe an answer until the connection counts as dead and the state is Down. A connection
	// without traffic is asked three times in it. A NATS that is slower than that cannot be used. Default: 3 s.
	AnswerTimeout time.Duration

	// FeedLimit bounds the received messages of one namespace that wait to be decoded, in bytes. What exceeds it is
	// dropped and counted. Default: 64 MiB.
	FeedLimit int

	// Of what clients get that come back, see server.Options.Recovery and the package's documentation. They are those of streams that are
	// made: one that is there stays as it is, and is changed with NATS's own tools.

	// RecoveryMaxLen is how many entries the log of a namespace has, of one or several broadcasts each. Default: 10,000.
	RecoveryMaxLen int
	// RecoveryMaxBytes bounds the logs of all namespaces together, and the sessions. Default: 256 MiB.
	RecoveryMaxBytes int64
	// RecoveryMaxAge is how long broadcasts are kept, at least twice as long as clients may be away. Default: 1 h.
	RecoveryMaxAge time.Duration
	// RecoveryReplicas is on how many servers they are, 1, 3 or 5. Default: 3 if the server is one of a cluster, else 1.
	RecoveryReplicas int
	// RecoveryInMemory keeps them in the servers' memory, and not in files.
	RecoveryInMemory bool

	election time.Duration // another one than the default, for tests

	// NodeOverAfter is how long another node must be silent until its life counts as over, see package membership: what it
	// owned in shared storage is given up then. Default: 5 min.
	NodeOverAfter time.Duration
}

func (o Options) withDefaults() Options {
	if len(o.Servers) == 0 {
		o.Servers = []string{nats.DefaultURL}
	}
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.Prefix = cmp.Or(o.Prefix, defaultPrefix)
	o.QueueLimit = defaults.Positive(o.QueueLimit, defaults.QueueLimit)
	o.QueueAge = defaults.Positive(o.QueueAge, defaults.QueueAge)
	o.AnswerTimeout = defaults.Positive(o.AnswerTimeout, defaults.AnswerTimeout)
	o.FeedLimit = defaults.Positive(o.FeedLimit, defaults.FeedLimit)
	o.RecoveryMaxLen = defaults.Positive(o.RecoveryMaxLen, defaultRecoveryMaxLen)
	o.RecoveryMaxBytes = defaults.Positive(o.RecoveryMaxBytes, defaultRecoveryMaxBytes)
	o.RecoveryMaxAge = defaults.Positive(o.RecoveryMaxAge, defaultRecoveryMaxAge)
	o.election = defaults.Positive(o.election, election)
	return o
}

// check returns what is wrong with options whose defaults are filled in.
func (o Options) check() error {
	if err := checkPrefix(o.Prefix); err != nil {
		return err
	}
	for _, server := range o.Servers {
		u, err := url.Parse(server)
		if err != nil {
			var wrong *url.Error // which has the address in it, maybe with a password
			if errors.As(err, &wrong) {
				err = wrong.Err
			}
			return fmt.Errorf("read the address of a nats server: %w", err)
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return fmt.Errorf("address of a nats server %q does not begin with nats://, tls://, ws:// or wss://", u.Redacted())
		}
	}
	if o.RecoveryReplicas < 0 || o.RecoveryReplicas > 5 {
		return fmt.Errorf("jetstream keeps 1 to 5 replicas, not %d", o.RecoveryReplicas)
	}
	_, err := o.connection()
	return err
}

// connection returns what the application wants of connections.
func (o Options) connection() (nats.Options, error) {
	c := nats.GetDefaultOptions()
	for _, apply := range o.Connect {
		if apply == nil {
			continue
		}
		if err := apply(&c); err != nil {
			return c, fmt.Errorf("nats connection option: %w", err)
		}
	}
	c.Servers = o.Servers
	return c, nil
}

func checkPrefix(prefix string) error {
	if len(prefix) > maxPrefix {
		return fmt.Errorf("prefix of the subjects has %d bytes, at most %d are allowed", len(prefix), maxPrefix)
	}
	for token := range strings.SplitSeq(prefix, ".") {
		if token == "" || strings.Trim(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			return fmt.Errorf("prefix of the subjects %q is not made of letters, digits, - and _ with dots between them", prefix)
		}
	}
	return nil
}

// Validate says what Open would refuse, and connects to nothing.
func (o *Options) Validate() error { return o.withDefaults().check() }
