package kafkaadapter

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/sockeye-io/sockeye/adapter/internal/defaults"
)

const (
	defaultPrefix           = "sockeye"
	defaultLogPartitions    = 8
	defaultDirectPartitions = 32
	defaultRetention        = time.Hour
	defaultMaxMessage       = 8 << 20
	// maxPartitions is how many partitions a topic may have here.
	maxPartitions = 10_000
)

// The mechanisms of SASL.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
)

// SASL is how a node tells Kafka who it is.
type SASL struct {
	Mechanism      string // Plain, ScramSHA256 or ScramSHA512
	User, Password string
}

// Options configure New. Seeds is required.
type Options struct {
	// Seeds are the addresses of some brokers, host:port each; of the others these tell.
	Seeds []string

	// Prefix begins the names of the topics and keeps clusters on one Kafka apart. All nodes of a cluster have the same. It is made of
	// letters, digits, ".", "_" and "-", and has at most 200 bytes. Default: "sockeye".
	Prefix string

	// LogPartitions is how many partitions of <prefix>.log the namespaces are spread over, DirectPartitions how many of <prefix>.direct
	// the nodes. All nodes of a cluster have the same; the topics may have more. Defaults: 8 and 32.
	LogPartitions, DirectPartitions int

	// ReplicationFactor is that of topics that the adapter creates; 0 is what the brokers have as their default. With 3 or more the
	// topics get min.insync.replicas=2. A topic with a single replica is lost with its broker, and is warned of.
	ReplicationFactor int

	// Retention is how long <prefix>.log keeps messages, if the adapter creates it: a node that was cut off or frozen for longer has
	// lost some. Default: 1 h.
	Retention time.Duration

	// MaxMessage is the longest message in bytes, if the adapter creates the topics. Of topics that are there their own
	// max.message.bytes counts. At most 64 MiB. Default: 8 MiB.
	MaxMessage int

	// Ordered chooses namespaces in which the sockets of all nodes get broadcasts in one and the same order, that of the log: a node's own
	// are delivered to its sockets when they come back from Kafka. While nothing comes from there for 2 s they get them at once, and the
	// order between nodes is not kept for these. Volatile packets, those that want an acknowledgement and those for one node or Local are
	// in their sender's order only. All nodes should choose the same. Default: none.
	Ordered func(namespace string) bool

	// SASL is how the nodes log in, TLS how they encrypt; nil: they do not.
	SASL *SASL
	TLS  *tls.Config

	// ClientOptions are further options of the client, such as another mechanism of SASL or a dialer, but no group and no
	// transactions. Those that the adapter sets itself win.
	ClientOptions []kgo.Opt

	// Logger gets one record for each change of state and for each kind of trouble. Default: slog.Default().
	Logger *slog.Logger

	// OnStateChange is told each change of the state; reason is nil unless the state is Down. Calls come one at a time and in order on
	// a goroutine of their own, so that a call that blocks delays later calls only. At most 64 changes wait for it, beyond that the
	// oldest are skipped.
	OnStateChange func(state State, reason error)

	// QueueLimit bounds what one server has for the other nodes and Kafka has not taken yet, in bytes: while Kafka is away, and in a
	// burst. What exceeds it is refused with adapter.ErrQueueFull and counted. Default: 64 MiB.
	QueueLimit int

	// QueueAge is how long a message waits for Kafka at most. One that is older is dropped and counted, unless Kafka may have it
	// already. Volatile messages, questions and answers to them are not kept: while Kafka is away they are refused, and they never
	// wait for longer than two seconds.
	// Default: 30 s.
	QueueAge time.Duration

	// AnswerTimeout is how long Kafka may owe an answer before the state is Down. A Kafka that is slower than that cannot be used.
	// Default: 3 s.
	AnswerTimeout time.Duration

	// FeedLimit bounds what was received of one partition and waits to be handled, in bytes. What exceeds it waits in Kafka.
	// Default: 64 MiB.
	FeedLimit int

	// RequestsTimeout is how long a question waits for the other nodes when its context has no deadline. Default: 5 s.
	RequestsTimeout time.Duration

	// NodeOverAfter is how long another node must be silent until its life counts as over, see package membership: what it
	// owned in shared storage is given up then. Default: 5 min.
	NodeOverAfter time.Duration
}

func (o Options) withDefaults() Options {
	o.Seeds = slices.Clone(o.Seeds)
	o.Prefix = cmp.Or(o.Prefix, defaultPrefix)
	o.LogPartitions = cmp.Or(o.LogPartitions, defaultLogPartitions)
	o.DirectPartitions = cmp.Or(o.DirectPartitions, defaultDirectPartitions)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	o.Retention = defaults.Positive(o.Retention, defaultRetention)
	o.MaxMessage = defaults.Positive(o.MaxMessage, defaultMaxMessage)
	o.QueueLimit = defaults.Positive(o.QueueLimit, defaults.QueueLimit)
	o.QueueAge = defaults.Positive(o.QueueAge, defaults.QueueAge)
	o.AnswerTimeout = defaults.Positive(o.AnswerTimeout, defaults.AnswerTimeout)
	o.FeedLimit = defaults.Positive(o.FeedLimit, defaults.FeedLimit)
	return o
}

var prefixForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`)

// check refuses what cannot work.
func (o *Options) check() error {
	switch {
	case len(o.Seeds) == 0:
		return errors.New("no kafka broker is named")
	case !prefixForm.MatchString(o.Prefix):
		return fmt.Errorf("prefix %q of kafka topics is not made of 1 to 200 letters, digits, periods, underscores and hyphens", o.Prefix)
	case o.LogPartitions < 1 || o.LogPartitions > maxPartitions || o.DirectPartitions < 1 || o.DirectPartitions > maxPartitions:
		return fmt.Errorf("kafka topics need 1 to %d partitions, not %d and %d", maxPartitions, o.LogPartitions, o.DirectPartitions)
	case o.ReplicationFactor < 0 || o.ReplicationFactor > 100:
		return fmt.Errorf("replication factor %d is not between 0 and 100", o.ReplicationFactor)
	case o.MaxMessage < 1<<10 || o.MaxMessage > 64<<20:
		return fmt.Errorf("longest message of %d bytes is not between 1 KiB and 64 MiB", o.MaxMessage)
	}
	return nil
}

// Validate says what Open would refuse because of the options, and connects to nothing.
func (o *Options) Validate() error {
	full := o.withDefaults()
	if err := full.check(); err != nil {
		return err
	}
	_, err := full.clientOptions()
	return err
}

// clientOptions are those of every client of this Kafka: how it is reached.
func (o *Options) clientOptions() ([]kgo.Opt, error) {
	// Behind a proxy a broker that is away looks like one that hangs up at once, which the client takes for a mistake in its options.
	opts := append(slices.Clone(o.ClientOptions), kgo.SeedBrokers(o.Seeds...), kgo.AlwaysRetryEOF(), kgo.ClientID("sockeye"),
		kgo.SoftwareNameAndVersion("sockeye", "1"))
	if o.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(o.TLS))
	}
	if o.SASL == nil {
		return opts, nil
	}
	switch s := o.SASL; s.Mechanism {
	case Plain:
		opts = append(opts, kgo.SASL(plain.Auth{User: s.User, Pass: s.Password}.AsMechanism()))
	case ScramSHA256:
		opts = append(opts, kgo.SASL(scram.Auth{User: s.User, Pass: s.Password}.AsSha256Mechanism()))
	case ScramSHA512:
		opts = append(opts, kgo.SASL(scram.Auth{User: s.User, Pass: s.Password}.AsSha512Mechanism()))
	default:
		return nil, fmt.Errorf("sasl mechanism %q is none of %s, %s and %s", s.Mechanism, Plain, ScramSHA256, ScramSHA512)
	}
	return opts, nil
}
